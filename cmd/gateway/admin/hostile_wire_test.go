// This file tests what can be done on a connection besides a request and its answer.

package admin

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// answersOf sends a text and returns the codes of all answers until the server ends the connection, or
// until there are n.
func answersOf(t *testing.T, s *Server, text string, n int) (codes []int) {
	t.Helper()
	c := s.dial(t, "http.address")
	defer c.Close()
	io.WriteString(c, text)
	r := bufio.NewReader(c)
	for len(codes) < n {
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return append(codes, 0)
		}
		io.Copy(io.Discard, answer.Body)
		codes = append(codes, answer.StatusCode)
	}
	return codes
}

// Requests that are sent at once are each held to what it needs; behind one that is refused with a
// body, nothing is read.
func TestPipelined(t *testing.T) {
	a := new(asked)
	o := parts(a)
	o.Address, o.Token = "0.0.0.0:0", always(token)
	s := start(t, o, func(l *limits) { l.read = 100 * time.Millisecond }) // for a body that does not come
	ask := func(line string, header ...string) string {
		return line + " HTTP/1.1\r\n" + strings.Join(append(header, "Host: localhost"), "\r\n") + "\r\n\r\n"
	}
	for _, tc := range []struct {
		name, text string
		want       string
		calls      int
	}{
		{"each on its own", ask("GET /livez") + ask("GET /status", bearer) + ask("GET /status") + ask("GET /livez"), "[200 200 401 200]", 0},
		{"the token of another request", ask("POST /reload", bearer) + ask("POST /reload") + ask("POST /reload"), "[200 401 401]", 1},
		{"a request as the body", ask("GET /livez", "Content-Length: 100") + ask("POST /reload", bearer), "[400 0]", 0},
		{"a request as the body of one that is refused", ask("POST /reload", "Content-Length: 100") + ask("POST /reload", bearer), "[401 0]", 0},
		{"a request behind chunks", ask("POST /reload", bearer, "Transfer-Encoding: chunked") + "0\r\n\r\n" + ask("POST /reload", bearer), "[411 0]", 0},
		{"a body that is longer than it says", ask("POST /loglevel", bearer, "Content-Type: application/json", "Content-Length: 17") +
			`{"level":"debug"}` + ask("POST /reload"), "[200 401]", 1},
		{"a body that is waited for", ask("POST /loglevel", "Content-Type: application/json", "Content-Length: 17", "Expect: 100-continue"), "[401 0]", 0},
		{"an Expect of another kind", ask("POST /reload", bearer, "Expect: 200-ok"), "[417 0]", 0},
		{"an empty line before", "\r\n" + ask("GET /livez"), "[400]", 0},
		{"two tokens, the second right", ask("POST /reload", "Authorization: Bearer x", bearer), "[401]", 0},
		{"two tokens in one", ask("POST /reload", "Authorization: Bearer x, Bearer "+token), "[401]", 0},
		{"the token behind more white space", ask("POST /reload", "Authorization: Bearer\t"+token), "[401]", 0},
		{"schemes", ask("POST /reload", "Authorization: Token "+token) + ask("POST /reload", "Authorization: Digest username=x, response="+token) +
			ask("POST /reload", "Authorization: Negotiate "+token) + ask("POST /reload", "Proxy-Authorization: Bearer "+token) + ask("POST /reload", "X-Api-Key: "+token), "[401 401 401 401 401]", 0},
		{"the token in a name", ask("POST /reload", "Bearer: "+token), "[401]", 0},
		{"a thousand tokens", ask("POST /reload", strings.Repeat(bearer+"x\r\n", 1000)+bearer), "[431 0]", 0},
	} {
		n := 1 + strings.Count(tc.want, " ")
		if got := fmt.Sprint(answersOf(t, s, tc.text, n)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
		if calls := a.take(); len(calls) != tc.calls {
			t.Errorf("%s: %q", tc.name, calls)
		}
	}
	if codes := answersOf(t, s, strings.Repeat(ask("GET /livez"), 500), 500); codes[499] != 200 {
		t.Errorf("of 500 requests at once the last is answered with %d", codes[499])
	}
}

// A body without an end is not read: whoever sends it is told so, and the connection ends.
func TestEndlessBody(t *testing.T) {
	o := parts(new(asked))
	o.Address, o.Token = "127.0.0.1:0", always(token)
	s := start(t, o)
	before := memory()
	chunk := "1000\r\n" + strings.Repeat(" ", 0x1000) + "\r\n"
	var group sync.WaitGroup
	for _, header := range []string{
		"Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\n" + bearer, "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n" + bearer,
		"Content-Length: 9000000000000000000\r\n" + bearer, "Content-Length: 9000000000000000000",
	} {
		for _, path := range []string{"/loglevel", "/reload", "/livez", "/nothing"} {
			c := s.dial(t, "http.address")
			group.Go(func() {
				defer c.Close()
				fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s\r\n\r\n", path, header)
				for sent := 0; ; sent += len(chunk) {
					if _, err := io.WriteString(c, chunk); err != nil {
						return
					}
					if sent > 64<<20 {
						t.Errorf("%s with %q: %d bytes are taken", path, header, sent)
						return
					}
				}
			})
		}
	}
	group.Wait()
	grown(t, "endless bodies", before, 4<<20)
}

// Which names are this gateway's, in whatever way they are written.
func TestHosts(t *testing.T) {
	o := parts(new(asked))
	o.Address, o.Hosts = "127.0.0.1:0", []string{"gateway.example.com"}
	s := start(t, o)
	for host, code := range map[string]int{
		"LOCALHOST": 200, "localhost.": 200, "Localhost.:8080": 200, "a.b.localhost": 200, "127.0.0.1:8080": 200, "[::1]": 200, "[::1]:80": 200,
		"[::ffff:127.0.0.1]:80": 200, "10.0.0.1": 200, "GATEWAY.example.com": 200, "gateway.example.com.:443": 200,
		"127.0.0.1.": 200, "gateway.example.com.evil.example": 421, "xgateway.example.com": 421, "example.com": 421, "localhost.evil.example": 421, "xlocalhost": 421,
		"[::1].evil.example": 421, "127.0.0.1.evil.example": 421, "0x7f000001": 421, "0177.0.0.1": 421, "127.1": 421, "evil.example:127.0.0.1": 421,
		"[evil.example]": 421, "localhost,evil.example": 421, "localhost..": 421, ".": 421, "..localhost.evil": 421, "xn--lcalhost-54a": 421, "gateway": 421,
	} {
		answer, body := s.raw(t, "http.address", request("GET /livez", "Host: "+host))
		if answer.StatusCode != code {
			t.Errorf("%s: %d %s, want %d", host, answer.StatusCode, body, code)
		}
	}
}

// HEAD is GET without a body.
func TestHead(t *testing.T) {
	o := parts(new(asked))
	o.Address, o.Token = "0.0.0.0:0", always(token)
	s := start(t, o)
	for path, code := range map[string]int{"/livez": 200, "/readyz?verbose": 200, "/metrics": 200, "/status": 200, "/": 200, "/tap": 405, "/page/stream": 405, "/reload": 405, "/shards/3/resume": 405} {
		answer, body := s.raw(t, "http.address", request("HEAD "+path, bearer))
		if answer.StatusCode != code || body != "" {
			t.Errorf("%s: %d %q", path, answer.StatusCode, body)
		}
	}
	if answer, _ := s.raw(t, "http.address", request("HEAD /status")); answer.StatusCode != 401 {
		t.Errorf("without the token: %d", answer.StatusCode)
	}
}
