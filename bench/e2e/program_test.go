// This file is the harness for the gateway as its users have it: a program that
// is told by its environment, writes lines and answers signals.

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/bench/reexec"
	"sluice/bench/sim"
)

// buildGateway returns the program: this test's own binary, see TestMain.
func buildGateway(t *testing.T) string {
	t.Helper()
	inputs.Do(readInputs)
	return reexec.Link(t, "gateway")
}

// startSim starts a simulated Discord whose shards can all identify at once.
func startSim(t *testing.T, o sim.Options) *sim.Server {
	t.Helper()
	if o.MaxConcurrency == 0 {
		o.MaxConcurrency = o.Shards
	}
	srv, err := sim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

// silence ends what Discord sends by itself, and returns how many events it has sent.
func silence(srv *sim.Server) (events int) {
	srv.Silence()
	return int(srv.Ledger().Summary().Events)
}

// program is a gateway that runs against a simulated Discord.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *os.File
	lines  *bufio.Reader // over stdout
	stderr lockedBuffer
}

// setup is a build of the program and how it is to be run.
type setup struct {
	name        string // the file
	reader      string // reader.type
	compression string // empty: the default

	sys   *syscall.SysProcAttr // nil: as the test's own
	files []*os.File           // from 3 on
}

// discord is where a program finds the API.
type discord interface {
	APIURL() string
	CertPEM() []byte
}

// startGateway starts the program with nothing in its environment but what leads
// to srv, and env. Its standard output is the test's to read.
func startGateway(t *testing.T, g setup, srv discord, env ...string) *program {
	t.Helper()
	dir := t.TempDir()
	protocol, host, _ := strings.Cut(strings.TrimSuffix(srv.APIURL(), "/api/v10"), "://")
	p := &program{t: t, cmd: exec.Command(g.name)}
	p.cmd.Dir = dir
	p.cmd.Env = []string{"DISCORD_TOKEN=sim-token", "DISCORD_API_PROTOCOL=" + protocol, "DISCORD_API_HOST=" + host,
		"DISCORD_COMPRESSION=" + g.compression, "READER_TYPE=" + g.reader, "LOG_FORMAT=text",
		"SHUTDOWN_TIMEOUT=2m", // a busy machine is not what is tested
		"SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}
	if protocol == "https" {
		ca := filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(ca, srv.CertPEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		p.cmd.Env = append(p.cmd.Env, "DISCORD_API_CA_FILE="+ca)
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr, p.cmd.ExtraFiles = g.sys, g.files
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	// Not StdoutPipe, which Wait closes before all is read.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout, p.cmd.Stdout = r, w
	p.lines = bufio.NewReaderSize(r, 1<<20)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	all, _ := programs.LoadOrStore(t, new([]*program))
	*all.(*[]*program) = append(*all.(*[]*program), p)
	t.Cleanup(func() {
		programs.Delete(t)
		p.cmd.Process.Kill() // nothing to end if the test has waited
		p.cmd.Wait()
		p.stdout.Close()
		p.stdin.Close()
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", p.stderr.tail())
		}
	})
	return p
}

// programs has a *[]*program for each *testing.T.
var programs sync.Map

// endedAlone reports whether one of the test's programs has ended, and the test has not waited
// for that. Where there is no /proc it does not know.
func endedAlone(t *testing.T) bool {
	all, ok := programs.Load(t)
	if !ok {
		return false
	}
	for _, p := range *all.(*[]*program) {
		if p.cmd.ProcessState != nil {
			continue
		}
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if _, state, ok := bytes.Cut(stat, []byte(") ")); ok && state[0] == 'Z' {
			return true
		}
	}
	return false
}

// exit waits for the program's end and checks its exit code.
func (p *program) exit(want int) {
	p.t.Helper()
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	p.cmd.Wait()
	late.Stop()
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		p.t.Errorf("the gateway ended with %v, want exit code %d", p.cmd.ProcessState, want)
	}
}

// line is what the program writes for an event.
type line struct {
	Event string
	Shard int
	Seq   int64
	Data  json.RawMessage
}

// read reads events until the output ends or seen returns false. Every line
// must be one, and whole.
func (p *program) read(seen func(n int, l line) bool) (received []sim.Received) {
	p.t.Helper()
	for {
		if p.lines.Buffered() == 0 {
			p.stdout.SetReadDeadline(time.Now().Add(patience)) // a pipe of Windows has none
		}
		text, err := p.lines.ReadBytes('\n')
		if err == io.EOF && len(text) == 0 {
			return received
		}
		if err != nil {
			p.t.Fatalf("the output ends with %q: %v", text, err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			p.t.Fatalf("line %.200q: %v", text, err)
		}
		received = append(received, sim.Received{Shard: l.Shard, Seq: l.Seq, Type: l.Event, Hash: sim.Hash(l.Data)})
		if !seen(len(received), l) {
			return received
		}
	}
}

// lockedBuffer holds the log. A pipe's copier writes while the test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tail returns the last lines.
func (l *lockedBuffer) tail() string {
	lines := strings.Split(strings.TrimSpace(l.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
