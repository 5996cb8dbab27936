//go:build linux

// Package rabbitmq runs a real RabbitMQ for tests.
package rabbitmq

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/sinks/sinktest"
)

// Node is a RabbitMQ of one node that ends with the test. Its methods fail the test.
type Node struct {
	sinktest.Process
	Addr string // host:port
	Dir  string // its files, which outlive restarts

	t     testing.TB // nil after Launch
	bin   string
	env   []string
	names string    // port of the register of names
	epmd  *exec.Cmd // which it is; nil: another node's
}

// cookie is the nodes' secret.
const cookie = "SLUICE"

// startTimeout bounds the start, which takes a few seconds on an idle machine.
const startTimeout = 3 * time.Minute

// Start starts a node on free ports of the loopback, with the lines of rabbitmq.conf
// that are given, and the plugins. It fails the test if there is no RabbitMQ.
func Start(t testing.TB, conf string, plugins ...string) *Node {
	t.Helper()
	n, err := Launch(t.TempDir(), conf, plugins...)
	if err != nil {
		t.Fatal(err)
	}
	n.t = t
	t.Cleanup(n.Close)
	return n
}

// Join starts another node, which is one RabbitMQ with this one.
func (n *Node) Join(t testing.TB) *Node {
	t.Helper()
	other, err := launch(t.TempDir(), n, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	other.t = t
	t.Cleanup(other.Close)
	return other
}

// Launch starts a node, with its files in dir, until Close or the end of the process.
// Methods that fail the test are for nodes with a test.
func Launch(dir, conf string, plugins ...string) (*Node, error) {
	return launch(dir, nil, conf, plugins)
}

// Available returns an error that says what to install if there is no RabbitMQ.
func Available() error {
	_, err := programs()
	return err
}

// programs returns the folder of RabbitMQ's programs. As root, those of the same names on
// the path would change to another user.
func programs() (string, error) {
	bins, _ := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin")
	if len(bins) == 0 {
		return "", errors.New("rabbitmq-server is not here: apt-get install rabbitmq-server")
	}
	return bins[len(bins)-1], nil
}

// launch starts a node that joins the other one, if there is one.
func launch(dir string, other *Node, conf string, plugins []string) (*Node, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	n := &Node{Dir: dir, bin: bin}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	n.names = ports[2]
	n.Addr = net.JoinHostPort("127.0.0.1", ports[0])
	if other != nil {
		n.names = other.names
		conf += "\ncluster_formation.peer_discovery_backend = classic_config"
		for i, name := range []string{other.name(), n.name()} {
			conf += fmt.Sprintf("\ncluster_formation.classic_config.nodes.%d = %s", i+1, name)
		}
	}
	config, err := n.write("rabbitmq.conf", conf+"\n")
	if err != nil {
		return nil, err
	}
	environment, err := n.write("rabbitmq-env.conf", "")
	if err != nil {
		return nil, err
	}
	enabled, err := n.write("enabled_plugins", "["+strings.Join(plugins, ",")+"].\n")
	if err != nil {
		return nil, err
	}
	if _, err := n.write(".erlang.cookie", cookie); err != nil {
		return nil, err
	}
	for _, name := range []string{"PATH", "LANG", "LC_ALL"} {
		if v := os.Getenv(name); v != "" {
			n.env = append(n.env, name+"="+v)
		}
	}
	n.env = append(n.env,
		"HOME="+n.Dir,
		"ERL_EPMD_PORT="+n.names,
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RUNNING_UNDER_SYSTEMD=true", // the script becomes the node instead of its parent
		"RABBITMQ_NODENAME="+n.name(),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+ports[0],
		"RABBITMQ_DIST_PORT="+ports[1],
		"RABBITMQ_MNESIA_BASE="+filepath.Join(n.Dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(n.Dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(n.Dir, "pid"),
		"RABBITMQ_CONFIG_FILE="+config,
		"RABBITMQ_ADVANCED_CONFIG_FILE="+filepath.Join(n.Dir, "none"),
		"RABBITMQ_CONF_ENV_FILE="+environment,
		"RABBITMQ_ENABLED_PLUGINS_FILE="+enabled,
		// Its schedulers look for work for a while before they sleep: that is others' time here.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none",
	)
	if other == nil {
		// Erlang would start its register of names as a daemon that outlives the test.
		n.epmd = n.command("epmd", "-port", n.names)
		if err := n.epmd.Start(); err != nil {
			return nil, err
		}
	}
	if err := n.Up(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// name returns what Erlang calls the node.
func (n *Node) name() string {
	_, port, _ := net.SplitHostPort(n.Addr)
	return "sluice" + port + "@localhost"
}

// Close ends the node.
func (n *Node) Close() {
	n.Kill()
	if n.epmd != nil {
		n.epmd.Process.Kill()
		n.epmd.Wait()
	}
}

// freePorts returns ports of the loopback on which nobody listened just now.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		port, err := sinktest.Port()
		if err != nil {
			return nil, err
		}
		ports = append(ports, strconv.Itoa(port))
	}
	return ports, nil
}

// write writes a file that only the node may read, as Erlang wants its cookie.
func (n *Node) write(name, text string) (path string, err error) {
	path = filepath.Join(n.Dir, name)
	return path, os.WriteFile(path, []byte(text), 0o400)
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
	if err := n.Up(); err != nil {
		n.t.Fatal(err)
	}
}

// Up is Restart for a node without a test.
func (n *Node) Up() error {
	out, err := os.OpenFile(filepath.Join(n.Dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := n.command(filepath.Join(n.bin, "rabbitmq-server"))
	cmd.Stdout, cmd.Stderr = out, out
	if err := n.Process.Start(cmd); err != nil {
		return err
	}
	for end := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		// The listener comes last.
		if conn, err := net.Dial("tcp", n.Addr); err == nil {
			conn.Close()
			return nil
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("RabbitMQ does not listen on %s:\n%s", n.Addr, text)
		}
	}
}

// Ctl runs rabbitmqctl and returns what it prints.
func (n *Node) Ctl(args ...string) string {
	n.t.Helper()
	out, err := n.ctl(args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func (n *Node) ctl(args ...string) (string, error) {
	out, err := n.command(filepath.Join(n.bin, "rabbitmqctl"), args...).CombinedOutput()
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(n.Dir, "output"))
		return "", fmt.Errorf("rabbitmqctl %v: %w: %s\noutput of the node:\n%s", args, err, out, text[max(0, len(text)-4000):])
	}
	return string(out), nil
}

// Eval evaluates an expression of Erlang in the node and returns its value as Erlang writes it. It is for what is
// done often: rabbitmqctl is a virtual machine, whose start costs more than all else.
func (n *Node) Eval(expression string) string {
	n.t.Helper()
	value, err := n.eval(expression)
	if err != nil {
		n.t.Fatal(err)
	}
	return value
}

func (n *Node) eval(expression string) (string, error) {
	const call = "/usr/lib/erlang/bin/erl_call"
	if _, err := os.Stat(call); err != nil {
		out, err := n.ctl("eval", expression+".")
		return strings.TrimSpace(out), err
	}
	for end := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		cmd := n.command(call, "-r", "-c", cookie, "-n", n.name(), "-e") // under a name of its own: there may be others
		cmd.Stdin = strings.NewReader(expression + ".\n")
		out, err := cmd.CombinedOutput()
		if value, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "{ok, "); err == nil && ok {
			return strings.TrimSuffix(value, "}"), nil
		}
		// Erlang gives up a connection that takes seconds to begin, as on a busy machine.
		if !strings.Contains(string(out), "failed to connect") || time.Now().After(end) {
			return "", fmt.Errorf("%s: %v: %s", expression, err, out)
		}
	}
}

// Vhost adds a virtual host, with all rights for the user of URL, and returns its URL. It is for nodes without
// a test, too.
func (n *Node) Vhost(name string) (url string, err error) {
	_, err = n.eval(fmt.Sprintf(`ok = rabbit_vhost:add(<<%[1]q>>, <<"test">>),
		ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<%[1]q>>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)`, name))
	return n.URL() + name, err
}

// AddUser adds a user with rights in the virtual host /: each is a regular expression.
func (n *Node) AddUser(name, password, configure, write, read string) {
	n.t.Helper()
	n.Eval(fmt.Sprintf(`ok = rabbit_auth_backend_internal:add_user(<<%q>>, <<%q>>, <<"test">>)`, name, password))
	n.SetPermissions(name, configure, write, read)
}

// SetPermissions gives a user other rights.
func (n *Node) SetPermissions(name, configure, write, read string) {
	n.t.Helper()
	n.Eval(fmt.Sprintf(`ok = rabbit_auth_backend_internal:set_permissions(<<%q>>, <<"/">>, <<%q>>, <<%q>>, <<%q>>, <<"test">>)`, name, configure, write, read))
}

// Block has the node short of memory, or not any more: it reads nothing from those that publish.
func (n *Node) Block(short bool) {
	n.t.Helper()
	watermark := 0.4 // as it is from the start
	if short {
		watermark = 0.0001
	}
	n.Eval(fmt.Sprintf("ok = vm_memory_monitor:set_vm_memory_high_watermark(%v)", watermark))
}

// Settle returns when what has been declared so far outlives Kill. RabbitMQ answers before it has
// written a declaration, unlike a message.
func (n *Node) Settle() { n.Eval("mnesia:sync_log()") }

// URL returns the node's address as a URL, with the user that it has.
func (n *Node) URL() string { return fmt.Sprintf("amqp://guest:guest@%s/", n.Addr) }
