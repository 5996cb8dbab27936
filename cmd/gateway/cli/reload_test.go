// This file tests that what the settings say changes while the gateway runs.

package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/status"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/sinktest"
	"sluice/wire"
)

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// reloading is a reloader with the file that it reads.
type reloading struct {
	*reloader
	t    *testing.T
	file string
	out  *lockedLog
}

func newReloading(t *testing.T, environ []string, file string) *reloading {
	t.Helper()
	g := &reloading{t: t, file: filepath.Join(t.TempDir(), "gateway.toml"), out: new(lockedLog)}
	g.write(file)
	sources := config.Sources{File: g.file, Environ: append(environ, "DISCORD_TOKEN=sim-token", "DISCORD_API_HOST=127.0.0.1:1", "SHARD_STORE_DIRECTORY="+t.TempDir())}
	cfg, problems := config.Load(sources)
	if problems.Failed() {
		t.Fatal(problems)
	}
	var level slog.LevelVar
	level.Set(cfg.Log.Level)
	g.reloader = newReloader(sources, cfg, &level, newLeveledLogger(config.LogText, &level, cfg.KnownSecrets, g.out))
	return g
}

func (g *reloading) write(file string) {
	g.t.Helper()
	if err := os.WriteFile(g.file, []byte(file), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// reload has the file read again with another content.
func (g *reloading) reload(file string) []string {
	g.t.Helper()
	g.write(file)
	lines, err := g.Reload(g.t.Context())
	if err != nil {
		g.t.Fatalf("%v: %s", err, lines)
	}
	return lines
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no " + what)
		}
	}
}

// reloadable are the settings that a reload puts into force, each with the test that it does.
var reloadable = map[string]func(t *testing.T){
	"events": func(t *testing.T) {
		g := runReloading(t, `events = ["READY"]`)
		g.reload(`events = ["TYPING_START"]`)
		until(t, "event of another name", func() bool { g.srv.Burst(0, 1); return g.sink.has("TYPING_START") })
	},
	"presence": func(t *testing.T) {
		g := runReloading(t, "")
		g.reload("[presence]\nstatus = \"dnd\"")
		until(t, "presence", func() bool {
			return slices.ContainsFunc(g.srv.Ledger().Commands(), func(c sim.Command) bool {
				return c.Op == wire.OpPresenceUpdate && strings.Contains(string(c.Raw), `"dnd"`)
			})
		})
	},
	"log.level": func(t *testing.T) {
		g := newReloading(t, nil, "")
		g.log.Debug("before")
		g.reload("[log]\nlevel = \"debug\"")
		if g.log.Debug("after"); strings.Contains(g.out.String(), "before") || !strings.Contains(g.out.String(), "after") {
			t.Errorf("logged %s", g.out)
		}
	},
	"broker.message_timeout": func(t *testing.T) {
		g := newReloading(t, []string{"BROKER_TYPE=amqp", "AMQP_URL=amqp://127.0.0.1:1"}, "")
		o, err := amqpOptions(g.cfg, g.log)
		if err != nil {
			t.Fatal(err)
		}
		g.reload("[broker]\nmessage_timeout = \"7s\"")
		if got := o.ExpirationNow(); got != 7*time.Second {
			t.Errorf("%v", got)
		}
	},
	"broker.dead_letters": func(t *testing.T) {
		dir := t.TempDir()
		g := newReloading(t, []string{"BROKER_TYPE=redis", "REDIS_URL=127.0.0.1:1"}, "[broker]\ndead_letters = \"none\"")
		put := deadLetters(g.cfg, g.log)
		for _, name := range []string{"a.jsonl", "b.jsonl"} {
			path := filepath.Join(dir, name)
			put(&sinks.Event{Type: []byte("BEFORE")}, errors.New("refused"))
			g.reload("[broker]\ndead_letters = '" + path + "'")
			put(&sinks.Event{Type: []byte("AFTER")}, errors.New("refused"))
			if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), `"AFTER"`) {
				t.Errorf("%s: %s, %v", name, text, err)
			}
		}
	},
	"broker.dead_letters_size": func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "letters.jsonl")
		file := "[broker]\ndead_letters = '" + path + "'\n"
		g := newReloading(t, []string{"BROKER_TYPE=redis", "REDIS_URL=127.0.0.1:1"}, file)
		put := deadLetters(g.cfg, g.log)
		large := &sinks.Event{Type: []byte("A"), Data: []byte(`"` + strings.Repeat("x", 600<<10) + `"`)}
		put(large, errors.New("refused"))
		put(large, errors.New("refused"))
		if _, err := os.Stat(path + ".1"); err == nil {
			t.Fatal("64MiB are full")
		}
		g.reload(file + "dead_letters_size = \"1MiB\"")
		put(large, errors.New("refused"))
		if _, err := os.Stat(path + ".1"); err != nil {
			t.Error(err)
		}
	},
	"api.ca_file": func(t *testing.T) {
		g := runReloading(t, "")
		another := sinktest.NewCertificates(t).Authority
		g.reload("[api]\nca_file = '" + another + "'")
		if err := g.Reconnect(t.Context(), 0, "resume"); err != nil {
			t.Fatal(err)
		}
		until(t, "refusal", func() bool { return strings.Contains(g.out.String(), "certificate signed by unknown authority") })
		g.reload("[api]\nca_file = '" + g.ca + "'")
		until(t, "RESUMED", func() bool { return g.sink.has("RESUMED") })
		if n := g.srv.Ledger().Summary().Identifies; n != 1 {
			t.Errorf("%d Identifies", n)
		}
	},
	"http.token": func(t *testing.T) {
		testReloadedToken(t, func(token string) string { return "token = '" + token + "'" })
	},
	"http.token_file": func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token") // whose content changes
		testReloadedToken(t, func(token string) string {
			if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return "token_file = '" + path + "'"
		})
	},
	"redis.ca_file":   func(t *testing.T) { testReloadedFiles(t, config.BrokerRedis) },
	"redis.cert_file": func(t *testing.T) { testReloadedFiles(t, config.BrokerRedis) },
	"redis.key_file":  func(t *testing.T) { testReloadedFiles(t, config.BrokerRedis) },
	"amqp.ca_file":    func(t *testing.T) { testReloadedFiles(t, config.BrokerAMQP) },
	"amqp.cert_file":  func(t *testing.T) { testReloadedFiles(t, config.BrokerAMQP) },
	"amqp.key_file":   func(t *testing.T) { testReloadedFiles(t, config.BrokerAMQP) },
}

// Each setting that the table calls reloadable is put into force by a reload, and no other.
func TestReloadable(t *testing.T) {
	for _, s := range config.Settings() {
		test, ok := reloadable[s.Key]
		if ok != s.Reload {
			t.Errorf("%s: Reload is %v, and a test of it is there: %v", s.Key, s.Reload, ok)
		} else if ok {
			t.Run(s.Key, test)
		}
	}
}

// runs is a gateway that runs against a simulated Discord with a broker in memory.
type runs struct {
	*reloading
	srv  *sim.Server
	sink *memory
	ca   string
}

func runReloading(t *testing.T, file string) *runs {
	t.Helper()
	srv, err := sim.New(sim.Options{TLS: true, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	ca := filepath.Join(t.TempDir(), "sim.pem")
	if err := os.WriteFile(ca, srv.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	protocol, host, _ := strings.Cut(strings.TrimSuffix(srv.APIURL(), "/api/v10"), "://")
	g := &runs{srv: srv, sink: new(memory), ca: ca}
	g.reloading = newReloading(t, nil, file+"\n[api]\nca_file = '"+ca+"'")
	// The others of those that lead there, which no test changes.
	g.sources.Environ = []string{"DISCORD_TOKEN=sim-token", "DISCORD_API_PROTOCOL=" + protocol, "DISCORD_API_HOST=" + host, "SHARD_STORE_TYPE=memory", "SHARD_STORE_DIRECTORY=" + t.TempDir()}
	cfg, problems := config.Load(g.sources)
	if problems.Failed() {
		t.Fatal(problems)
	}
	g.reloader = newReloader(g.sources, cfg, g.level, g.log)
	cfg.Broker.Type = "memory" // which package config does not know
	all := registry{{
		Name: "memory", Title: "this process",
		sink: func(*config.Config, *membership, *slog.Logger) (sinks.Opener, error) { return g.sink, nil },
		commands: func(context.Context, *config.Config, *membership, sinks.Opener, *engine.Engine, *commands.Counts, *slog.Logger) {
		},
		format: func(*config.Config) string { return "names" },
	}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, cfg, all, g.log, g.reloader, nil, func() {}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", g.out)
		}
	})
	until(t, "READY", func() bool { return g.sink.has("READY") })
	return g
}

// noEngine runs no shard.
type noEngine struct{}

func (noEngine) Status() (none engine.Status)                               { return none }
func (noEngine) AppendShards(dst []engine.ShardStatus) []engine.ShardStatus { return dst }

// testReloadedToken: the token in force is that of the last reading, and neither is logged or served.
func testReloadedToken(t *testing.T, setting func(token string) string) {
	const first, second = "first-0123456789abcdef", "second-0123456789abcdef"
	http := fmt.Sprintf("[http]\naddress = '127.0.0.1:%d'\n", sinktest.FreePort(t))
	file := func(token string) string { return http + setting(token) }
	g := newReloading(t, nil, file(first))
	cfg := g.cfg
	src := &status.Source{Engine: noEngine{}, Config: cfg, Address: "refused " + first + " and " + second}
	served, err := serveAdmin(cfg, admin.Options{Actions: g.reloader, Status: src.Status}, g.log)
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	ask := func(token string) (*admin.Client, error) {
		c, err := admin.NewClient(admin.ClientOptions{Address: served.Addr("http.address").String(), Token: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c, c.SetLogLevel(t.Context(), "info")
	}
	if _, err := ask(second); err == nil {
		t.Error("a token that is not set yet is let in")
	}
	c, err := ask(first)
	if err != nil {
		t.Fatal(err)
	}
	g.write(file(second))
	if lines, err := c.Reload(t.Context()); err != nil || !slices.Equal(lines, []string{"http.token: changed"}) {
		t.Errorf("Reload = %q, %v", lines, err)
	}
	if _, err := ask(first); err == nil {
		t.Error("the token that was changed is let in")
	}
	if c, err = ask(second); err != nil {
		t.Error(err)
	}
	g.log.Info("quoted", "by", first+", "+second)
	document, err := json.Marshal(src.Status())
	if err != nil {
		t.Fatal(err)
	}
	if all := g.out.String() + string(document); strings.Contains(all, "0123456789abcdef") || strings.Count(all, "***, ***") != 1 || strings.Count(all, "refused *** and ***") != 1 {
		t.Errorf("logged and served are %s", all)
	}
	g.reload(http)
	if err := c.SetLogLevel(t.Context(), "info"); err == nil {
		t.Error("without a token an action is taken")
	}
}

// testReloadedFiles: a server of TLS gets certificates of another authority, and wants one of a client,
// of that authority. The connections of the settings are made with those in force.
func testReloadedFiles(t *testing.T, broker string) {
	first, second := sinktest.NewCertificates(t), sinktest.NewCertificates(t)
	server := func(c sinktest.Certificates) string {
		pair, err := tls.LoadX509KeyPair(c.Server, c.ServerKey)
		pem, more := os.ReadFile(c.Authority)
		if err != nil || more != nil {
			t.Fatal(err, more)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				io.WriteString(conn, "hello") // after the handshake
				conn.Close()
			}
		}()
		return l.Addr().String()
	}
	settings := func(c sinktest.Certificates) string {
		return "[" + broker + "]\nca_file = '" + c.Authority + "'\ncert_file = '" + c.Client + "'\nkey_file = '" + c.ClientKey + "'"
	}
	g := newReloading(t, []string{"BROKER_TYPE=" + broker, "REDIS_URL=rediss://127.0.0.1:1", "AMQP_URL=amqps://127.0.0.1:1"}, settings(first))
	var dial func(address string) (net.Conn, error)
	if broker == config.BrokerRedis {
		o, err := redisClient(g.cfg)
		if err != nil {
			t.Fatal(err)
		}
		dial = func(address string) (net.Conn, error) {
			return o.DialCtxFn(t.Context(), address, &o.Dialer, o.TLSConfig)
		}
	} else {
		o, err := amqpOptions(g.cfg, g.log)
		if err != nil {
			t.Fatal(err)
		}
		dial = func(address string) (net.Conn, error) {
			secure := o.RenewTLS(o.TLS.Clone())
			secure.ServerName = "127.0.0.1"
			return tls.Dial("tcp", address, secure)
		}
	}
	greeted := func(address string) bool {
		conn, err := dial(address)
		if err != nil {
			return false
		}
		defer conn.Close()
		text, _ := io.ReadAll(conn)
		return string(text) == "hello"
	}
	of1, of2 := server(first), server(second)
	if !greeted(of1) || greeted(of2) {
		t.Fatal("the connection is not that of the settings")
	}
	if lines := g.reload(settings(second)); len(lines) != 5 { // three paths, and two contents
		t.Errorf("said %q", lines)
	}
	if greeted(of1) || !greeted(of2) {
		t.Error("the connection is not that of the new settings")
	}
	// The same paths with another content, as those who renew certificates have it.
	for _, pair := range [][2]string{{first.Authority, second.Authority}, {first.Client, second.Client}, {first.ClientKey, second.ClientKey}} {
		text, err := os.ReadFile(pair[0])
		if err == nil {
			err = os.WriteFile(pair[1], text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if greeted(of1) {
		t.Error("files are read without a reload")
	}
	if lines := g.reload(settings(second)); len(lines) != 2 || !greeted(of1) || greeted(of2) {
		t.Errorf("said %q, and the connection is not that of the new content", lines)
	}
	// A file that is broken changes nothing.
	if err := os.WriteFile(second.Authority, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, err := g.Reload(t.Context()); err == nil || !strings.Contains(strings.Join(lines, "\n"), broker+".ca_file") || !greeted(of1) {
		t.Errorf("Reload = %q, %v", lines, err)
	}
}

// Settings with mistakes change nothing, and all of the mistakes are reported; what needs a restart is
// named, without its secrets.
func TestReloadChangesNothing(t *testing.T) {
	file := "[log]\nlevel = \"warn\"\n[redis]\nurls = [\"redis://:a-password@127.0.0.1:1\"]\n"
	g := newReloading(t, []string{"BROKER_TYPE=redis"}, file)
	for _, tt := range []struct {
		file string
		says []string
	}{
		{"[log]\nlevel = \"debug\"\n[redis", []string{"not TOML", "redis.urls"}},
		{"events = [\"no name\"]\nlarge_threshold = 1\n[log]\nlevel = \"debug\"\n[redis]\nurls = [\"127.0.0.1:1\"]", []string{"events", "large_threshold"}},
		{strings.Replace(file, "warn", "debug", 1) + "ca_file = '/nowhere'", []string{"redis.ca_file"}},
		{"[log]\nlevel = \"debug\"", []string{"redis.urls"}},
	} {
		g.write(tt.file)
		lines, err := g.Reload(t.Context())
		if err == nil || len(lines) != len(tt.says) {
			t.Errorf("%s: Reload = %q, %v", tt.file, lines, err)
			continue
		}
		for i, says := range tt.says {
			if !strings.Contains(lines[i], says) || !strings.Contains(g.out.String(), says) {
				t.Errorf("said %q, want %s; logged %s", lines, says, g.out)
			}
		}
		if now := g.cfg.Current(); now != g.cfg || g.level.Level() != slog.LevelWarn {
			t.Errorf("%s: settings have changed, the level is %v", tt.file, g.level.Level())
		}
	}
	lines := g.reload(strings.Replace(strings.Replace(file, "a-password", "another-password", 1), "warn", "info", 1) + "[shards]\ncount = 7")
	if want := []string{`log.level: "info", was "warn"`, "shards.count: changed, and needs a restart", "redis.urls: changed, and needs a restart"}; !slices.Equal(lines, want) {
		t.Errorf("said %q", lines)
	}
	now := g.cfg.Current()
	if now.Shards.Count != 0 || now.Redis.URLs[0].Reveal() != "redis://:a-password@127.0.0.1:1" || g.cfg.Log.Level != slog.LevelWarn || now.Log.Level != slog.LevelInfo {
		t.Errorf("in force are %s", now.Format())
	}
	if strings.Contains(g.out.String(), "password") {
		t.Errorf("a password is logged:\n%s", g.out)
	}
	if lines := g.reload(file); !slices.Equal(lines, []string{`log.level: "warn", was "info"`}) {
		t.Errorf("said %q", lines)
	}
	os.Remove(g.file)
	if lines, err := g.Reload(t.Context()); err == nil || !strings.Contains(lines[0], "there is no such file") {
		t.Errorf("Reload = %q, %v", lines, err)
	}
}

// The level that an operator has set holds until the next reload.
func TestSetLogLevel(t *testing.T) {
	g := newReloading(t, nil, "")
	if err := g.SetLogLevel("loud"); err == nil || !strings.Contains(err.Error(), "suppress") {
		t.Errorf("%v", err)
	}
	if err := g.SetLogLevel("debug"); err != nil || g.level.Level() != slog.LevelDebug || !strings.Contains(g.cfg.Current().Format(), `"debug"`) {
		t.Errorf("%v, level %v", err, g.level.Level())
	}
	if lines := g.reload(""); !slices.Equal(lines, []string{`log.level: "info", was "debug"`}) || g.level.Level() != slog.LevelInfo {
		t.Errorf("said %q, level %v", lines, g.level.Level())
	}
	if err := g.Reconnect(t.Context(), 0, "resume"); err == nil {
		t.Error("a shard of an engine that is not there reconnects")
	}
	if err := g.Reconnect(t.Context(), 0, "restart"); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Error(err)
	}
}
