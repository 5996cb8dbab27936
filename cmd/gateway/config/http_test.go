// This file tests the settings of what is served over HTTP.

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Addresses have a host, metrics and the rest are one listener or two, and what is served is said
// before it is.
func TestHTTPAddresses(t *testing.T) {
	const secret = "HTTP_TOKEN=0123456789abcdef"
	for _, tc := range []struct {
		env     string // with spaces
		address string
		one     bool
		served  string // a part of it
	}{
		{"", "", false, ""},
		{"HTTP_ADDRESS=:8080", "127.0.0.1:8080", false, "http://127.0.0.1:8080: /metrics, /livez and /readyz for everybody; status and page for this machine, no actions without http.token"},
		{"HTTP_ADDRESS=:8080 " + secret, "127.0.0.1:8080", false, "status and page for this machine, actions for who has http.token"},
		{"HTTP_ADDRESS=:8080 HTTP_HOSTS=ops.example.com " + secret, "127.0.0.1:8080", false, "everybody; status, page and actions for who has http.token"},
		{"HTTP_ADDRESS=:8080 HTTP_HOSTS=ops.example.com", "127.0.0.1:8080", false, "everybody; nothing else without http.token"},
		{"HTTP_ADDRESS=0.0.0.0:8080", "0.0.0.0:8080", false, "everybody; nothing else without http.token"},
		{"HTTP_ADDRESS=[::]:8080 " + secret, "[::]:8080", false, "status, page and actions for who has http.token"},
		{"HTTP_ADDRESS=localhost:8080", "localhost:8080", false, "for this machine"},
		{"PROMETHEUS_ADDRESS=:9090", "", false, "prometheus.address: port 9090 of all interfaces: metrics at every path for everybody"},
		{"PROMETHEUS_ADDRESS=127.0.0.1:9090 PROMETHEUS_ENDPOINT=/m", "", false, "prometheus.address: 127.0.0.1:9090: metrics at /m for everybody"},
		{"PROMETHEUS_ADDRESS=:8080 HTTP_ADDRESS=:8081", "127.0.0.1:8081", false, "prometheus.address: port 8080"},
		{"PROMETHEUS_ADDRESS=127.0.0.1:8080 HTTP_ADDRESS=localhost:8080 PROMETHEUS_ENDPOINT=/m", "localhost:8080", true, ": /metrics and /m, /livez"},
		{"PROMETHEUS_ADDRESS=:8080 HTTP_ADDRESS=0.0.0.0:8080", "0.0.0.0:8080", true, ": /metrics, /livez"},
	} {
		c := mustLoad(t, Sources{File: writeFile(t, ""), Environ: append(strings.Fields(tc.env), "DISCORD_TOKEN="+token)})
		served := strings.Join(c.Served(), "\n")
		if c.HTTP.Address != tc.address || c.OneListener() != tc.one || !strings.Contains(served, tc.served) || (served == "") != (tc.served == "") {
			t.Errorf("%s: address %q, one listener %v: %s", tc.env, c.HTTP.Address, c.OneListener(), served)
		}
	}
}

// A token that crosses the network is worth a note, and an address for others without one.
func TestHTTPNotes(t *testing.T) {
	const secret = "HTTP_TOKEN=0123456789abcdef"
	for env, want := range map[string]string{
		"HTTP_ADDRESS=:8080 " + secret:                         "",
		"HTTP_ADDRESS=:8080 HTTP_HOSTS=ops.example " + secret:  "",
		"HTTP_ADDRESS=:8080":                                   "",
		"HTTP_ADDRESS=0.0.0.0:8080 " + secret:                  "http.address: 0.0.0.0:8080 is not encrypted, and http.token goes over the network",
		"HTTP_ADDRESS=[::]:8080":                               "http.address: without http.token, [::]:8080 serves metrics, /livez and /readyz alone",
		"HTTP_ADDRESS=0.0.0.0:8080 HTTP_TOKEN_FILE=/no/such/t": "http.token_file: /no/such/t: there is no such file",
	} {
		_, problems := Load(Sources{File: writeFile(t, ""), Environ: append(strings.Fields(env), "DISCORD_TOKEN="+token)})
		var said []string
		for _, p := range problems {
			if strings.HasPrefix(p.Key, "http.") {
				said = append(said, p.Key+": "+p.Text)
			}
		}
		if text := strings.Join(said, "\n"); len(said) > 1 || (want == "") != (text == "") || !strings.HasPrefix(text, want) {
			t.Errorf("%s: %q, want %q", env, said, want)
		}
	}
}

// Of http.token and its file the later source counts; a token that can be guessed, or that no
// header carries, is refused without being shown.
func TestHTTPToken(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, fmt.Sprint(len(text)))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const good = "second.secret-of-32-characters.."
	for _, tc := range []struct {
		file string
		env  []string
		want Secret
		err  string
	}{
		{"http.token = '" + good + "'", nil, good, ""},
		{"", []string{"HTTP_TOKEN_FILE=" + file(good+"\r\n")}, good, ""},
		{"http.token = 'very.secret.short..'", []string{"HTTP_TOKEN_FILE=" + file(good+"\n")}, good, ""},
		{"http.token_file = 'not there'", []string{"HTTP_TOKEN=" + good}, good, ""},
		{"http.token = '" + good + "'\nhttp.token_file = 'not there'", nil, "", "http.token is set too; which of the two is meant?"},
		{"", []string{"HTTP_TOKEN=" + good, "HTTP_TOKEN_FILE=x"}, "", "HTTP_TOKEN is set too; which of the two is meant?"},
		{"http.token = 'very.secret'", nil, "", "http.token: it has 11 characters, and 16 or more keep others from guessing it"},
		{"http.token = 'very secret of some length'", nil, "", "http.token: it has white space"},
		{"", []string{"HTTP_TOKEN_FILE=" + file("")}, "", "the file is empty"},
		{"", []string{"HTTP_TOKEN_FILE=not there"}, "", "not there: there is no such file"},
		{"", []string{"HTTP_TOKEN=not.a.token.but.it.is.long", "DISCORD_TOKEN=not.a.token.but.it.is.long"}, "", "http.token: it is the bot's token"},
	} {
		c, problems := Load(Sources{File: writeFile(t, "http.address = ':8080'\n"+tc.file), Environ: append([]string{"DISCORD_TOKEN=" + token}, tc.env...)})
		said := fmt.Sprint(problems)
		if tc.err == "" && (problems.Failed() || c.HTTP.Token != tc.want || strings.Contains(c.Format(), good)) {
			t.Errorf("%s %q: %q, %s", tc.file, tc.env, c.HTTP.Token.Reveal(), said)
		}
		if tc.err != "" && (!problems.Failed() || !strings.Contains(said, tc.err)) || strings.Contains(said, "secret") {
			t.Errorf("%s %q: %s, want %s", tc.file, tc.env, said, tc.err)
		}
		if tc.err == "" && c.Secrets().Redact("Bearer "+good) != "Bearer ***" {
			t.Errorf("the log shows the token")
		}
	}
}

// Notes and errors about settings that do not fit together.
func TestHTTPProblems(t *testing.T) {
	for _, tc := range []struct{ env, want string }{
		{"HTTP_ADDRESS=0.0.0.0:8080", "note: http.address: without http.token, 0.0.0.0:8080 serves metrics, /livez and /readyz alone"},
		{"HTTP_ADDRESS=:8080 HTTP_HOSTS=ops.example.com", "note: http.address: without http.token, 127.0.0.1:8080 serves metrics"},
		{"HTTP_TOKEN=0123456789abcdef", "note: http.token: has no effect without http.address"},
		{"HTTP_HOSTS=ops.example.com", "note: http.hosts: has no effect without http.address or identify.address"},
		{"HTTP_ADDRESS=:8080 HTTP_HOSTS=https://ops.example.com", "error: http.hosts: "},
		{"HTTP_ADDRESS=8080", "error: http.address: \"8080\" is not host:port, such as :8080"},
		{"PROMETHEUS_ENDPOINT=/metrics", "note: prometheus.endpoint: has no effect without prometheus.address"},
		{"PROMETHEUS_PACKETS=on", "note: prometheus.packets: has no effect without prometheus.address or http.address"},
		{"PROMETHEUS_PACKETS=some PROMETHEUS_ADDRESS=:1", `error: prometheus.packets: "some" is none of auto, on, off`},
		{"PROMETHEUS_ENDPOINT=metrics PROMETHEUS_ADDRESS=:1", `error: prometheus.endpoint: "metrics" does not begin with a slash`},
		{"HTTP_ADDRESS=:8080 PROMETHEUS_ADDRESS=:8080", "error: prometheus.address: :8080 and http.address, 127.0.0.1:8080, have the same port"},
		{"HTTP_ADDRESS=0.0.0.0:8080 PROMETHEUS_ADDRESS=:8080 PROMETHEUS_ENDPOINT=/status", "error: prometheus.endpoint: /status is served at http.address"},
	} {
		_, problems := Load(Sources{File: writeFile(t, ""), Environ: append(strings.Fields(tc.env), "DISCORD_TOKEN="+token)})
		if said := fmt.Sprint(problems); !strings.Contains(said, tc.want) {
			t.Errorf("%s: %s, want %s", tc.env, said, tc.want)
		}
	}
	// The proxy's variable is near to those of http, and is none of them.
	_, problems := Load(Sources{File: writeFile(t, ""), Environ: []string{"HTTP_PROXY=http://127.0.0.1:1", "DISCORD_TOKEN=" + token}})
	if said := fmt.Sprint(problems); strings.Contains(said, "HTTP_PROXY") {
		t.Error(said)
	}
}
