// This file tests who gets what, over real connections.

package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/gateway/status"
)

// patience bounds every wait.
const patience = 2 * time.Minute

const token = "0123456789abcdef-of-the-tests"

// always is a token that does not change.
func always(token string) func() string { return func() string { return token } }

// asked are actions that note what they were asked for.
type asked struct {
	mu    sync.Mutex
	calls []string
}

func (a *asked) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
}

func (a *asked) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := a.calls
	a.calls = nil
	return calls
}

func (a *asked) Reconnect(ctx context.Context, shard int, how string) error {
	a.note("%s %d", how, shard)
	if shard == 404 {
		return errors.New("shard 404 is not run by this process")
	}
	return nil
}

func (a *asked) SetLogLevel(level string) error {
	a.note("loglevel %s", level)
	if level != "debug" {
		return fmt.Errorf("%q is none of debug", level)
	}
	return nil
}

func (a *asked) Reload(context.Context) ([]string, error) {
	a.note("reload")
	return []string{"log.level: info, now debug"}, nil
}

func (a *asked) Drain() error {
	a.note("drain")
	return nil
}

func (a *asked) Rebalance() error {
	a.note("rebalance")
	return errors.New("this member drains")
}

func (a *asked) Reshard(_ context.Context, shards int, begin bool) ([]string, error) {
	a.note("reshard %d %v", shards, begin)
	if shards == 0 {
		return nil, errors.New("0 is no shard count")
	}
	return []string{"16 shards now"}, nil
}

func (a *asked) CallOff(context.Context) error {
	a.note("call off")
	return errors.New("the bot is not being resharded")
}

// parts are options whose answers say which part they are of.
func parts(a *asked) Options {
	says := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, what) })
	}
	return Options{
		Metrics: says("the metrics"),
		Page:    says("the page"),
		Tap:     says("the tap"),
		Status:  func() *status.Status { return &status.Status{Version: status.Version} },
		Checks: func() []status.Check {
			return []status.Check{{Name: "readers", Of: "livez", OK: true, Text: "they turn"}, {Name: "shards", Of: "readyz", OK: true, Text: "all are ready"}}
		},
		Actions: a,
		Fleet:   a,
	}
}

// start serves the options.
func start(t *testing.T, o Options, change ...func(*limits)) *Server {
	t.Helper()
	l := defaultLimits
	l.wrongToken = time.Millisecond
	for _, f := range change {
		f(&l)
	}
	s, err := listen(o, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dial connects to the listener of a setting.
func (s *Server) dial(t testing.TB, setting string) net.Conn {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr(setting).String())
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// raw sends bytes on a connection of their own and returns the first answer.
func (s *Server) raw(t testing.TB, setting, text string) (*http.Response, string) {
	t.Helper()
	c := s.dial(t, setting)
	defer c.Close()
	io.WriteString(c, text) // an end of the connection is seen below
	method, _, _ := strings.Cut(text, " ")
	answer, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	return answer, string(body)
}

// request is what a client sends: method, path, and lines of a header; Host is 127.0.0.1 unless it
// is among them.
func request(line string, header ...string) string {
	h := strings.Join(header, "\r\n")
	if !strings.Contains(strings.ToLower(h), "host:") {
		h = strings.TrimSuffix("Host: 127.0.0.1\r\n"+h, "\r\n")
	}
	return line + " HTTP/1.1\r\n" + h + "\r\nConnection: close\r\n\r\n"
}

const bearer = "Authorization: Bearer " + token

// everything are the routes, what each needs, and what it answers.
var everything = []struct {
	line  string
	needs level
	want  string
}{
	{"GET /livez", open, "livez: ok\n"},
	{"GET /livez?verbose", open, "ok readers: they turn\nlivez: ok\n"},
	{"GET /readyz", open, "readyz: ok\n"},
	{"GET /metrics", open, "the metrics"},
	{"GET /status", view, `{"version":1,`},
	{"GET /", view, "the page"},
	{"GET /page/app.js", view, "the page"},
	{"GET /page/stream", view, "the page"},
	{"GET /tap?event=MESSAGE_CREATE", view, "the tap"},
	{"POST /shards/3/reconnect", act, `{"ok":true}`},
	{"POST /shards/0/identify", act, `{"ok":true}`},
	{"POST /fleet/drain", act, `{"ok":true}`},
	{"POST /reload", act, `{"ok":true,"changes":["log.level: info, now debug"]}`},
}

// Each route over each kind of listener, with and without the token: metrics and health for
// everybody, the others as the package says, and no action without being allowed to.
func TestAccess(t *testing.T) {
	for _, tc := range []struct {
		name, address, token string
		hosts                []string
		header               string
		without, with        level // what is reached without the token, and with it
		code                 int   // of what is not reached without
	}{
		{"loopback", "127.0.0.1:0", token, nil, "", view, act, 401},
		{"loopback IPv6", "[::1]:0", token, nil, "", view, act, 401},
		{"loopback without a token", "127.0.0.1:0", "", nil, "", view, view, 403},
		{"behind a proxy", "127.0.0.1:0", token, nil, "X-Forwarded-For: 192.0.2.1", open, act, 401},
		{"behind a proxy that is named", "127.0.0.1:0", token, []string{"ops.example.com"}, "Host: ops.example.com", open, act, 401},
		{"all interfaces", "0.0.0.0:0", token, nil, "", open, act, 401},
		{"all interfaces without a token", "0.0.0.0:0", "", nil, "", open, open, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := new(asked)
			o := parts(a)
			o.Address, o.Token, o.Hosts = tc.address, always(tc.token), tc.hosts
			s, err := listen(o, defaultLimits)
			if err != nil && strings.Contains(tc.address, "::1") {
				t.Logf("this machine has no IPv6: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if strings.Contains(tc.address, "::1") {
				c, err := net.Dial("tcp", s.Addr("http.address").String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				io.WriteString(c, request("GET /status"))
				if text, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(text, []byte("HTTP/1.1 200 ")) {
					t.Errorf("%q, %v", text, err)
				}
				return
			}
			header := []string{}
			if tc.header != "" {
				header = append(header, tc.header)
			}
			for _, route := range everything {
				answer, body := s.raw(t, "http.address", request(route.line, header...))
				if reached := route.needs <= tc.without; reached && (answer.StatusCode != 200 || !strings.HasPrefix(body, route.want)) || !reached && answer.StatusCode != tc.code {
					t.Errorf("%s: %d %s", route.line, answer.StatusCode, body)
				}
				if answer.Header.Get("Content-Security-Policy") != contentPolicy || answer.Header.Get("X-Content-Type-Options") != "nosniff" ||
					answer.Header.Get("Referrer-Policy") != "no-referrer" || answer.Header.Get("Access-Control-Allow-Origin") != "" || answer.Header.Get("Set-Cookie") != "" {
					t.Errorf("%s: %v", route.line, answer.Header)
				}
				if calls := a.take(); (len(calls) > 0) != (route.needs == act && tc.without == act) {
					t.Errorf("%s: %q", route.line, calls)
				}
				answer, body = s.raw(t, "http.address", request(route.line, append(header, bearer)...))
				if reached := route.needs <= tc.with; reached && (answer.StatusCode != 200 || !strings.HasPrefix(body, route.want)) || !reached && answer.StatusCode != 403 {
					t.Errorf("%s with the token: %d %s", route.line, answer.StatusCode, body)
				}
				if calls := a.take(); (len(calls) > 0) != (route.needs == act && tc.with == act) {
					t.Errorf("%s with the token: %q", route.line, calls)
				}
			}
		})
	}
}

// Credentials are shown as a Bearer token or as the password of Basic; anything else is none.
func TestCredentials(t *testing.T) {
	o := parts(new(asked))
	o.Address, o.Token = "0.0.0.0:0", always(token)
	s := start(t, o)
	for _, tc := range []struct {
		header    string
		code      int
		challenge string
	}{
		{bearer, 200, ""},
		{"authorization: bearer " + token, 200, ""},
		{"Authorization: Basic eDowMTIzNDU2Nzg5YWJjZGVmLW9mLXRoZS10ZXN0cw==", 200, ""},
		{"Authorization: Basic " + token, 401, "Bearer"},
		{"Authorization: " + token, 401, "Bearer"},
		{bearer + "0", 401, "Bearer"},
		{"Authorization: Bearer", 401, "Bearer"},
		{"Authorization: Bearer ", 401, "Bearer"},
		{"Authorization: Bearer " + token[:16], 401, "Bearer"},
		{"Authorization: Basic Og==", 401, "Bearer"},
		{"Cookie: session=" + token + "; token=" + token, 401, "Bearer"},
		{"Accept: text/html", 401, "Basic"},
		{"X-Forwarded-For: 127.0.0.1", 401, "Bearer"},
	} {
		answer, body := s.raw(t, "http.address", request("GET /status", tc.header))
		if answer.StatusCode != tc.code || !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), tc.challenge) {
			t.Errorf("%s: %d %v %s", tc.header, answer.StatusCode, answer.Header, body)
		}
	}
	if answer, _ := s.raw(t, "http.address", request("GET /status?token="+token+"&access_token="+token)); answer.StatusCode != 401 {
		t.Errorf("a token in the address: %d", answer.StatusCode)
	}
}

// A token that is changed counts from then on, on connections that exist too, and ends the streams of
// who has shown the one before.
func TestTokenChanges(t *testing.T) {
	var now atomic.Value
	now.Store(token)
	pulse := make(chan struct{})
	o := parts(new(asked))
	o.Address, o.Token = "0.0.0.0:0", func() string { return now.Load().(string) }
	o.Tap = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range pulse {
			if _, err := io.WriteString(w, "an event\n"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	})
	s := start(t, o)
	stream, kept := s.dial(t, "http.address"), s.dial(t, "http.address")
	defer stream.Close()
	defer kept.Close()
	io.WriteString(stream, "GET /tap HTTP/1.1\r\nHost: localhost\r\n"+bearer+"\r\n\r\n")
	pulse <- struct{}{}
	answer, err := http.ReadResponse(bufio.NewReader(stream), nil)
	if err != nil || answer.StatusCode != 200 {
		t.Fatal(answer, err)
	}
	answers := bufio.NewReader(kept)
	ask := func(header string, want int) {
		t.Helper()
		io.WriteString(kept, "GET /status HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n\r\n")
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", header, answer.StatusCode, want)
		}
	}
	ask(bearer, 200)
	now.Store("another-token-of-the-tests")
	ask(bearer, 401)
	ask("Authorization: Bearer another-token-of-the-tests", 200)
	pulse <- struct{}{}
	if text, err := io.ReadAll(answer.Body); string(text) != "an event\n" {
		t.Errorf("the stream goes on: %q, %v", text, err)
	}
	now.Store("")
	ask("Authorization: Bearer another-token-of-the-tests", 403)
	ask("Authorization: Bearer ", 403)
}

// What a page of another site, or another name for this machine, makes a browser send is refused.
func TestOtherSites(t *testing.T) {
	a := new(asked)
	o := parts(a)
	o.Address, o.Token = "127.0.0.1:0", always(token)
	s := start(t, o)
	for _, tc := range []struct {
		line   string
		header []string
		code   int
	}{
		{"GET /status", []string{"Host: localhost:8080"}, 200},
		{"GET /status", []string{"Host: gateway.localhost"}, 200},
		{"GET /status", []string{"Host: 127.0.0.1:1"}, 200},
		{"GET /status", []string{"Host: [::1]:8080"}, 200},
		{"GET /livez", []string{"Host: 10.1.2.3"}, 200}, // as probes have it
		{"GET /status", []string{"Host: evil.example"}, 421},
		{"GET /metrics", []string{"Host: evil.example"}, 421},
		{"GET /livez", []string{"Host: evil.example:8080"}, 421},
		{"GET /status", []string{"Host: localhost.evil.example"}, 421},
		{"GET /status", []string{"Host: 127.0.0.1.evil.example"}, 421},
		{"GET /status", []string{"Host: 2130706433"}, 421},
		{"GET /status", []string{"Host: evil.example", "X-Forwarded-Host: localhost"}, 421},
		{"POST /reload", []string{"Host: evil.example", bearer}, 421},
		{"GET http://evil.example/status", []string{"Host: 127.0.0.1"}, 421},
		{"GET http://127.0.0.1/status", []string{"Host: evil.example"}, 200}, // the address is what counts

		{"POST /reload", []string{bearer}, 200},
		{"POST /reload", []string{bearer, "Sec-Fetch-Site: same-origin", "Origin: http://127.0.0.1"}, 200},
		{"POST /reload", []string{bearer, "Sec-Fetch-Site: cross-site"}, 403},
		{"POST /reload", []string{bearer, "Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:3000"}, 403},
		{"POST /reload", []string{bearer, "Origin: https://evil.example"}, 403},
		{"POST /reload", []string{bearer, "Origin: null"}, 403},
		{"POST /reload", []string{bearer, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		{"GET /status", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"GET /status", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"GET /page/stream", []string{"Origin: http://evil.example"}, 403},
		{"GET /page/stream", []string{"Origin: null"}, 403},
		{"GET /", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		{"GET /", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"GET /status", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		{"GET /status", []string{"Sec-Fetch-Site: none"}, 200},
	} {
		answer, body := s.raw(t, "http.address", request(tc.line, tc.header...))
		if answer.StatusCode != tc.code {
			t.Errorf("%s %q: %d %s, want %d", tc.line, tc.header, answer.StatusCode, body, tc.code)
		}
		if calls := a.take(); (len(calls) == 1) != (tc.line == "POST /reload" && tc.code == 200) {
			t.Errorf("%s %q: %q", tc.line, tc.header, calls)
		}
	}
}

// prometheus.address has metrics at its path, or at every one, for every name, and nothing else;
// the same address for both is one listener.
func TestPrometheus(t *testing.T) {
	for _, tc := range []struct {
		endpoint string
		shared   bool
		line     string
		code     int
	}{
		{"", false, "GET /metrics", 200}, {"", false, "GET /", 200}, {"", false, "GET /status", 200}, {"", false, "HEAD /a/b", 200},
		{"", false, "POST /reload", 405}, {"", false, "POST /metrics", 405},
		{"/m", false, "GET /m", 200}, {"/m", false, "GET /metrics", 404}, {"/m", false, "GET /livez", 404}, {"/m", false, "GET /", 404}, {"/m", false, "POST /reload", 404},
		{"/m", true, "GET /m", 200}, {"/m", true, "GET /metrics", 200}, {"/m", true, "GET /livez", 200},
		{"", true, "GET /metrics", 200}, {"", true, "GET /livez", 200}, {"", true, "GET /other", 404},
	} {
		o := parts(new(asked))
		o.PrometheusAddress, o.PrometheusEndpoint = "127.0.0.1:0", tc.endpoint
		setting, host := "prometheus.address", "Host: gateway:8080"
		if tc.shared {
			o.Address, setting, host = o.PrometheusAddress, "http.address", "Host: localhost"
		}
		s := start(t, o)
		answer, body := s.raw(t, setting, request(tc.line, host))
		if answer.StatusCode != tc.code || tc.code == 200 && !tc.shared && body != "the metrics" && tc.line[0] != 'H' {
			t.Errorf("endpoint %q, shared %v: %s: %d %s", tc.endpoint, tc.shared, tc.line, answer.StatusCode, body)
		}
		s.Close()
	}
}

// An address that is in use is named with its setting, and what was opened before is closed.
func TestInUse(t *testing.T) {
	o := parts(new(asked))
	o.Address = "127.0.0.1:0"
	s := start(t, o)
	o.PrometheusAddress = s.Addr("http.address").String()
	_, err := Listen(o)
	var e *ListenError
	if !errors.As(err, &e) || e.Setting != "prometheus.address" || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("%v", err)
	}
}

// health is 200 or 503 with why, and each check if asked for. While the process shuts down it is not ready.
func TestHealth(t *testing.T) {
	var broken atomic.Bool
	o := parts(new(asked))
	o.Address = "127.0.0.1:0"
	o.Checks = func() []status.Check {
		return []status.Check{
			{Name: "readers", Of: "livez", OK: true, Text: "they turn"},
			{Name: "broker", Of: "readyz", OK: !broken.Load(), Text: "Redis is unavailable"},
			{Name: "shards", Of: "readyz", OK: true, Text: "4 of 4"},
		}
	}
	s := start(t, o, func(l *limits) { l.checksAge = 0 })
	expect := func(path string, code int, want string) {
		t.Helper()
		if answer, body := s.raw(t, "http.address", request("GET "+path)); answer.StatusCode != code || body != want {
			t.Errorf("%s: %d %s", path, answer.StatusCode, body)
		}
	}
	expect("/readyz", 200, "readyz: ok\n")
	broken.Store(true)
	expect("/readyz", 503, "failed broker: Redis is unavailable\nreadyz: failed\n")
	expect("/readyz?verbose", 503, "failed broker: Redis is unavailable\nok shards: 4 of 4\nreadyz: failed\n")
	expect("/livez", 200, "livez: ok\n")
	broken.Store(false)
	s.Drain()
	expect("/readyz", 503, "failed shutdown: the process shuts down\nreadyz: failed\n")
	expect("/livez", 200, "livez: ok\n")
}

// A long list of shards is abridged, unless a part of it is asked for.
func TestStatusList(t *testing.T) {
	o := parts(new(asked))
	o.Address = "127.0.0.1:0"
	o.Status = func() *status.Status {
		d := &status.Status{Version: status.Version}
		for id := range 1001 {
			d.Shards.List = append(d.Shards.List, status.Shard{ID: id, State: "ready", LastACK: 5, Cause: "connection lost"})
		}
		return d
	}
	s := start(t, o)
	for path, fields := range map[string][2]int{"/status": {1001, 0}, "/status?limit=1000": {1000, 1000}, "/status?sort=-last_ack&offset=900": {101, 101}} {
		_, body := s.raw(t, "http.address", request("GET "+path))
		if causes, acks := strings.Count(body, `"cause"`), strings.Count(body, `"last_ack"`); causes != fields[0] || acks != fields[1] || !strings.Contains(body, `"listed":1001`) {
			t.Errorf("%s: %d shards, %d with last_ack", path, causes, acks)
		}
	}
	if answer, body := s.raw(t, "http.address", request("GET /status?shards=1")); answer.StatusCode != 400 || !strings.Contains(body, "unready") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

// A handler that panics is an answer, or the end of its connection, and a line in the log.
func TestPanic(t *testing.T) {
	var out lockedBuffer
	o := parts(new(asked))
	o.Address, o.Log = "127.0.0.1:0", slog.New(slog.NewTextHandler(&out, nil))
	o.Status = func() *status.Status { panic("a mistake") }
	o.Page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		panic("a mistake")
	})
	s := start(t, o)
	for range 3 {
		if answer, body := s.raw(t, "http.address", request("GET /status")); answer.StatusCode != 500 || strings.Contains(body, "mistake") {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
		c := s.dial(t, "http.address")
		io.WriteString(c, request("GET /page/x"))
		if text, _ := io.ReadAll(c); bytes.Contains(text, []byte("\r\n0\r\n")) {
			t.Errorf("half a page looks like a whole one: %s", text)
		}
		c.Close()
	}
	if n := strings.Count(out.String(), "a mistake"); n != 6 {
		t.Errorf("%d lines: %s", n, out.String())
	}
	if answer, _ := s.raw(t, "http.address", request("GET /metrics")); answer.StatusCode != 200 {
		t.Errorf("metrics after it: %d", answer.StatusCode)
	}
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
