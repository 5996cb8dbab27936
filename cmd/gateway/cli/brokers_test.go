// This file tests the registry of brokers, and what is shown of them.

package cli

import (
	"bytes"
	"context"
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
	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/commands"
)

// memory is a sink that keeps the names of events.
type memory struct {
	mu     sync.Mutex
	opened int
	events []string
}

func (m *memory) Open(context.Context) error { m.opened++; return nil }
func (m *memory) Close() error               { return nil }

func (m *memory) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ev := range batch {
		m.events = append(m.events, string(ev.Type))
	}
	acked(len(batch))
	return nil
}

func (m *memory) has(event string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.events, event)
}

// TestAddBroker: a broker is one value, and one line in the list. With that it is checked, run, and
// gives commands.
func TestAddBroker(t *testing.T) {
	t.Chdir(t.TempDir())
	srv, err := sim.New(sim.Options{TLS: true, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, srv.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	protocol, host, _ := strings.Cut(strings.TrimSuffix(srv.APIURL(), "/api/v10"), "://")
	cfg := loadConfig(t, "DISCORD_TOKEN=sim-token", "DISCORD_API_PROTOCOL="+protocol, "DISCORD_API_HOST="+host, "DISCORD_API_CA_FILE="+ca, "SHARD_STORE_TYPE=memory")
	cfg.Broker.Type = "memory" // which package config does not know

	m := new(memory)
	sent := make(chan struct{})
	all := append(Brokers(), Broker{
		Name: "memory", Title: "this process",
		sink: func(*config.Config, *membership, *slog.Logger) (sinks.Opener, error) { return m, nil },
		commands: func(ctx context.Context, _ *config.Config, _ *membership, _ sinks.Opener, e *engine.Engine, _ *commands.Counts, _ *slog.Logger) {
			if err := e.Send(ctx, sinks.Command{Packet: []byte(`{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`), Sent: func() { close(sent) }}); err != nil {
				t.Error(err)
			}
		},
		format: func(*config.Config) string { return "names" },
	})

	var stdout, stderr bytes.Buffer
	if code := check(t.Context(), cfg, all, true, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "; broker memory (names)\n") || m.opened != 0 {
		t.Errorf("check: exit code %d\n%s%s", code, &stdout, &stderr)
	}
	if err := tryStart(t.Context(), cfg, all, nil); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	started := make(chan struct{})
	log := slog.New(slog.DiscardHandler)
	r := newReloader(config.Sources{}, cfg, new(slog.LevelVar), log)
	go func() { ended <- run(ctx, cfg, all, log, r, nil, func() { close(started) }) }()
	for !m.has("READY") {
		select {
		case err := <-ended:
			t.Fatalf("run: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	<-started
	<-sent
	stop()
	if err := <-ended; err != nil || m.opened != 1 {
		t.Errorf("run: %v, opened %d times", err, m.opened)
	}
}

// TestBrokerNames: broker.type takes the names of the list.
func TestBrokerNames(t *testing.T) {
	wrong := func(name string) bool {
		_, problems := config.Load(config.Sources{Environ: []string{"DISCORD_TOKEN=x.y.z", "BROKER_TYPE=" + name}})
		return slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Key == "broker.type" && p.Severity == config.Error })
	}
	for _, b := range Brokers() {
		if wrong(b.Name) {
			t.Errorf("%s is no broker", b.Name)
		}
	}
	for _, b := range Brokers() {
		if b.server == nil {
			continue
		}
		// Its address is required, and the password in it is masked.
		_, problems := config.Load(config.Sources{Environ: []string{"DISCORD_TOKEN=x.y.z", "BROKER_TYPE=" + b.Name}})
		if !slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Key == b.server.setting && p.Severity == config.Error }) {
			t.Errorf("%s: without %s: %v", b.Name, b.server.setting, problems)
		}
		i := slices.IndexFunc(config.Settings(), func(s config.Setting) bool { return s.Key == b.server.setting })
		cfg := loadConfig(t, "DISCORD_TOKEN=x.y.z", "BROKER_TYPE="+b.Name, config.Settings()[i].Env+"="+b.server.scheme+"://u:pw-of-broker@localhost")
		if text := cfg.Secrets().Redact("pw-of-broker"); strings.Contains(text, "pw-of-broker") {
			t.Errorf("%s: the password is not masked", b.Name)
		}
	}
	if !wrong("pigeon") {
		t.Error("pigeon is a broker")
	}
}

// TestSinksConnectInOpen: a sink that was only made connects to nothing, and Open does.
func TestSinksConnectInOpen(t *testing.T) {
	for _, b := range Brokers() {
		if b.server == nil {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			i := slices.IndexFunc(config.Settings(), func(s config.Setting) bool { return s.Key == b.server.setting })
			cfg := loadConfig(t, "DISCORD_TOKEN=x.y.z", "BROKER_TYPE="+b.Name, config.Settings()[i].Env+"="+b.server.scheme+"://"+l.Addr().String())
			sink, err := b.sink(cfg, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer sink.Close()
			mine, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer mine.Close()
			first, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			if first.RemoteAddr().String() != mine.LocalAddr().String() {
				t.Error("it has connected")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				if conn, err := l.Accept(); err == nil {
					defer conn.Close()
					cancel() // Open waits for an answer
					<-t.Context().Done()
				}
			}()
			if err := sink.Open(ctx); err == nil || t.Context().Err() != nil || ctx.Err() == nil {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// No command shows the password of a broker, whatever is wrong with its address.
func TestBrokerPasswordsAreNotShown(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, broker := range []struct{ kind, variable, scheme string }{{"amqp", "AMQP_URL", "amqp"}, {"redis", "REDIS_URL", "redis"}} {
		for _, rest := range []string{
			"://u:pw-secret@[::1", "://u:pw-secret%zz@127.0.0.1:1", "://u:pw-secret@127.0.0.1:99999", "://u:pw/secret@127.0.0.1:1", "://u:pw-secret@127.0.0.1:1/%zz",
			"://u:pw-secret@127.0.0.1:1/xx", "s://u:pw-secret@127.0.0.1:1", "://:pw-secret@127.0.0.1:1", "://u:pw-secret@127.0.0.1:1?master_set=x&password=pw-secret", "x://u:pw-secret@127.0.0.1:1",
		} {
			environ := []string{"DISCORD_TOKEN=a.token.secret", "BROKER_TYPE=" + broker.kind, "BROKER_REQUIRED=true", broker.variable + "=" + broker.scheme + rest}
			for _, command := range []string{"check", "config", "run"} {
				got := runCommand(environ, command)
				if strings.Contains(got.stdout+got.stderr, "secret") {
					t.Errorf("%s%s: %s prints\n%s%s", broker.scheme, rest, command, got.stdout, got.stderr)
				}
				if command == "run" && got.code == exitOK {
					t.Errorf("%s%s: runs", broker.scheme, rest)
				}
			}
		}
	}
}
