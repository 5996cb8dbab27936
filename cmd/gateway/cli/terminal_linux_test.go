// This file tests what a terminal of Linux shows.

package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/sinks"
	"sluice/sinks/stdio"
)

// pty is a terminal and who sits before it.
type pty struct {
	*os.File // of the program
	t        *testing.T
	mu       sync.Mutex
	vt       *vt
	all      []byte // every byte that came
	came     chan struct{}
	done     chan struct{} // closed when the program's side is closed
}

func openPTY(t *testing.T, columns, rows int) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{File: slave, t: t, vt: newVT(t, columns, rows), came: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			p.mu.Lock()
			p.all = append(p.all, b[:n]...)
			p.vt.Write(b[:n])
			p.mu.Unlock()
			select {
			case p.came <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		slave.Close()
		<-p.done
		master.Close()
	})
	return p
}

// wait waits until the screen shows each of the texts.
func (p *pty) wait(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.waitFor(text, func(screen string) bool { return strings.Contains(screen, text) })
	}
}

// waitFor waits until the screen is as it should be.
func (p *pty) waitFor(what string, ok func(screen string) bool) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for !ok(p.screen()) {
		select {
		case <-p.came:
		case <-deadline:
			p.t.Fatalf("the terminal does not show %s:\n%s", what, p.screen())
		}
	}
}

// screen returns all that the terminal has shown and not erased.
func (p *pty) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.vt.lines, "\n")
}

// output closes the program's side and returns every byte that came.
func (p *pty) output() string {
	p.Close()
	<-p.done
	return string(p.all)
}

// check closes the program's side and reports rows that are too long.
func (p *pty) check() {
	p.t.Helper()
	p.output()
	if p.vt.wrapped > 0 {
		p.t.Errorf("%d characters are beyond the last column", p.vt.wrapped)
	}
}

// asProgram makes the test's program be the gateway.
const asProgram = "RUN_AS_GATEWAY"

// TestAsProgram is the gateway in the processes that startDemo starts, and nothing else.
func TestAsProgram(t *testing.T) {
	if args := os.Getenv(asProgram); args != "" {
		os.Exit(Main(strings.Fields(args), os.Environ(), os.Stdout, os.Stderr))
	}
}

// startDemo starts the demo as a process of its own.
func startDemo(t *testing.T, stdout, stderr *os.File, args string, environ ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAsProgram$")
	cmd.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR=", asProgram+"=demo "+args), environ...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// end ends the demo with SIGTERM.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// wholeLines fails the test unless the output is what a file or a pipe gets: JSON, a line each.
func wholeLines(t *testing.T, out []byte) {
	t.Helper()
	names := map[string]int{}
	for line := range bytes.Lines(out) {
		var l struct {
			Event, Session string
			Data           json.RawMessage
		}
		if err := json.Unmarshal(line, &l); err != nil || len(l.Data) == 0 || l.Session == "" || line[len(line)-1] != '\n' {
			t.Fatalf("%.200q: %v", line, err)
		}
		names[l.Event]++
	}
	if names["READY"] == 0 || names["GUILD_CREATE"] == 0 || bytes.Contains(out, []byte("\x1b")) {
		t.Errorf("events %v", names)
	}
}

func TestDemoOnTerminal(t *testing.T) {
	t.Parallel()
	p := openPTY(t, 80, 24)
	cmd := startDemo(t, p.File, p.File, "-seed 0 -rate 20")
	p.wait("shards 4/4 ready", "  faults 0  resumes 0  lost 0  ", "MESSAGE_CREATE", "INFO ready shard=3")
	end(t, cmd)
	p.wait("\nevents ")
	p.check()
	screen := p.screen()
	for _, text := range []string{" READY ", "A simulated Discord runs at", "level=INFO msg=ready", ", lost 0"} {
		if !strings.Contains(screen, text) && !strings.Contains(strings.Join(strings.Fields(screen), " "), text) { // a long line goes on in the next one
			t.Errorf("the terminal does not show %q:\n%s", text, screen)
		}
	}
	if strings.Contains(screen, "shards 4/4") || p.vt.colors == 0 {
		t.Errorf("%d colours; the status is left behind:\n%s", p.vt.colors, screen)
	}
}

// A crash, whose trace SIGQUIT has Go write, or a kill leaves the terminal as it was: there is no
// mode to restore, which the played terminal would not take, and what follows begins a row.
func TestDemoDies(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		p := openPTY(t, 80, 24)
		cmd := startDemo(t, p.File, p.File, "-seed 0")
		p.wait("shards 4/4 ready")
		cmd.Process.Signal(sig)
		cmd.Wait()
		p.Write([]byte("$ "))
		p.output()
		want := "\n$ "
		if sig == syscall.SIGQUIT {
			want = "\nSIGQUIT: quit\n"
		}
		if _, after, _ := strings.Cut(p.screen(), " shards 4/4 ready  "); strings.Count(after, want) != 1 || !strings.HasPrefix(after[strings.Index(after, "\n"):], want) {
			t.Errorf("%v: behind the status there is %.200q, want %q", sig, after, want)
		}
	}
}

// NO_COLOR and TERM=dumb are honoured.
func TestDemoWithoutColors(t *testing.T) {
	t.Parallel()
	p := openPTY(t, 60, 20)
	cmd := startDemo(t, p.File, p.File, "-seed 0", "NO_COLOR=1")
	p.wait("shards 4/4 ready")
	end(t, cmd)
	if p.check(); p.vt.colors > 0 {
		t.Errorf("%d colours", p.vt.colors)
	}
	p = openPTY(t, 60, 20)
	cmd = startDemo(t, p.File, p.File, "-seed 0", "TERM=dumb")
	p.wait(" READY ", "MESSAGE_CREATE")
	end(t, cmd)
	if out := p.output(); strings.Contains(out, "\x1b") || strings.Contains(out, "shards 4/4") {
		t.Errorf("a dumb terminal gets\n%q", out)
	}
	for line := range strings.Lines(p.screen()) {
		if strings.Contains(line, " GUILD_CREATE ") && (columnsIn(line)-1 > 60 || !strings.HasSuffix(line, "…\n")) {
			t.Errorf("%q has %d columns", line, columnsIn(line)-1)
		}
	}
}

// The panel follows the terminal's size.
func TestDemoResized(t *testing.T) {
	t.Parallel()
	p := openPTY(t, 100, 30)
	cmd := startDemo(t, p.File, p.File, "-seed 0")
	p.wait("shards 4/4 ready", "lost 0")
	p.mu.Lock()
	p.vt.resize(30, 10)
	err := unix.IoctlSetWinsize(int(p.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 30})
	p.vt.wrapped = 0
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	p.waitFor("a status of 29 columns", func(screen string) bool {
		i := strings.Index(screen, " shards 4/4 ready  events ")
		line, _, _ := strings.Cut(screen[max(0, i):], "\n")
		return i >= 0 && strings.HasSuffix(line, "…") && columnsIn(line) == 29
	})
	end(t, cmd)
	p.output()
	if strings.Contains(p.screen(), "shards 4/4") {
		t.Errorf("the status is left behind:\n%s", p.screen())
	}
}

// Each output is a terminal or not by itself; others get what they always got.
func TestDemoOnTerminalAndFile(t *testing.T) {
	t.Parallel()
	file := func() *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "output"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	content := func(f *os.File) []byte {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	events := file()
	p := openPTY(t, 80, 24)
	cmd := startDemo(t, events, p.File, "-seed 0")
	p.wait("shards 4/4 ready", "level=INFO msg=ready")
	end(t, cmd)
	p.check()
	if strings.Contains(p.screen(), " READY ") {
		t.Errorf("events are on standard error:\n%s", p.screen())
	}
	wholeLines(t, content(events))

	log := file()
	p = openPTY(t, 80, 24)
	cmd = startDemo(t, p.File, log, "-seed 0")
	p.wait("shards 4/4 ready", " READY ")
	end(t, cmd)
	p.check()
	if strings.Contains(p.screen(), "msg=ready") || strings.Contains(p.screen(), "shards 4/4") {
		t.Errorf("the log or the status is on the terminal:\n%s", p.screen())
	}
	if log := string(content(log)); strings.Contains(log, "\x1b") || strings.Count(log, "msg=ready") != demoShards || !strings.Contains(log, ", lost 0\n") {
		t.Errorf("the log is %q", log)
	}
}

// Whoever reads the pipe may write to the terminal that has the log: there is no status.
func TestDemoOnTerminalAndPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := openPTY(t, 80, 24)
	cmd := startDemo(t, w, p.File, "-seed 0")
	w.Close()
	read := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(r)
		read <- b
	}()
	p.wait("msg=ready shard=0", "msg=ready shard=1", "msg=ready shard=2", "msg=ready shard=3")
	end(t, cmd)
	wholeLines(t, <-read)
	if out := p.output(); strings.Contains(out, "\x1b") || strings.Contains(out, "shards 4/4") {
		t.Errorf("the terminal gets\n%q", out)
	}
}

// The gateway itself shows rows on a terminal, whatever its format is, and whole events elsewhere.
func TestEventsOnTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	ev := []sinks.Event{{Shard: 3, Seq: 70_000, Type: []byte("MESSAGE_CREATE"), Data: []byte(`{"content":"` + strings.Repeat("日\u009b2J", 50_000) + `"}`)}}
	for _, format := range []stdio.Format{stdio.JSON, stdio.MsgPack} {
		p := openPTY(t, 53, 24)
		acked := 0
		if err := eventOutput(p.File, format).Publish(t.Context(), ev, func(n int) { acked += n }); err != nil || acked != 1 {
			t.Errorf("%d acknowledged, %v", acked, err)
		}
		p.check()
		if got, want := p.screen(), ` 3  70000 MESSAGE_CREATE      {"content":"日\u009b2J…`+"\n"; got != want || p.vt.colors == 0 {
			t.Errorf("%v: %q, want %q; %d colours", format, got, want, p.vt.colors)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(r)
			read <- b
		}()
		var want bytes.Buffer
		eventOutput(w, format).Publish(t.Context(), ev, func(int) {})
		stdio.NewSink(&want, format).Publish(t.Context(), ev, func(int) {})
		w.Close()
		if got := <-read; !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%v: a pipe gets %.100q", format, got)
		}
	}
}
