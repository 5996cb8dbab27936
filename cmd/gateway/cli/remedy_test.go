// This file tests what is said about errors, and that settings are named here alone.

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/sinks/amqp"
	"sluice/sinks/redis"
	"sluice/sinks/spool"
	"sluice/wire"
)

// documented reports whether a line stands in the documentation, word for word.
func documented(t *testing.T, line string) bool {
	t.Helper()
	files, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "../../../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(strings.Split(unixText(text), "\n"), line) {
			return true
		}
	}
	return false
}

// TestFatalErrors: what Discord refuses for good has the exit code and the last line that the
// documentation says.
func TestFatalErrors(t *testing.T) {
	const content = wire.Intents(1 << 15)
	for _, tt := range []struct {
		err  engine.FatalError
		exit int
	}{
		{engine.FatalError{Shard: -1, Status: 403}, 3},
		{engine.FatalError{Shard: -1, Status: 401}, 4},
		{engine.FatalError{Code: 4004, Shards: 4, Intents: content}, 4},
		{engine.FatalError{Code: 4010, Shards: 4, Intents: content}, 10},
		{engine.FatalError{Code: 4011, Shards: 4, Intents: content}, 11},
		{engine.FatalError{Code: 4012, Shards: 4, Intents: content}, 12},
		{engine.FatalError{Code: 4013, Shards: 4, Intents: content}, 13},
		{engine.FatalError{Code: 4014, Shards: 4, Intents: content}, 14},
	} {
		if got := codeOf(&tt.err); got != tt.exit {
			t.Errorf("%v: exit code %d, want %d", &tt.err, got, tt.exit)
		}
		if line := fmt.Sprintf("| %d | `%s` |", tt.exit, explain(&tt.err)); !documented(t, line) {
			t.Errorf("not documented:\n%s", line)
		}
		if row := fmt.Sprintf("| %d | %s | stop | %d |", uint16(tt.err.Code), tt.err.Code, tt.exit); tt.err.Code != 0 && !documented(t, row) {
			t.Errorf("not documented:\n%s", row)
		}
	}
}

// TestExplain: an error has its remedy where it is the last line, and each of several its own.
func TestExplain(t *testing.T) {
	login := &amqp.ConfigError{Broker: "amqp://a@h", Problem: amqp.Login}
	refused := errors.New("connection refused")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{settingError{&redis.ConfigError{Problem: redis.Login, Err: errors.New("NOAUTH Authentication required.")}},
			"redis.urls: NOAUTH Authentication required.: user and password must be those of the server, as in redis://user:password@host:6379"},
		{&redis.ConfigError{Problem: redis.Untrusted, Err: errors.New("unknown authority")},
			"redis.ca_file: unknown authority: it must hold the certificate of who signed the server's, and redis.server_name be its name"},
		{&amqp.ConfigError{Broker: "amqp://h", Problem: amqp.NoVhost, User: "u", Vhost: "v"},
			"amqp: amqp://h: ; correct the path of the URL, or run rabbitmqctl add_vhost v and rabbitmqctl set_permissions -p v u '.*' '.*' '.*'"},
		{&amqp.ConfigError{Broker: "amqp://h", Problem: amqp.OtherArguments, Object: "queue", Name: "q"},
			"amqp: amqp://h: ; change the settings to what exists, choose another name, or delete the queue so that it is declared anew"},
		{&amqp.ConfigError{Broker: "amqp://h", Problem: amqp.NoDeclare, User: "u", Vhost: "v", Object: "queue", Name: "q"},
			"amqp: amqp://h: ; run rabbitmqctl set_permissions -p v u with patterns that match q"},
		{errors.Join(fmt.Errorf("amqp: %w", refused), login, login), "amqp: connection refused\n" + strings.Repeat("amqp: amqp://a@h: ; "+amqpRemedy(login)+"\n", 2)},
		{fmt.Errorf("engine: the address that the API names is refused: %w", &engine.HostError{Err: errors.New("host x")}),
			"the address that the API names is refused: host x: if it is right, name its host in gateway.hosts"},
		{fmt.Errorf("engine: connect to h: %w", engine.ErrSecureProxy),
			"connect to h: the proxy is an https one, which the epoll reader cannot use; set reader.type to goroutine"},
		{&wire.UntrustedError{Err: errors.New("unknown authority")}, "unknown authority; api.ca_file names certificates to trust besides the system's"},
		{refused, "connection refused"},
	} {
		if got := explain(tt.err); got != strings.TrimSuffix(tt.want, "\n") {
			t.Errorf("%q\nwant %q", got, tt.want)
		}
	}
}

// TestRemediesAreLogged: a line with an error has the attribute remedy, where one is known, and the
// error is without it.
func TestRemediesAreLogged(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("redis: %w", &redis.Error{Problem: redis.OutOfMemory, Err: errors.New("OOM")}),
			`error="redis: OOM" remedy="raise maxmemory, shorten redis.retention, or let something else leave: Redis is full"`},
		{&redis.ConfigError{Problem: redis.Database, Err: errors.New("no")},
			`error=no remedy="redis.urls: the database number, as in redis://host:6379/0, must be one that the server has; a cluster has only 0"`},
		{&redis.ReplyError{Reason: "begins with 'H'"},
			`error="redis: the server's reply begins with 'H'" remedy="what redis.urls leads to must be Redis, and nobody else write to the keys sluice:*"`},
		{&amqp.Error{Problem: amqp.NoWrite, Err: errors.New("closed")}, `error=closed remedy="grant the user write on the exchange, with rabbitmqctl set_permissions"`},
		{&amqp.ConfigError{Broker: "h", Problem: amqp.NoPlain}, `error="amqp: h: " remedy="add PLAIN to its auth_mechanisms, or log in as EXTERNAL with a client certificate"`},
		{&spool.DiskError{Err: errors.New("full")}, `error=full remedy="free space on the disk, raise spool.size, or start the broker"`},
		{errors.New("OOM"), "error=OOM"}, // of whom, nobody says
	} {
		var out bytes.Buffer
		newLogger(config.LogConfig{Format: config.LogText}, nil, &out).With("shard", 3).Warn("m", "error", tt.err)
		if !strings.HasSuffix(out.String(), " msg=m shard=3 "+tt.want+"\n") {
			t.Errorf("%s\nwant %s", &out, tt.want)
		}
	}
}

// TestRemedies: no problem is without a remedy.
func TestRemedies(t *testing.T) {
	for p := redis.Login; p <= redis.NoFleet; p++ {
		if redisRemedies[p].text == "" {
			t.Errorf("Redis: problem %d has no remedy", p)
		}
	}
	for p := amqp.Untrusted; p <= amqp.NoReplies; p++ {
		_, runtime := amqpRemedies[p]
		if config := amqpRemedy(&amqp.ConfigError{Problem: p}); !runtime && p != amqp.NoDeclare && config == amqpRemedy(&amqp.ConfigError{Problem: amqp.NoDeclare}) {
			t.Errorf("RabbitMQ: problem %d has no remedy", p)
		}
	}
}

// TestSettingsAreNamedHere: below cmd nothing names a setting, so that another program can have
// other settings.
func TestSettingsAreNamedHere(t *testing.T) {
	names := []string{`(DISCORD|AMQP|REDIS|BROKER)_[A-Z_]+`, `(amqp|redis|broker)\.[a-z_]+`}
	for _, s := range config.Settings() {
		if strings.ContainsAny(s.Key, "._") || s.Key == "rawintents" {
			names = append(names, regexp.QuoteMeta(s.Key))
		}
		if s.Env != "" {
			names = append(names, regexp.QuoteMeta(s.Env))
		}
	}
	setting := regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)\b`)
	allowed := map[string]bool{
		"large_threshold":   true, // of Identify
		"redis.call":        true, // in scripts of Redis
		"redis.pcall":       true,
		"redis.log":         true, // a file
		"broker.example":    true, // a host
		"redis.error_reply": true,
	}
	literals := 0
	for _, dir := range []string{"engine", "sinks", "resume", "wire", "pool"} {
		err := filepath.WalkDir(filepath.Join("../../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				literals++
				for _, name := range setting.FindAllString(lit.Value, -1) {
					if !allowed[name] {
						t.Errorf("%v: %s names the setting %s", set.Position(lit.Pos()), lit.Value, name)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if literals < 1000 {
		t.Errorf("only %d strings", literals)
	}
}
