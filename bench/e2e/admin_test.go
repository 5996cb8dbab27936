//go:build unix

// This file tests what is served of a running gateway: through clients that mean no good while
// events go on, an upgrade in place, and the shutdown.

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
)

// asker asks on a connection of its own each time.
func asker(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}, Timeout: patience}
}

func answered(c *http.Client, method, url, token string) (code int, body string, err error) {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// bySocket asks at the control socket of a program.
func (p *program) bySocket() *http.Client {
	path := filepath.Join(p.cmd.Dir, "state", "control.sock")
	return asker(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	})
}

// resident returns the memory of a process in MiB; 0: it is not known here.
func resident(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib >> 10
}

// While 1,000 slow clients hold connections, 200 have streams open and do not read, and others try tokens,
// send requests of another site and for another host, and 1 MB of header, each event arrives once, in
// order, health is answered, no action is taken, and memory is bounded.
func TestAdminUnderAttack(t *testing.T) {
	srv := flood(t, "zstd-stream")
	address := sinktest.FreeAddress(t)
	p := startGateway(t, setup{name: buildGateway(t), compression: "zstd-stream"}, srv, "HTTP_ADDRESS="+address, "HTTP_TOKEN=0123456789abcdef")
	waitFor(t, "the listener", func() bool {
		code, _, _ := answered(asker(nil), "GET", "http://"+address+"/livez", "")
		return code == 200
	})
	before := resident(p.cmd.Process.Pid)

	var attack sync.WaitGroup
	var over atomic.Bool
	var wrong, refused, alive atomic.Int64
	attack.Go(func() {
		var conns []net.Conn
		for n := 0; n < 1000; n++ {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				break
			}
			conns = append(conns, c)
			io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ")
		}
		for !over.Load() {
			for _, c := range conns {
				c.Write([]byte("x"))
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, c := range conns {
			c.Close()
		}
	})
	for range 4 {
		attack.Go(func() {
			for n := 0; !over.Load(); n++ {
				if code, body, err := answered(asker(nil), "POST", "http://"+address+"/reload", fmt.Sprintf("0123456789%06d", n)); err == nil && code == 200 {
					t.Errorf("a wrong token is let in: %s", body)
				}
				wrong.Add(1)
			}
		})
	}
	attack.Go(func() { // streams, which need no token on this machine
		var conns []net.Conn
		for n := 0; n < 200 && !over.Load(); n++ {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				break
			}
			conns = append(conns, c)
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", []string{"/tap", "/page/stream"}[n%2])
		}
		for !over.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		for _, c := range conns {
			c.Close()
		}
	})
	attack.Go(func() {
		header := strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1000)
		for n := 0; !over.Load(); n++ {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				break
			}
			c.SetDeadline(time.Now().Add(patience))
			const right = "Connection: close\r\nAuthorization: Bearer 0123456789abcdef\r\n"
			io.WriteString(c, []string{
				"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + header + "\r\n",
				"POST /reload HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n" + right + "\r\n",
				"POST /reload HTTP/1.1\r\nHost: evil.example\r\n" + right + "\r\n",
			}[n%3])
			if answer, _ := io.ReadAll(c); strings.Contains(string(answer), " 200 OK") {
				t.Errorf("let in: %s", answer)
			}
			c.Close()
			refused.Add(1)
		}
	})
	attack.Go(func() {
		for !over.Load() || alive.Load() < 20 {
			if code, body, err := answered(asker(nil), "GET", "http://"+address+"/livez", ""); err != nil || code != 200 {
				t.Errorf("/livez: %d %s, %v", code, body, err)
			}
			alive.Add(1)
		}
	})

	const want = floodShards * (floodEvents + 1)
	received := p.read(func(n int, _ line) bool { return n < want })
	after := resident(p.cmd.Process.Pid)
	over.Store(true)
	attack.Wait()
	if r := srv.Ledger().Check(received); r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	if s := srv.Ledger().Summary(); s.Connects != floodShards {
		t.Errorf("%v", s)
	}
	t.Logf("%d events; %d wrong tokens, %d requests that are none, /livez answered %d times; %d MiB before, %d MiB at the end", len(received), wrong.Load(), refused.Load(), alive.Load(), before, after)
	if after > before+256 { // events that wait in memory among it
		t.Errorf("%d MiB, %d before", after, before)
	}
	if log := p.stderr.String(); strings.Contains(log, "msg=reloaded") || strings.Contains(log, "http: action") {
		t.Errorf("an action is taken: %s", log)
	}
	p.terminate()
	p.exit(0)
}

// An upgrade in place finds its own address and socket free again, and what a start that was killed
// has left is no obstacle.
func TestAdminUpgrade(t *testing.T) {
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Log("upgrades are for Linux")
		return
	}
	srv := startSim(t, sim.Options{TLS: true, Shards: 1, IdentifyWindow: time.Millisecond, Seed: 1})
	address := sinktest.FreeAddress(t)
	name := buildGateway(t)
	p := startGateway(t, setup{name: name}, srv, "HTTP_ADDRESS="+address)
	var drained sync.WaitGroup
	drained.Go(func() { io.Copy(io.Discard, p.lines) })
	alive := func() bool {
		tcp, _, _ := answered(asker(nil), "GET", "http://"+address+"/livez", "")
		socket, _, _ := answered(p.bySocket(), "GET", "http://localhost/livez", "")
		return tcp == 200 && socket == 200
	}
	waitFor(t, "both", alive)
	info, err := os.Lstat(filepath.Join(p.cmd.Dir, "state", "control.sock"))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
	waitFor(t, "the session", func() bool { return srv.Ledger().Summary().Sessions == 1 })
	for n := range 2 {
		cmd := exec.Command(name, "upgrade")
		cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("upgrade %d: %v: %s", n, err, out)
		}
		waitFor(t, "both after an upgrade", alive)
	}
	if log := p.stderr.String(); strings.Contains(log, "control socket is not there") {
		t.Error(log)
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	drained.Wait()
	q := exec.Command(name)
	q.Dir, q.Env = p.cmd.Dir, p.cmd.Env
	q.Stdin = nil
	if err := q.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "both after a kill", alive)
	q.Process.Signal(os.Interrupt)
	q.Wait()
	if _, err := os.Lstat(filepath.Join(p.cmd.Dir, "state", "control.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// While the process drains it is live and not ready, and says so to the end.
func TestAdminShutdown(t *testing.T) {
	srv := flood(t, "none")
	address := sinktest.FreeAddress(t)
	p := startGateway(t, setup{name: buildGateway(t), compression: "none"}, srv, "HTTP_ADDRESS="+address, "BROKER_BUFFER=1MiB")
	p.read(func(n int, _ line) bool { return n < 100 }) // then nobody reads for a while
	p.terminate()
	waitFor(t, "that it is not ready", func() bool {
		code, body, _ := answered(asker(nil), "GET", "http://"+address+"/readyz", "")
		return code == 503 && strings.Contains(body, "failed shutdown: the process shuts down\n")
	})
	if code, body, err := answered(p.bySocket(), "GET", "http://localhost/livez", ""); code != 200 {
		t.Errorf("/livez: %d %s %v", code, body, err)
	}
	p.read(func(int, line) bool { return true })
	p.exit(0)
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("somebody listens after the exit")
	}
}
