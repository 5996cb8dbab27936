// This file tests `gateway status` and `gateway health`.

package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/status"
	"sluice/resume/file"
	"sluice/sinks/sinktest"
)

const documentFile = "testdata/status/document.json"

func readDocument(t *testing.T) (*status.Status, []byte) {
	t.Helper()
	text, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	var d status.Status
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return &d, text
}

// The table of a document, where there is no terminal and on narrow ones.
func TestStatusTable(t *testing.T) {
	d, _ := readDocument(t)
	for _, columns := range []int{0, 80, 40, 20, 1} {
		table := statusTable(d, columns, false)
		for line := range strings.Lines(table) {
			line = strings.TrimSuffix(line, "\n")
			if n := columnsIn(line); columns > 0 && n > columns {
				t.Errorf("%d columns of %d: %s", n, columns, line)
			}
			if line != strings.TrimRight(line, " ") {
				t.Errorf("blanks at the end: %q", line)
			}
		}
		if columns == 0 || columns == 80 || columns == 40 {
			golden(t, "testdata/status/table-"+strconv.Itoa(columns)+".golden", table)
		}
	}
	coloured := statusTable(d, 80, true)
	for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"} {
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	if coloured != statusTable(d, 80, false) {
		t.Errorf("colours change more than colours:\n%q", coloured)
	}
}

// One of a process that has just begun, and has nothing wrong but that; and one with all that can be.
func TestStatusTableOfOthers(t *testing.T) {
	fresh := statusTable(&status.Status{Version: 1, Broker: status.Broker{Type: "stdio", Available: true}, Store: status.Store{Type: "memory", Available: true}}, 0, false)
	golden(t, "testdata/status/fresh.golden", fresh)

	d, _ := readDocument(t)
	d.Health = status.Health{}
	d.Broker.Blocked, d.Identify.Exhausted, d.Spool.Active, d.Spool.Bytes = true, true, false, 0
	d.Broker.Error = "evil\x1b[2Jerror"
	d.Store = status.Store{Type: "redis", Error: "EOF"}
	d.Shards.Ended = append(d.Shards.Ended, status.Ended{Cause: "closed by Discord", Other: true, Count: 2})
	for range 6 {
		d.Shards.Ended = append(d.Shards.Ended, status.Ended{Cause: "x", Count: 1})
	}
	golden(t, "testdata/status/wrong.golden", statusTable(d, 0, false))
}

// running serves answers as the process that has the directory, which it returns, and at the address.
func running(t *testing.T, h http.Handler) (dir, address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gateway") // a socket's path has 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, l := range []func() (net.Listener, error){
		func() (net.Listener, error) { return net.Listen("unix", filepath.Join(dir, admin.SocketName)) },
		func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	} {
		l, err := l()
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: h}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		address = l.Addr().String()
	}
	return dir, address
}

func TestStatusCommand(t *testing.T) {
	d, text := readDocument(t)
	code, body := http.StatusOK, text
	dir, address := running(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" || r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		w.WriteHeader(code)
		w.Write(body)
	}))
	environ := []string{"SHARD_STORE_DIRECTORY=" + dir} // no token: the process has it
	table := statusTable(d, 0, false)
	for _, tt := range []struct {
		args string
		code int
		body string
		want outcome
	}{
		{"status", 200, string(text), outcome{0, table, ""}},
		{"status -json", 200, string(text), outcome{0, string(text), ""}},
		{"status -address " + address, 200, string(text), outcome{0, table, ""}},
		{"-address " + address + " status -json", 200, string(text), outcome{0, string(text), ""}},
		{"status", 401, "", outcome{1, "", "error: /status is answered with 401: http.token of the process is needed\n"}},
		{"status", 404, "", outcome{1, "", "error: /status is answered with 404: no gateway, or an earlier version\n"}},
		{"status", 500, "", outcome{1, "", "error: /status is answered with 500\n"}},
		{"status", 302, "", outcome{1, "", "error: /status is answered with 302\n"}},
		{"status", 200, "hello", outcome{1, "", "error: /status is not answered with a document of a gateway: invalid character 'h' looking for beginning of value\n"}},
		{"status", 200, `{"version":2}`, outcome{1, "", "error: the process runs a version whose document this program cannot show (2, not 1); -json prints it\n"}},
		{"status -json", 200, `{"version":2}`, outcome{0, `{"version":2}`, ""}},
	} {
		code, body = tt.code, []byte(tt.body)
		if got := runCommand(environ, strings.Fields(tt.args)...); got != tt.want {
			t.Errorf("%s, %d %.20s: %+v", tt.args, tt.code, tt.body, got)
		}
	}
}

func TestHealthCommand(t *testing.T) {
	asked, code, body := "", 0, ""
	dir, address := running(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	for _, tt := range []struct {
		args, asked string
		code        int
		body        string
		want        outcome
	}{
		{"health", "/livez", 200, "ok\n", outcome{0, "ok\n", ""}},
		{"health -ready -address " + address, "/readyz", 200, "ok\n", outcome{0, "ok\n", ""}},
		{"health -ready", "/readyz", 503, "[-] broker: a\x1b[2Jb\n[-] shards: c\n", outcome{1, "[-] broker: a\\u001b[2Jb\n[-] shards: c\n", ""}},
		{"health", "/livez", 404, "x", outcome{1, "", "error: /livez is answered with 404: no gateway, or an earlier version\n"}},
	} {
		code, body = tt.code, tt.body
		if got := runCommand([]string{"SHARD_STORE_DIRECTORY=" + dir}, strings.Fields(tt.args)...); got != tt.want || asked != tt.asked {
			t.Errorf("%s: %+v of %s", tt.args, got, asked)
		}
	}
}

// Nobody answers: one line says so, with what to do.
func TestNoProcess(t *testing.T) {
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	free := sinktest.FreeAddress(t)
	none := "error: no gateway runs with shard_store.directory " + dir + "; -config names its settings, -address its http.address\n"
	check := func(args, want string) {
		t.Helper()
		for _, name := range []string{"status ", "health ", "health -ready "} {
			got := runCommand([]string{"SHARD_STORE_DIRECTORY=" + dir}, strings.Fields(name+args)...)
			code := exitFailure
			if name == "status " && !strings.HasPrefix(want, "error: ") {
				code = exitUsage // of health it is 1: container engines reserve 2
			}
			if got.code != code || got.stdout != "" || !strings.HasPrefix(got.stderr, want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("%s%s: %+v, want %s", name, args, got, want)
			}
		}
	}
	check("", none)
	check("-address "+free, "error: nobody answers at "+free+": ")
	check("-address localhost", "error: nobody answers at localhost: ")
	check("-address "+"%zz", "error: -address: the address is not host:port")
	check("-config no-such.toml", "no-such.toml: error: there is no such file")
	if err := os.WriteFile(filepath.Join(dir, "gateway.toml"), []byte("[shard_store]\ninterval = \"1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("-config "+filepath.Join(dir, "gateway.toml"), filepath.Join(dir, "gateway.toml")+":2:12: error: shard_store.interval: ")

	// What a process left that was killed, and one of a version without it.
	s, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, admin.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	s.SetUnlinkOnClose(false)
	s.Close()
	check("", none)
	store, err := file.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	check("", fmt.Sprintf("error: process %d has shard_store.directory %s, and does not serve control.sock there: it is of an earlier version, or stops\n", os.Getpid(), dir))
}

// The table says what has ended a connection also where the document, for many shards, has it in fields of its own.
func TestWhole(t *testing.T) {
	for _, tt := range []struct {
		shard status.Shard
		want  string
	}{
		{status.Shard{State: "backoff", Why: "connecting again in 3 s", Cause: "closed by Discord", Code: 4000}, "connecting again in 3 s after: closed by Discord with 4000"},
		{status.Shard{State: "connecting", Why: "is connecting again", Cause: "connection lost"}, "is connecting again after: connection lost"},
		{status.Shard{State: "backoff", Why: "connecting again in 3 s after: connection lost", Cause: "connection lost"}, "connecting again in 3 s after: connection lost"},
		{status.Shard{State: "hello", Why: "waits for HELLO", Cause: "connection lost"}, "waits for HELLO"},
	} {
		if got := whole(tt.shard); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
