// This file tests where the program sends the token, and by which way.

package e2e

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/bench/sim"
	"sluice/internal/proxy/proxytest"
)

// counter is a listener that counts who comes, and closes.
func counter(t *testing.T) (address string, came *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String(), came
}

// With gateway.url and shards.count set, no request goes to the API, which by default is
// discord.com, however often connections fail: all that would be asked comes by the proxy.
// One that is named is asked.
func TestAPINotAsked(t *testing.T) {
	t.Parallel()
	gateway := buildGateway(t)
	for name, host := range map[string]string{"by default": "", "named": "api.sim.test"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startSim(t, sim.Options{Shards: 1})
			proxy, came := counter(t)
			p := startGateway(t, setup{name: gateway}, srv, "DISCORD_EVENTS=RESUMED", "DISCORD_API_HOST="+host, "DISCORD_GATEWAY_URL="+srv.GatewayURL(), "DISCORD_SHARD_COUNT=1",
				"HTTP_PROXY=http://"+proxy, "HTTPS_PROXY=http://"+proxy)
			failures := func() int { return strings.Count(p.stderr.String(), `cause="connect failed"`) }
			waitFor(t, "session", func() bool { return strings.Contains(p.stderr.String(), "msg=ready") })
			srv.SetGateway(sim.GateRefuse)
			srv.SetResumeHost(sim.GateRefuse)
			srv.Cut(0, true)
			if host != "" {
				waitFor(t, "question", func() bool { return came.Load() > 0 })
			} else {
				waitFor(t, "failures", func() bool { return failures() >= 4 })
			}
			srv.SetGateway(sim.GateOpen)
			waitFor(t, "session", func() bool { return srv.Connected() == 1 })
			if n := came.Load(); host == "" && n > 0 {
				t.Errorf("%d connections to the proxy, which is that of the API alone", n)
			}
			p.terminate()
			p.exit(0)
		})
	}
}

// Behind a proxy, that of the environment or of the settings, the API and the gateway are
// reached by names that the proxy alone can resolve. Its password is nowhere to be read.
func TestProxy(t *testing.T) {
	const password = "very-secret-password"
	gateway := buildGateway(t)
	for _, tt := range []struct {
		name, variable, scheme string
		reader                 string
	}{
		{"environment", "HTTP_PROXY", "http", "epoll"},
		{"environment, goroutine", "HTTP_PROXY", "socks5", "goroutine"},
		{"setting", "DISCORD_PROXY", "socks5", "epoll"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := startSim(t, sim.Options{Shards: 2})
			local := func(address string) string {
				return strings.NewReplacer("api.sim.test", "127.0.0.1", "gateway.sim.test", "127.0.0.1").Replace(address)
			}
			proxy, err := proxytest.New(proxytest.Options{SOCKS: tt.scheme == "socks5", User: "user", Password: password, Resolve: local})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(proxy.Close)
			outside := func(url string) string {
				_, host, _ := strings.Cut(url, "://")
				return strings.TrimSuffix(host, "/api/v10")
			}
			api, main := strings.Replace(outside(srv.APIURL()), "127.0.0.1", "api.sim.test", 1), strings.Replace(outside(srv.GatewayURL()), "127.0.0.1", "gateway.sim.test", 1)
			env := []string{"DISCORD_EVENTS=RESUMED", "DISCORD_API_HOST=" + api, "DISCORD_GATEWAY_URL=ws://" + main, tt.variable + "=" + tt.scheme + "://user:" + password + "@" + proxy.Addr()}
			p := startGateway(t, setup{name: gateway, reader: tt.reader}, srv, env...)
			waitFor(t, "sessions", func() bool { return strings.Count(p.stderr.String(), "msg=ready") == 2 })
			srv.Cut(0, true) // the resume host is not one of the gateway's domain
			waitFor(t, "resume", func() bool { return srv.Ledger().Summary().Resumed == 1 })
			p.terminate()
			p.exit(0)
			if got := proxy.Targets(); !slices.Equal(got, []string{api, main, main, main}) {
				t.Errorf("the proxy was asked for %q", got)
			}
			log := p.stderr.String()
			if strings.Contains(log, password) || strings.Count(log, "resume_gateway_url is refused") != 2 {
				t.Errorf("log:\n%s", log)
			}
			cmd := exec.Command(gateway, "config")
			cmd.Env = append([]string{"DISCORD_TOKEN=sim-token", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}, env...)
			cmd.Dir = t.TempDir()
			if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), password) {
				t.Errorf("gateway config: %v\n%s", err, out)
			}
		})
	}
}

// A proxy that refuses is told of, without its password, and tried again.
func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	gateway := buildGateway(t)
	srv := startSim(t, sim.Options{Shards: 1})
	proxy, err := proxytest.New(proxytest.Options{User: "user", Password: "another-password"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	p := startGateway(t, setup{name: gateway}, srv, "DISCORD_PROXY=http://user:very-secret-password@"+proxy.Addr())
	waitFor(t, "a second try", func() bool { return strings.Count(p.stderr.String(), "is refused with HTTP status 407") > 1 })
	p.terminate()
	p.exit(0)
	// One that cannot be one is a setting that is wrong.
	bad := startGateway(t, setup{name: gateway}, srv, "HTTP_PROXY=ftp://user:very-secret-password@"+proxy.Addr())
	bad.exit(2)
	if log := bad.stderr.String(); strings.Contains(log, "very-secret-password") || !strings.Contains(log, "environment HTTP_PROXY: error: not an address") {
		t.Errorf("log:\n%s", log)
	}
	if log := p.stderr.String(); strings.Contains(log, "password@") || strings.Contains(log, "very-secret-password") {
		t.Errorf("log:\n%s", log)
	}
}
