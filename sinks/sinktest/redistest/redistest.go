//go:build unix

// Package redistest runs real Redis servers for tests.
package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/sinks/sinktest"
)

// Server is a redis-server process that ends with the test.
type Server struct {
	sinktest.Process
	Addr string // host:port
	Dir  string // its working directory, which outlives restarts

	t    testing.TB
	args []string
}

// Start starts a server on a free port of the loopback, without persistence but for
// what args, in the form of redis-server's options, say. It fails the test if
// there is no redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("the tests of Redis need redis-server: apt-get install redis-server")
	}
	s, err := Launch(t.TempDir(), sinktest.FreePort(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(s.Kill)
	return s
}

// Launch starts a server on a port of the loopback, with its files in dir, until Kill or
// the end of the process. CLI and Restart are for servers with a test.
func Launch(dir string, port int, args ...string) (*Server, error) {
	number := strconv.Itoa(port)
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", number), Dir: dir}
	s.args = append([]string{"--port", number, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}, args...)
	return s, s.Up()
}

// LaunchSentinel starts a sentinel with the configuration file, which it will change, as Launch does.
func LaunchSentinel(dir string, port int, conf string) (*Server, error) {
	number := strconv.Itoa(port)
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", number), Dir: dir, args: []string{conf, "--sentinel", "--port", number}}
	return s, s.Up()
}

// StartSentinel starts a sentinel with the configuration file, which it will change.
func StartSentinel(t testing.TB, conf string) *Server {
	t.Helper()
	port := strconv.Itoa(sinktest.FreePort(t))
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", port), Dir: t.TempDir(), t: t, args: []string{conf, "--sentinel", "--port", port}}
	t.Cleanup(s.Kill)
	s.Restart()
	return s
}

// Restart starts the server again after Kill or Stop, on the same port, and waits until
// it answers.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.Up(); err != nil {
		s.t.Fatal(err)
	}
}

// Up is Restart for a server without a test.
func (s *Server) Up() error {
	if err := s.mend(); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "redis.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("redis-server", s.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := s.Process.Start(cmd); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.Addr)
		if err == nil {
			answer := make([]byte, 64)
			fmt.Fprint(conn, "PING\r\n")
			n, _ := conn.Read(answer)
			conn.Close()
			if n > 0 && !strings.HasPrefix(string(answer[:n]), "-LOADING") {
				return nil
			}
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("redis-server does not listen on %s: %v\n%s", s.Addr, err, text)
		}
	}
}

// mend cuts a torn transaction off the end of the append-only file. The server does so
// itself, but leaves what is whole of it behind a MULTI without an EXEC: forgotten at
// this start, and executed at the next (redis 7.0; valkey's pull request 4342).
func (s *Server) mend() error {
	manifest := filepath.Join(s.Dir, "appendonlydir", "appendonly.aof.manifest")
	if _, err := os.Stat(manifest); err != nil {
		return nil
	}
	cmd := exec.Command("redis-check-aof", "--fix", manifest)
	cmd.Stdin = strings.NewReader("y\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("redis-check-aof: %v\n%s", err, out)
	}
	return nil
}

// URL returns the server's address as a URL.
func (s *Server) URL() string { return fmt.Sprintf("redis://%s", s.Addr) }
