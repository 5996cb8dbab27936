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
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(sinktest.FreePort(t))), Dir: t.TempDir(), t: t}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}, args...)
	t.Cleanup(s.Kill)
	s.Restart()
	return s
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
	s.mend()
	log, err := os.OpenFile(filepath.Join(s.Dir, "redis.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("redis-server", s.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := s.Process.Start(cmd); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.Addr)
		if err == nil {
			answer := make([]byte, 64)
			fmt.Fprint(conn, "PING\r\n")
			n, _ := conn.Read(answer)
			conn.Close()
			if n > 0 && !strings.HasPrefix(string(answer[:n]), "-LOADING") {
				return
			}
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			s.t.Fatalf("redis-server does not listen on %s: %v\n%s", s.Addr, err, text)
		}
	}
}

// mend cuts a torn transaction off the end of the append-only file. The server does so
// itself, but leaves what is whole of it behind a MULTI without an EXEC: forgotten at
// this start, and executed at the next (redis 7.0; valkey's pull request 4342).
func (s *Server) mend() {
	manifest := filepath.Join(s.Dir, "appendonlydir", "appendonly.aof.manifest")
	if _, err := os.Stat(manifest); err != nil {
		return
	}
	cmd := exec.Command("redis-check-aof", "--fix", manifest)
	cmd.Stdin = strings.NewReader("y\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("redis-check-aof: %v\n%s", err, out)
	}
}

// CLI runs redis-cli against the server and returns what it prints.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	out, err := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("redis-cli %v: %v: %s", args, err, out)
	}
	return string(out)
}

// URL returns the server's address as a URL.
func (s *Server) URL() string { return fmt.Sprintf("redis://%s", s.Addr) }
