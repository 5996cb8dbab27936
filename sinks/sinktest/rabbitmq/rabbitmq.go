//go:build linux

// Package rabbitmq runs a real RabbitMQ for tests.
package rabbitmq

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Node is a RabbitMQ of one node that ends with the test. Its methods fail the test.
type Node struct {
	Addr string // host:port
	Dir  string // its files, which outlive restarts

	t    testing.TB
	bin  string
	env  []string
	epmd *exec.Cmd

	mu  sync.Mutex
	cmd *exec.Cmd
}

// startTimeout bounds the start, which takes a few seconds on an idle machine.
const startTimeout = 3 * time.Minute

// Start starts a node on free ports of the loopback, with the lines of rabbitmq.conf
// that are given, and the plugins. It fails the test if there is no RabbitMQ.
func Start(t testing.TB, conf string, plugins ...string) *Node {
	t.Helper()
	// As root, the command of that name on the path would change to another user.
	bins, _ := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin")
	if len(bins) == 0 {
		t.Fatal("the tests of RabbitMQ need rabbitmq-server: apt-get install rabbitmq-server")
	}
	n := &Node{Dir: t.TempDir(), t: t, bin: bins[len(bins)-1]}
	port, distribution, names := FreePort(t), FreePort(t), FreePort(t)
	n.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for _, name := range []string{"PATH", "LANG", "LC_ALL"} {
		if v := os.Getenv(name); v != "" {
			n.env = append(n.env, name+"="+v)
		}
	}
	n.env = append(n.env,
		"HOME="+n.Dir,
		"ERL_EPMD_PORT="+strconv.Itoa(names),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RUNNING_UNDER_SYSTEMD=true", // the script becomes the node instead of its parent
		"RABBITMQ_NODENAME=sluice"+strconv.Itoa(port)+"@localhost",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+strconv.Itoa(port),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(distribution),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(n.Dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(n.Dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(n.Dir, "pid"),
		"RABBITMQ_CONFIG_FILE="+n.write("rabbitmq.conf", conf+"\n"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+filepath.Join(n.Dir, "none"),
		"RABBITMQ_CONF_ENV_FILE="+n.write("rabbitmq-env.conf", ""),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+n.write("enabled_plugins", "["+strings.Join(plugins, ",")+"].\n"),
	)
	n.write(".erlang.cookie", "SLUICE")

	// Erlang would start its register of names as a daemon that outlives the test.
	n.epmd = n.command("epmd", "-port", strconv.Itoa(names))
	if err := n.epmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Kill()
		n.epmd.Process.Kill()
		n.epmd.Wait()
	})
	n.Restart()
	return n
}

// FreePort returns a port of the loopback on which nobody listened just now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// write writes a file that only the node may read, as Erlang wants its cookie.
func (n *Node) write(name, text string) (path string) {
	n.t.Helper()
	path = filepath.Join(n.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// command returns a command in the node's environment that ends with the test's
// process.
func (n *Node) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = n.env
	cmd.Dir = n.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Restart starts the node again after Kill or Stop, on the same ports and with the
// same files, and waits until it takes connections.
func (n *Node) Restart() {
	n.t.Helper()
	out, err := os.OpenFile(filepath.Join(n.Dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	cmd := n.command(filepath.Join(n.bin, "rabbitmq-server"))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	n.cmd = cmd
	n.mu.Unlock()
	for end := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		// The listener comes last.
		if conn, err := net.Dial("tcp", n.Addr); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(out.Name())
			n.t.Fatalf("RabbitMQ does not listen on %s:\n%s", n.Addr, text)
		}
	}
}

// Kill ends the node as a power cut would. It may be called when it is gone already.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop has the node shut down.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

func (n *Node) end(sig syscall.Signal) {
	n.mu.Lock()
	cmd := n.cmd
	n.cmd = nil
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	cmd.Process.Signal(syscall.SIGCONT)
	cmd.Process.Signal(sig)
	cmd.Wait()
}

// Pause stops the node's process where it is, until Resume.
func (n *Node) Pause() { n.signal(syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (n *Node) Resume() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(sig syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		n.cmd.Process.Signal(sig)
	}
}

// Pid returns the process id of the node.
func (n *Node) Pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

// Ctl runs rabbitmqctl and returns what it prints.
func (n *Node) Ctl(args ...string) string {
	n.t.Helper()
	out, err := n.command(filepath.Join(n.bin, "rabbitmqctl"), args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("rabbitmqctl %v: %v: %s", args, err, out)
	}
	return string(out)
}

// URL returns the node's address as a URL, with the user that it has.
func (n *Node) URL() string { return fmt.Sprintf("amqp://guest:guest@%s/", n.Addr) }
