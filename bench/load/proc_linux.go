// This file reads what Linux counts of a process, and what the machine is.

package load

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/bench/report"
)

// usage is what a process has used.
type usage struct {
	user, system float64 // CPU seconds
	rss, maxRSS  int64   // bytes
	threads      int
}

// ticks are in a second of /proc's CPU times: USER_HZ, the same on every Linux
// that Go runs on.
const ticks = 100

// cpuClock is CPUCLOCK_SCHED of the kernel, with which clock_getcpuclockid makes the clock of a process.
const cpuClock = 2

// readUsage reads what the process has used.
func readUsage(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 18 {
		return u, fmt.Errorf("load: /proc/%d/stat has %d fields", pid, len(fields))
	}
	count := func(i int) float64 {
		n, _ := strconv.ParseFloat(string(fields[i]), 64) // the kernel writes numbers
		return n
	}
	u.user, u.system, u.threads = count(11)/ticks, count(12)/ticks, int(count(17))
	// The process's clock has their sum to the nanosecond.
	var clock unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClock), &clock); err != nil {
		return u, fmt.Errorf("load: CPU time of process %d: %w", pid, err)
	}
	if sum := u.user + u.system; sum > 0 {
		exact := float64(clock.Nano()) / 1e9
		u.user, u.system = u.user*exact/sum, u.system*exact/sum
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	u.rss, u.maxRSS = kib(status, "VmRSS:"), kib(status, "VmHWM:")
	return u, nil
}

// kib returns the figure of a line like "VmRSS:	  1234 kB" in bytes.
func kib(text []byte, name string) int64 {
	_, rest, _ := bytes.Cut(text, []byte(name))
	fields := bytes.Fields(rest[:min(len(rest), 100)])
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64) // as above
	return n << 10
}

// ownGroup gives a command a process group of its own, so that what it starts can
// be ended with it, and a signal from the terminal reaches the harness alone.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// signalGroup sends a signal to a process with a group of its own and to what it
// started. There may be none of them left.
func signalGroup(pid int, s syscall.Signal) { syscall.Kill(-pid, s) }

// openTerminal returns the two ends of a terminal with so many columns and rows: of who sits before it, and
// of a program.
func openTerminal(columns, rows uint16) (person, program *os.File, err error) {
	if person, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			person.Close()
		}
	}()
	// Fd makes the file blocking: who sits before it reads until the program's end is closed.
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	if err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		return nil, nil, err
	}
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return person, program, err
}

// thisMachine says where the measurement takes place.
func thisMachine() report.Machine {
	m := report.Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	cpus, _ := os.ReadFile("/proc/cpuinfo") // what can't be read is left empty
	for line := range strings.Lines(string(cpus)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(model)
			break
		}
	}
	memory, _ := os.ReadFile("/proc/meminfo")
	m.Memory = kib(memory, "MemTotal:")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(release))
	load, _ := os.ReadFile("/proc/loadavg")
	if first, _, ok := strings.Cut(string(load), " "); ok {
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	return m
}

// raiseLimit lets this process and those that it starts open as many files as the
// system allows: a socket for each shard.
func raiseLimit() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // without it fewer shards are possible
	}
}
