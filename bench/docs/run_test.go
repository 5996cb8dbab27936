//go:build docs && linux

package docs

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/rabbitmq"
	"sluice/sinks/sinktest/redistest"
)

// patience bounds every wait. The first block compiles everything.
const patience = 10 * time.Minute

// TestBlocks follows each document, block by block, in a fresh checkout. Discord is the
// simulated one; servers at their usual addresses are the test's own.
func TestBlocks(t *testing.T) {
	dir := checkout(t)
	for _, doc := range documents(t) {
		t.Run(doc, func(t *testing.T) {
			s := &session{t: t, dir: dir, state: filepath.Join(t.TempDir(), "environment")}
			for _, b := range allBlocks(t) {
				m, ok := find(marks, b)
				if b.doc != doc || !ok || m.reason != "" {
					continue
				}
				t.Logf("%v\n%s", b, b.text)
				switch m.way {
				case asCommands:
					s.commands(b)
				case byRedis:
					s.redisCLI(b)
				default:
					s.run(b, m)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// checkout copies what git has or would add, so that nothing is there that was built before.
func checkout(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copyFile copies a file or a link. One that is not there has been removed, which is not
// committed.
func copyFile(to, from string) error {
	info, err := os.Lstat(from)
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode())
}

// session is somebody who reads a document and types what it says.
type session struct {
	t     *testing.T
	dir   string
	state string // a file: what the blocks before have exported

	discord *sim.Server
	redis   *redistest.Server
	node    *rabbitmq.Node
}

// server returns the simulated Discord and the variables that lead to it.
func (s *session) server() (*sim.Server, []string) {
	s.t.Helper()
	if s.discord == nil {
		srv, err := sim.New(sim.Options{TLS: true, Shards: 2, MaxConcurrency: 2, Guilds: 3, Rate: 5, Seed: 1})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { srv.Close() })
		s.discord = srv
		if err := os.WriteFile(s.ca(), srv.CertPEM(), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	protocol, host, _ := strings.Cut(strings.TrimSuffix(s.discord.APIURL(), "/api/v10"), "://")
	return s.discord, []string{"DISCORD_TOKEN=sim-token", "DISCORD_API_PROTOCOL=" + protocol, "DISCORD_API_HOST=" + host, "DISCORD_API_CA_FILE=" + s.ca()}
}

func (s *session) ca() string { return filepath.Join(filepath.Dir(s.state), "ca.pem") }

// local puts the test's own in the place of what the reader has.
func (s *session) local(text string) string {
	s.t.Helper()
	text = strings.ReplaceAll(text, "'the token'", "sim-token")
	if strings.Contains(text, "localhost:6379") {
		text = strings.ReplaceAll(text, "localhost:6379", s.redisServer().Addr)
	}
	if strings.Contains(text, "amqp://localhost") {
		if s.node == nil {
			s.node = rabbitmq.Start(s.t, "")
		}
		text = strings.ReplaceAll(text, "amqp://localhost", strings.TrimSuffix(s.node.URL(), "/"))
	}
	return text
}

func (s *session) redisServer() *redistest.Server {
	s.t.Helper()
	if s.redis == nil {
		s.redis = redistest.Start(s.t)
	}
	return s.redis
}

// typed keeps the environment for the next block, also when the block ends by Ctrl-C.
const typed = `trap 'export -p >"$STATE"' EXIT; trap : INT; [ ! -e "$STATE" ] || . "$STATE"
`

// run has bash run a block as it stands.
func (s *session) run(b block, m mark) {
	s.t.Helper()
	if m.anew {
		os.Remove(s.state)
	}
	env := append(os.Environ(), "STATE="+s.state)
	if m.discord {
		_, more := s.server()
		env = append(env, more...)
	}
	p := s.start(b, env, "bash", "-c", typed+m.before+"\n"+s.local(b.text))
	if m.until != "" {
		p.wait(m.until)
		if m.stays {
			s.t.Cleanup(func() { p.interrupt() })
			return
		}
		p.interrupt()
	} else if err := p.exit(); err != nil {
		s.t.Errorf("%v: %v\n%s", b, err, p.out.String())
	}
	if m.says != "" && !regexp.MustCompile(m.says).MatchString(p.out.String()) {
		s.t.Errorf("%v: no %q in\n%s", b, m.says, p.out.String())
	}
}

// commands gives each line to a gateway, which sends it to Discord.
func (s *session) commands(b block) {
	s.t.Helper()
	srv, env := s.server()
	before := len(srv.Ledger().Commands())
	p := s.start(b, append(os.Environ(), append(env, "DISCORD_INTENTS=GUILDS,GUILD_MEMBERS", "SHARD_STORE_TYPE=memory")...), "bin/gateway")
	for line := range strings.Lines(b.text) {
		var command any
		if err := json.Unmarshal([]byte(line), &command); err != nil {
			s.t.Fatalf("%v: %v: %s", b, err, line)
		}
		want := packet(command)
		if _, err := io.WriteString(p.stdin, line); err != nil {
			s.t.Fatal(err)
		}
		p.until("a command at Discord: "+line, func() bool {
			for _, c := range srv.Ledger().Commands()[before:] {
				var got any
				if json.Unmarshal(c.Raw, &got) == nil && reflect.DeepEqual(packet(got), want) {
					return true
				}
			}
			return false
		})
	}
	p.interrupt()
}

// packet returns the payload in a command: the innermost object with op and d.
func packet(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	if _, ok := object["op"]; ok {
		return map[string]any{"op": object["op"], "d": object["d"]}
	}
	for _, key := range []string{"packet", "data"} {
		if p := packet(object[key]); p != nil {
			return p
		}
	}
	return nil
}

// redisCLI has a server of Redis take each line.
func (s *session) redisCLI(b block) {
	s.t.Helper()
	_, port, _ := strings.Cut(s.redisServer().Addr, ":")
	cmd := exec.CommandContext(s.t.Context(), "redis-cli", "-p", port)
	cmd.Stdin = strings.NewReader(b.text)
	out, err := cmd.CombinedOutput()
	if err != nil || regexp.MustCompile(`(?m)^(\(error\)|[A-Z]+ )`).Match(out) {
		s.t.Errorf("%v: %v\n%s", b, err, out)
	}
}

// process is what a block runs.
type process struct {
	s     *session
	b     block
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   output
	ended chan error
}

func (s *session) start(b block, env []string, name string, args ...string) *process {
	s.t.Helper()
	p := &process{s: s, b: b, cmd: exec.Command(name, args...), ended: make(chan error, 1)}
	if !strings.Contains(name, "/") {
		p.cmd.Path, _ = exec.LookPath(name)
	} else {
		p.cmd.Path = filepath.Join(s.dir, name)
	}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.dir, env, &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // for Ctrl-C, which all of a pipe get
	p.cmd.WaitDelay = time.Minute
	stdin, err := p.cmd.StdinPipe()
	if err == nil {
		p.stdin = stdin
		err = p.cmd.Start()
	}
	if err != nil {
		s.t.Fatalf("%v: %v", b, err)
	}
	s.t.Cleanup(func() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }) // nothing if it has ended
	go func() { p.ended <- p.cmd.Wait() }()
	return p
}

// exit waits for the end.
func (p *process) exit() error {
	select {
	case err := <-p.ended:
		return err
	case <-time.After(patience):
		p.s.t.Fatalf("%v does not end\n%s", p.b, p.out.String())
		return nil
	}
}

func (p *process) interrupt() {
	p.s.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT); err != nil {
		p.s.t.Errorf("%v: %v", p.b, err)
	}
	p.exit() // after Ctrl-C any exit code will do
}

func (p *process) wait(pattern string) {
	p.s.t.Helper()
	re := regexp.MustCompile(pattern)
	p.until(pattern, func() bool { return re.MatchString(p.out.String()) })
}

func (p *process) until(what string, holds func() bool) {
	p.s.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-p.ended:
			p.s.t.Fatalf("%v ended (%v) without %s\n%s", p.b, err, what, p.out.String())
		default:
		}
		if time.Now().After(end) {
			p.s.t.Fatalf("%v: no %s in\n%s", p.b, what, p.out.String())
		}
	}
}

// output is written by a process while the test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
