//go:build unix

// This file tests what `gateway check` says of brokers, with -online and without.

package cli

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// greeter is a server that sends the same to everybody, and hangs up.
func greeter(t *testing.T, greeting string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 512))
				c.Write([]byte(greeting))
			}()
		}
	}()
	return l.Addr().String()
}

// TestCheckBrokers: each peer has one line, ok or what is wrong and what would be right; a start
// says the same of what waiting does not mend.
func TestCheckBrokers(t *testing.T) {
	t.Cleanup(func() { awaitClients(t) })
	t.Chdir(t.TempDir())
	redis := redistest.Start(t, "--requirepass", "right-one").Addr
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	http := strings.TrimPrefix(web.URL, "http://")
	tlsWeb := httptest.NewUnstartedServer(web.Config.Handler)
	tlsWeb.Config.ErrorLog = discardLog()
	tlsWeb.StartTLS()
	t.Cleanup(tlsWeb.Close)
	https := strings.TrimPrefix(tlsWeb.URL, "https://")
	rabbit := greeter(t, "AMQP\x00\x00\x09\x01")
	for _, tt := range []struct {
		name, url string
		code      int
		want      string // the line
	}{
		{"right", "redis://:right-one@" + redis, exitOK, "redis: ok: redis://:***@" + redis + " answers (broker)"},
		{"a trailing slash", "redis://:right-one@" + redis + "/", exitOK, "redis: ok: redis://:***@" + redis + "/ answers (broker)"},
		{"no password", redis, exitUsage, "error: redis.urls: NOAUTH "},
		{"a wrong password", "redis://:wrong-one@" + redis, exitUsage, "error: redis.urls: WRONGPASS "},
		{"no such database", "redis://:right-one@" + redis + "/99", exitUsage, "error: redis.urls: DB index is out of range: "},
		{"no TLS", "rediss://" + redis, exitUsage, "error: redis.urls: " + redis + ": the server does not speak TLS on this port: use redis:// instead of rediss://"},
		{"TLS", "redis://" + https, exitUsage, "error: redis.urls: " + https + ": the server speaks TLS on this port: use rediss:// instead of redis://"},
		{"HTTP", "redis://" + http, exitUsage, "error: redis.urls: " + http + ": an HTTP server answers there, not Redis: "},
		{"HTTP and TLS", "rediss://" + http, exitUsage, "error: redis.urls: " + http + ": an HTTP server answers there, not Redis: "},
		{"RabbitMQ", "redis://" + rabbit, exitUsage, "error: redis.urls: " + rabbit + ": RabbitMQ answers there, not Redis: "},
		{"nobody", "redis://127.0.0.1:1", exitFailure, "error: redis: 127.0.0.1:1: connection refused"},
		{"no Sentinel", "redis://:right-one@" + redis + "?master_set=x", exitUsage, "error: redis.urls: "},
		{"Redis", "amqp://" + redis, exitUsage, "error: amqp.url: " + redis + ": Redis answers there, not RabbitMQ: "},
		{"HTTP", "amqp://" + http, exitUsage, "error: amqp.url: " + http + ": an HTTP server answers there, not RabbitMQ: "},
		{"TLS", "amqp://" + https, exitUsage, "error: amqp.url: " + https + ": the server speaks TLS on this port: use amqps:// instead of amqp://"},
		{"no TLS", "amqps://" + rabbit, exitUsage, "error: amqp.url: " + rabbit + ": the server does not speak TLS on this port: use amqp:// instead of amqps://"},
		{"nobody", "amqp://127.0.0.1:1", exitFailure, "error: amqp: amqp://127.0.0.1:1: 127.0.0.1:1: connection refused"},
	} {
		t.Run(tt.name+" "+tt.url[:4], func(t *testing.T) {
			t.Parallel() // some wait for an answer
			environ := []string{"DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS", "DISCORD_GATEWAY_URL=ws://127.0.0.1:1", "DISCORD_SHARD_COUNT=1", "BROKER_REQUIRED=true", "SHARD_STORE_TYPE=memory"}
			if strings.HasPrefix(tt.url, "amqp") {
				environ = append(environ, "BROKER_TYPE=amqp", "AMQP_URL="+tt.url)
			} else {
				environ = append(environ, "BROKER_TYPE=redis", "REDIS_URL="+tt.url)
			}
			o := runCommand(environ, "check", "-online")
			if lines := o.stdout + o.stderr; o.code != tt.code || !strings.Contains("\n"+lines, "\n"+tt.want) || strings.Contains(lines, "-one") {
				t.Errorf("exit code %d\n%s\nwant %d\n%s", o.code, lines, tt.code, tt.want)
			}
			if ok := strings.Contains(o.stdout, "\nok: "); ok != (tt.code == exitOK) {
				t.Errorf("ok: %t, exit code %d", ok, o.code)
			}
			if tt.code != exitOK && strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("more than a line:\n%s", o.stderr)
			}
			o = runCommand(environ, "check")
			if o.code != exitOK || !strings.Contains(o.stdout, "\nnot contacted: ") || !strings.Contains(o.stdout, "(broker); -online does\n") {
				t.Errorf("without -online: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
			}
			if tt.code != exitOK {
				if o = runCommand(environ, "run"); o.code != tt.code {
					t.Errorf("a start ends with %d, want %d\n%s", o.code, tt.code, o.stderr)
				}
			}
		})
	}
}

// TestCheckAsksAll: a peer that fails does not keep the others from being asked, and the store is
// asked where the broker is another.
func TestCheckAsksAll(t *testing.T) {
	defer awaitClients(t)
	t.Chdir(t.TempDir())
	redis := redistest.Start(t).Addr
	o := runCommand([]string{
		"DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS", "DISCORD_API_PROTOCOL=http", "DISCORD_API_HOST=127.0.0.1:1",
		"BROKER_TYPE=amqp", "AMQP_URL=amqp://127.0.0.1:1", "SHARD_STORE_TYPE=redis", "REDIS_URL=" + redis,
	}, "check", "-online")
	if o.code != exitFailure || o.stdout != "redis: ok: "+redis+" answers (store)\n" || strings.Count(o.stderr, "error: ") != 2 {
		t.Errorf("%+v", o)
	}
}

// TestCheckPaths: what a start could not write to is found, and nothing is left.
func TestCheckPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const broker = "BROKER_TYPE=amqp\nAMQP_URL=amqp://127.0.0.1:1\n"
	for _, tt := range []struct {
		environ string
		code    int
		want    string // a line
	}{
		{"", exitOK, ""},
		{"SHARD_STORE_DIRECTORY=a/b/c", exitOK, ""},
		{"SHARD_STORE_DIRECTORY=file", exitUsage, "error: shard_store.directory: file is a file, not a directory\n"},
		{"SHARD_STORE_DIRECTORY=file/a", exitUsage, "error: shard_store.directory: file is a file, not a directory\n"},
		{"SHARD_STORE_TYPE=memory\nSHARD_STORE_DIRECTORY=file", exitOK, ""},
		{broker + "SPOOL_DIRECTORY=a/b", exitOK, ""},
		{broker + "SPOOL_DIRECTORY=file/a", exitUsage, "error: spool.directory: file is a file, not a directory\n"},
		{broker + "BROKER_DEAD_LETTERS=file", exitOK, ""},
		{broker + "BROKER_DEAD_LETTERS=a/b", exitUsage, "error: broker.dead_letters: a/b cannot be made: there is no directory a\n"},
		{broker + "BROKER_DEAD_LETTERS=.", exitUsage, "error: broker.dead_letters: nothing can be written to .: is a directory\n"},
		{broker + "BROKER_GROUP=amq.mine", exitUsage, "error: amqp.url: the exchange can't be \"amq.mine\""},
		{"DEBUG_ADDRESS=" + taken.Addr().String(), exitOK, "warning: debug.address: cannot listen on " + taken.Addr().String() + ": address already in use\n"},
		{"DEBUG_ADDRESS=192.0.2.1:1234", exitUsage, "error: debug.address: cannot listen on 192.0.2.1:1234: "},
	} {
		o := runCommand(append(strings.Split(tt.environ, "\n"), "DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS"), "check")
		if o.code != tt.code || !strings.HasPrefix(o.stderr, tt.want) || (tt.want == "") != (strings.Count(o.stderr, ": error: ")+strings.Count("\n"+o.stderr, "\nerror: ") == 0 && !strings.Contains(o.stderr, "warning: debug")) {
			t.Errorf("%q: exit code %d\n%swant %d\n%s", tt.environ, o.code, o.stderr, tt.code, tt.want)
		}
		if left, err := os.ReadDir("."); err != nil || len(left) != 1 {
			t.Fatalf("%q: %v are left, %v", tt.environ, left, err)
		}
	}
}

// TestDirectoriesInUse: a directory that a process uses is no mistake to check, for it may be the
// process that is to be restarted, but is said. A start ends with the same exit code for one that is
// in use as for one that cannot be written to.
func TestDirectoriesInUse(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := func(store, spool string) []string {
		return []string{"DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS", "DISCORD_GATEWAY_URL=ws://127.0.0.1:1", "DISCORD_SHARD_COUNT=1",
			"SHARD_STORE_DIRECTORY=" + store, "SPOOL_DIRECTORY=" + spool, "BROKER_TYPE=amqp", "AMQP_URL=amqp://127.0.0.1:1"}
	}
	cfg := loadConfig(t, environ("state", "spool")...)
	log := slog.New(slog.DiscardHandler)
	store, err := openStore(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	sink, err := withSpool(t.Context(), cfg, discardSink{}, new(atomic.Pointer[engine.Engine]), log)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	o := runCommand(environ("state", "spool"), "check")
	if o.code != exitOK || !strings.Contains(o.stderr, "warning: shard_store.directory: state is in use by process ") || !strings.Contains(o.stderr, "warning: spool.directory: spool is in use by another process") {
		t.Errorf("check: %+v", o)
	}
	for _, tt := range []struct {
		store, spool, want string
	}{
		{"state", "other", "shard_store.directory: the directory state is in use by process "},
		{"file", "other", "shard_store.directory: mkdir file: not a directory"},
		{"file/a", "other", "shard_store.directory: mkdir file: not a directory"},
		{"other", "spool", "spool.directory: the directory spool is in use by another process"},
		{"other", "file", "spool.directory: mkdir file: not a directory"},
	} {
		o := runCommand(environ(tt.store, tt.spool), "run")
		if o.code != exitUsage || !strings.Contains(o.stderr, tt.want) || strings.Contains(o.stderr, "unavailable; buffering events") {
			t.Errorf("%s, %s: exit code %d\n%s", tt.store, tt.spool, o.code, o.stderr)
		}
	}
}

// TestFailedStartSaysNothingOfBroker: a broker that answers is not said to be away because a start
// fails for another reason.
func TestFailedStartSaysNothingOfBroker(t *testing.T) {
	defer awaitClients(t)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	redis := redistest.Start(t).Addr
	for range 20 {
		o := runCommand([]string{"DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS", "DISCORD_GATEWAY_URL=ws://127.0.0.1:1", "DISCORD_SHARD_COUNT=1",
			"SHARD_STORE_TYPE=memory", "SPOOL_DIRECTORY=file/a", "BROKER_TYPE=redis", "REDIS_URL=" + redis}, "run")
		if o.code != exitUsage || !strings.Contains(o.stderr, "spool.directory: ") || strings.Contains(o.stderr, "unavailable; buffering events") || strings.Contains(o.stderr, "unavailable") {
			t.Fatalf("exit code %d\n%s", o.code, o.stderr)
		}
	}
}

// discardSink takes nothing.
type discardSink struct{ sinks.Sink }

func (discardSink) Close() error { return nil }

// TestMemoryInstead: only where nobody asks for a file is a directory that cannot be written to no
// mistake.
func TestMemoryInstead(t *testing.T) {
	if memoryInstead(loadConfig(t, "DISCORD_TOKEN=x.y.z", "SHARD_STORE_DIRECTORY=state"), os.ErrPermission) ||
		memoryInstead(loadConfig(t, "DISCORD_TOKEN=x.y.z"), errors.New("disk full")) || !memoryInstead(loadConfig(t, "DISCORD_TOKEN=x.y.z"), os.ErrPermission) {
		t.Error("wrong")
	}
}
