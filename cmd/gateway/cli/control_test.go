// This file tests what is served of a gateway, and the commands to a running process.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/admin"
	"sluice/sinks/sinktest"
)

// answers are actions that answer with what they were asked for.
type answers struct{}

func (answers) Reconnect(_ context.Context, shard int, how string) error {
	if shard > 3 {
		return fmt.Errorf("shard %d is not run by this process, which has 0-3", shard)
	}
	return nil
}
func (answers) SetLogLevel(string) error { return nil }
func (answers) Reshard(_ context.Context, shards int, begin bool) ([]string, error) {
	return []string{"16 shards now, 32 to be"}, nil
}

func (answers) CallOff(context.Context) error { return errors.New("the bot is not being resharded") }

func (answers) Reload(context.Context) ([]string, error) {
	return []string{"log.level: info, now debug", "http.token: changed, which needs a restart\x1b[2J"}, nil
}

// The commands find the process by the state directory or by an address, say what was done, and in
// a line what was not and why.
func TestControl(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const secret = "very.secret.http.token"
	if err := os.WriteFile("token", []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("short", []byte("very.secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := sinktest.FreeAddress(t)
	cfg := loadConfig(t, "DISCORD_TOKEN=x.y.z", "HTTP_ADDRESS="+address, "HTTP_TOKEN="+secret)
	served, err := serveAdmin(cfg, admin.Options{Actions: answers{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		if c, err := net.Dial("unix", filepath.Join("state", admin.SocketName)); err == nil {
			c.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		args, environ  string
		code           int
		stdout, stderr string
	}{
		{"shard reconnect 3", "", exitOK, "shard 3: its connection is closed, and it connects again\n", ""},
		{"shard resume 0", "DISCORD_TOKEN=x.y.z", exitOK, "shard 0: its connection is closed, and it resumes its session\n", ""},
		{"shard identify 1", "", exitOK, "shard 1: its session is given up, and it identifies in its turn\n", ""},
		{"shard identify 7", "", exitFailure, "", "error: shard 7 is not run by this process, which has 0-3\n"},
		{"loglevel debug", "", exitOK, "log.level is debug until the process ends or reloads\n", ""},
		{"reshard 32", "", exitOK, "16 shards now, 32 to be\nnothing is changed; gateway reshard 32 -yes begins\n", ""},
		{"reshard -cancel", "", exitFailure, "", "the bot is not being resharded"},
		{"reload", "", exitOK, "log.level: info, now debug\nhttp.token: changed, which needs a restart\\u001b[2J\n", ""},
		{"reload -address " + address + " -token-file token", "SHARD_STORE_DIRECTORY=/elsewhere", exitOK, "log.level: ", ""},
		{"reload -address http://" + address, "HTTP_TOKEN=" + secret, exitOK, "log.level: ", ""},
		{"reload -address " + address, "", exitFailure, "", "error: " + address + " answers 401: http.token is needed"},
		{"reload -address " + address, "HTTP_TOKEN=wrong-token-of-somebody", exitFailure, "", "error: " + address + " answers 401: the token is not http.token\n"},
		{"reload -address " + address + " -token-file short", "", exitFailure, "", "error: -token-file: short: it has 11 characters"},
		{"reload -address " + address + " -token-file none", "", exitFailure, "", "error: -token-file: none: there is no such file\n"},
		{"reload -address http://user:very.secret@host", "", exitFailure, "", "error: -address: the address is not host:port"},
		{"reload -address 127.0.0.1:1", "HTTP_TOKEN=short", exitUsage, "", "http.token: it has 5 characters"},
		{"reload", "SHARD_STORE_DIRECTORY=elsewhere", exitFailure, "", filepath.Join(wd, "elsewhere") + "; -config names its settings"},
		{"reload", "SHARD_STORE_TYPE=fil", exitUsage, "", "shard_store.type"},
	} {
		var environ []string
		if tc.environ != "" {
			environ = []string{tc.environ}
		}
		o := runCommand(environ, strings.Fields(tc.args)...)
		noSecret(t, o)
		if o.code != tc.code || !strings.HasPrefix(o.stdout, tc.stdout) || !strings.Contains(o.stderr, tc.stderr) || (o.stderr == "") != (tc.stderr == "") || tc.stdout == "" && o.stdout != "" {
			t.Errorf("gateway %s (%s): exit code %d\n%s%s", tc.args, tc.environ, o.code, o.stdout, o.stderr)
		}
	}
}

// What answers at an address and is no gateway, or not that listener of it, is named as such in a line.
func TestNotGateway(t *testing.T) {
	const hint = "; -address must be http.address of a gateway\n"
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	go func() {
		for {
			c, err := broken.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "-ERR unknown command\r\n")
			c.Close()
		}
	}()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "# TYPE a counter\n") }))
	defer metrics.Close()
	for _, tc := range []struct{ commands, address, want string }{
		{"status, health, top, tap, reload, shard resume 3, loglevel info", broken.Addr().String(), hint},
		{"top, tap, reload", other.URL, hint},
		{"status, health", other.URL, "is answered with 404: no gateway, or an earlier version\n"},
		{"tap", metrics.URL, "the answer is no stream of events: -address must be http.address of a gateway\n"},
		{"status, health, top, tap, reload", strings.Replace(other.URL, "http", "https", 1), "; it does not serve TLS: use http:// in -address\n"},
		{"status, health, top", ":1", "nobody answers at localhost:1: "},
		{"status, health, top", "127.0.0.1:99999", "the port 99999 is not from 1 to 65535\n"},
	} {
		for command := range strings.SplitSeq(tc.commands, ", ") {
			o := runCommand(nil, append(strings.Fields(command), "-address", tc.address)...)
			if o.code != exitFailure || o.stdout != "" || !strings.Contains(o.stderr, tc.want) || strings.Count(o.stderr, "\n") != 1 || strings.Contains(o.stderr, "dial ") {
				t.Errorf("%s -address %s: %+v, want %q", command, tc.address, o, tc.want)
			}
		}
	}
}

// A tap ends with its process, in a line that says so; what came before is whole, and a warning names an event
// that is probably misspelt.
func TestTapEnds(t *testing.T) {
	const event = `{"t":"X","shard":0,"s":1,"bytes":2,"d":{}}` + "\n"
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/status" {
			io.WriteString(w, `{"shards":{"count":4}}`)
			return
		}
		io.WriteString(w, event+"\n"+`{"skipped":3}`+"\n"+event[:9])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer gone.Close()
	const ends = "error: the process has closed the stream: it stops, or this was read too slowly\n"
	for _, tc := range []struct{ args, stdout, stderr string }{
		{"", event, "3 events left out, above -rate\n" + ends},
		{"-shard 0,3", event, "3 events left out, above -rate\n" + ends},
		{"-shard 0,4", "", "error: -shard: shard 4 does not exist with a shard count of 4; ids run from 0 to 3\n"},
		{"-event MESSAGE_CRATE", event, "warning: -event: \"MESSAGE_CRATE\" is not an event that Discord documents; did you mean MESSAGE_CREATE?\n3 events left out, above -rate\n" + ends},
	} {
		o := runCommand(nil, append([]string{"tap", "-address", gone.URL}, strings.Fields(tc.args)...)...)
		if o != (outcome{exitFailure, tc.stdout, tc.stderr}) {
			t.Errorf("tap %s: %+v", tc.args, o)
		}
	}
}

// The socket is in shard_store.directory whatever the store is: gateway health of an image asks there.
func TestControlDirectory(t *testing.T) {
	for _, kind := range []string{"file", "memory"} {
		t.Chdir(t.TempDir())
		cfg := loadConfig(t, "SHARD_STORE_TYPE="+kind, "DISCORD_TOKEN=x.y.z")
		s, err := serveAdmin(cfg, admin.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if _, err = os.Stat(filepath.Join("state", admin.SocketName)); err == nil || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		s.Close()
	}
}

// An address that cannot be listened at is a mistake in its setting, in one line that says what
// would be right.
func TestListenTrouble(t *testing.T) {
	t.Chdir(t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tc := range []struct{ environ, want string }{
		{"HTTP_ADDRESS=" + l.Addr().String(), "http.address: cannot listen on " + l.Addr().String() + ": address already in use; another process listens there"},
		{"HTTP_ADDRESS=192.0.2.1:8080", "http.address: cannot listen on 192.0.2.1:8080: cannot assign requested address; it must be an address of this machine"},
		{"PROMETHEUS_ADDRESS=192.0.2.1:8080", "prometheus.address: cannot listen on 192.0.2.1:8080: "},
	} {
		cfg := loadConfig(t, "DISCORD_TOKEN=x.y.z", tc.environ)
		_, err := serveAdmin(cfg, admin.Options{}, slog.New(slog.DiscardHandler))
		if err == nil || !errors.As(err, new(settingError)) || !strings.HasPrefix(explain(err), tc.want) || strings.Contains(explain(err), "\n") {
			t.Errorf("%s: %v", tc.environ, err)
		}
		o := runCommand([]string{"DISCORD_TOKEN=x.y.z", tc.environ}, "check")
		key, _, _ := strings.Cut(tc.want, ":")
		if inUse := strings.Contains(tc.want, "already"); (o.code == exitOK) != inUse || !strings.Contains(o.stderr, ": "+key+": cannot listen on ") {
			t.Errorf("check of %s: %+v", tc.environ, o)
		}
	}
}

// check says what will be served, and to whom.
func TestCheckServed(t *testing.T) {
	t.Chdir(t.TempDir())
	address := sinktest.FreeAddress(t)
	o := runCommand([]string{"DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS", "HTTP_ADDRESS=" + address}, "check")
	if want := "\nhttp.address: http://" + address + ": /metrics, /livez and /readyz for everybody; status and page for this machine, no actions without http.token\n"; o.code != exitOK || !strings.Contains(o.stdout, want) {
		t.Errorf("%+v", o)
	}
	_, port, _ := net.SplitHostPort(address)
	o = runCommand([]string{"DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS", "HTTP_ADDRESS=0.0.0.0:" + port}, "check")
	if o.code != exitOK || !strings.Contains(o.stderr, "note: http.address: without http.token, ") {
		t.Errorf("%+v", o)
	}
}
