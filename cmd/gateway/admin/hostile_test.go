// This file tests clients that mean no good: they cost little, keep nobody out, and get nothing.

package admin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memory returns what the process holds: heap that is in use, and stacks.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// grown fails the test if more than so many bytes are held than before.
func grown(t *testing.T, what string, before uint64, most int64) {
	t.Helper()
	now := memory()
	t.Logf("%s: %.1f MiB before, %.1f MiB with them", what, float64(before)/(1<<20), float64(now)/(1<<20))
	if int64(now)-int64(before) > most {
		t.Errorf("%s hold %d bytes, at most %d", what, int64(now)-int64(before), most)
	}
}

// closed waits until the other side has closed all of the connections, whatever it sends before.
func closed(t *testing.T, conns []net.Conn) {
	t.Helper()
	for i, c := range conns {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil && err.(net.Error).Timeout() {
			t.Fatalf("connection %d of %d is still open", i, len(conns))
		}
	}
}

// 1,000 clients that send their header byte by byte, in each way, keep nobody from metrics and
// health, are held to the bound of connections, and are gone in the end.
func TestSlowloris(t *testing.T) {
	const clients = 1000
	for name, begin := range map[string]string{
		"nothing": "",
		"a line":  "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n",
		"a body":  "POST /reload HTTP/1.1\r\nHost: 127.0.0.1\r\n" + bearer[:len(bearer)-1] + "?\r\nContent-Length: 4000\r\n\r\n{",
		"a right": "POST /loglevel HTTP/1.1\r\nHost: 127.0.0.1\r\n" + bearer + "\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			o := parts(new(asked))
			o.Address, o.Token = "127.0.0.1:0", always(token)
			s := start(t, o)
			before := memory()
			var conns []net.Conn
			for i := range clients {
				c := s.dial(t, "http.address")
				defer c.Close()
				conns = append(conns, c)
				io.WriteString(c, begin)
				if i%50 == 49 {
					for _, c := range conns {
						io.WriteString(c, "X")
					}
					for _, path := range []string{"/livez", "/metrics"} {
						if answer, body := s.raw(t, "http.address", request("GET "+path)); answer.StatusCode != 200 {
							t.Fatalf("%s with %d of them: %d %s", path, len(conns), answer.StatusCode, body)
						}
					}
				}
			}
			grown(t, fmt.Sprintf("%d slow clients", clients), before, 16<<20)
			if n := runtime.NumGoroutine(); n > 4*defaultLimits.connections {
				t.Errorf("%d goroutines", n)
			}
			s.Close()
			closed(t, conns)
		})
	}
}

// A slow client alone is closed by the deadline.
func TestSlowHeader(t *testing.T) {
	o := parts(new(asked))
	o.Address = "127.0.0.1:0"
	s := start(t, o, func(l *limits) {
		l.readHeader, l.read, l.idle = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	})
	var conns []net.Conn
	for _, begin := range []string{"", "GET /", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		c := s.dial(t, "http.address")
		defer c.Close()
		io.WriteString(c, begin)
		conns = append(conns, c)
	}
	closed(t, conns)
}

// streams opens event streams and reads none of them.
func streams(t *testing.T, s *Server, n int) (conns []net.Conn) {
	for range n {
		c := s.dial(t, "http.address")
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "GET /page/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
		conns = append(conns, c)
	}
	return conns
}

// flood is a stream that writes as fast as it can, and counts.
type flood struct{ open, ended, bytes atomic.Int64 }

func (f *flood) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.open.Add(1)
	defer f.ended.Add(1)
	w.Header().Set("Content-Type", "text/event-stream")
	text := bytes.Repeat([]byte("data: x\n\n"), 1<<10)
	for r.Context().Err() == nil {
		n, err := w.Write(text)
		if f.bytes.Add(int64(n)); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// 200 streams that nobody reads: as many as there may be are open, the others are refused, and
// those end when a piece is not taken in its time.
func TestStreamsNotRead(t *testing.T) {
	for _, most := range []int{defaultLimits.streams, 250} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			f := new(flood)
			o := parts(new(asked))
			o.Address, o.Page = "127.0.0.1:0", f
			s := start(t, o, func(l *limits) {
				l.streams, l.streamWrite = most, 500*time.Millisecond
				l.connections = max(l.connections, most+50)
			})
			before := memory()
			conns := streams(t, s, 200)
			want := int64(min(most, 200))
			await(t, "open", func() bool { return f.open.Load() >= want })
			grown(t, "streams that are not read", before, 32<<20)
			if answer, _ := s.raw(t, "http.address", request("GET /metrics")); answer.StatusCode != 200 {
				t.Errorf("metrics: %d", answer.StatusCode)
			}
			await(t, "closed by the deadline of a write", func() bool { return f.ended.Load() == f.open.Load() && f.ended.Load() >= want })
			t.Logf("%d streams were begun, %d bytes written", f.open.Load(), f.bytes.Load())
			if n := f.bytes.Load(); n > f.open.Load()<<20 {
				t.Errorf("the kernel keeps %d bytes for %d streams", n, f.open.Load())
			}
			s.Close()
			closed(t, conns)
		})
	}
}

// A stream that is read goes on past every deadline of the server, and ends with it.
func TestStreamRead(t *testing.T) {
	pulse := make(chan string)
	o := parts(new(asked))
	o.Address = "127.0.0.1:0"
	o.Tap = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case text := <-pulse:
				io.WriteString(w, text)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	s := start(t, o, func(l *limits) {
		l.read, l.write, l.idle, l.readHeader = 30*time.Millisecond, 30*time.Millisecond, 30*time.Millisecond, 30*time.Millisecond
		l.streamWrite = patience
	})
	c := s.dial(t, "http.address")
	defer c.Close()
	io.WriteString(c, "GET /tap HTTP/1.1\r\nHost: localhost\r\n\r\n")
	pulse <- "first\n"
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(answer.Body)
	for range 10 {
		if line, err := body.ReadString('\n'); err != nil {
			t.Fatalf("%q %v", line, err)
		}
		time.Sleep(20 * time.Millisecond) // so that the deadlines have passed
		pulse <- "again\n"
	}
	s.Drain()
	body.ReadString('\n')
	pulse <- "while it drains\n"
	if line, err := body.ReadString('\n'); err != nil {
		t.Errorf("%q %v", line, err)
	}
	s.Close()
	if _, err := body.ReadString('\n'); err == nil {
		t.Error("it goes on after Close")
	}
}

// Clients that ask for long answers and do not read them are given up for those that do.
func TestAnswersNotRead(t *testing.T) {
	long := bytes.Repeat([]byte("metric 1\n"), 1<<20)
	o := parts(new(asked))
	o.Address = "127.0.0.1:0"
	o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(long) })
	s := start(t, o, func(l *limits) { l.answerStill = 20 * time.Millisecond })
	before := memory()
	var conns []net.Conn
	for range 200 {
		c := s.dial(t, "http.address")
		defer c.Close()
		io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
		conns = append(conns, c)
	}
	for range 3 {
		await(t, "a whole answer", func() bool { // a busy machine may read nothing for 20 ms
			c := s.dial(t, "http.address")
			defer c.Close()
			io.WriteString(c, request("GET /metrics"))
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return false
			}
			n, err := io.Copy(io.Discard, answer.Body)
			return err == nil && n == int64(len(long))
		})
	}
	// Each of those that are written holds one, in a buffer that has grown by doubling.
	grown(t, "answers that are not read", before, int64((defaultLimits.answers+2)*2*len(long)))
	s.Close()
	closed(t, conns)
}

// What is no request of a client of ours is refused, and leads to nothing that is protected.
func TestShapes(t *testing.T) {
	a := new(asked)
	o := parts(a)
	o.Address, o.Token = "0.0.0.0:0", always(token) // so that the credential alone counts
	s := start(t, o)
	host := "Host: 127.0.0.1\r\n"
	auth := host + bearer + "\r\n"
	for _, tc := range []struct {
		name, text string
		codes      []int // one of them; 0: the connection ends without an answer
	}{
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", []int{400, 505}},
		{"HTTP/2 asked for", "GET /status HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", []int{401}},
		{"WebSocket asked for", "GET /page/stream HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n", []int{401}},
		{"HTTP/0.9", "GET /status\r\n\r\n", []int{400}},
		{"HTTP/3.0", "GET /status HTTP/3.0\r\n" + auth + "\r\n", []int{400, 505}},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", []int{0, 400}},
		{"1 MB of header", "GET /livez HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", []int{0, 431}},
		{"1 MB of headers", "GET /livez HTTP/1.1\r\n" + host + strings.Repeat("X: a\r\n", 1<<18) + "\r\n", []int{0, 431}},
		{"1 MB of address", "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\n" + host + "\r\n", []int{0, 431}},
		{"both lengths", "POST /reload HTTP/1.1\r\n" + auth + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /status HTTP/1.1\r\n" + host + "\r\n", []int{400, 411}},
		{"chunks", "POST /reload HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{411}},
		{"two lengths", "POST /reload HTTP/1.1\r\n" + auth + "Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd", []int{400}},
		{"a negative length", "POST /reload HTTP/1.1\r\n" + auth + "Content-Length: -1\r\n\r\n", []int{400}},
		{"a length with a sign", "POST /reload HTTP/1.1\r\n" + auth + "Content-Length: +4\r\n\r\nabcd", []int{400}},
		{"an encoding that is none", "POST /reload HTTP/1.1\r\n" + auth + "Transfer-Encoding: xchunked\r\n\r\n", []int{400, 501}},
		{"two encodings", "POST /reload HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", []int{400, 501}},
		{"a space before the colon", "POST /reload HTTP/1.1\r\n" + auth + "Transfer-Encoding : chunked\r\n\r\n", []int{400}},
		{"a folded header", "POST /reload HTTP/1.1\r\n" + host + "Authorization: Bearer\r\n " + token + "x\r\n\r\n", []int{400, 401}},
		{"a bare return", "GET /status HTTP/1.1\r\n" + host + "X: a\rAuthorization: Bearer " + token + "\r\n\r\n", []int{400, 401}},
		{"a zero", "GET /status HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n", []int{400}},
		{"no host", "GET /status HTTP/1.1\r\n\r\n", []int{400}},
		{"two hosts", "GET /livez HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", []int{400}},
		{"a host with a path", "GET /livez HTTP/1.1\r\nHost: 127.0.0.1/evil.example\r\n\r\n", []int{400, 421}},
		{"a body behind GET", "GET /livez HTTP/1.1\r\n" + host + "Content-Length: 44\r\n\r\nGET /status HTTP/1.1\r\n" + host + "\r\n", []int{400}},
		{"a large body", "POST /loglevel HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{", []int{413}},
		{"no content type", "POST /loglevel HTTP/1.1\r\n" + auth + "Content-Length: 17\r\n\r\n" + `{"level":"debug"}`, []int{400}},
		{"a form", "POST /loglevel HTTP/1.1\r\n" + auth + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\nlevel=debug", []int{400}},
		{"text", "POST /loglevel HTTP/1.1\r\n" + auth + "Content-Type: text/plain\r\nContent-Length: 17\r\n\r\n" + `{"level":"debug"}`, []int{400}},
		{"an unknown field", "POST /loglevel HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\nContent-Length: 11\r\n\r\n" + `{"lvel":""}`, []int{400}},
		{"two objects", "POST /loglevel HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n" + `{"level":"debug"} {}`, []int{400}},
		{"no object", "POST /loglevel HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\n\r\n", []int{400}},
		{"a body where none is", "POST /reload HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + auth + "\r\n", []int{404}},
		{"OPTIONS", "OPTIONS /reload HTTP/1.1\r\n" + auth + "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n", []int{403, 405}},
		{"TRACE", "TRACE /status HTTP/1.1\r\n" + auth + "\r\n", []int{403, 405}},
		{"CONNECT", "CONNECT 127.0.0.1:6379 HTTP/1.1\r\n" + auth + "\r\n", []int{404, 405, 403}},
		{"PUT", "PUT /status HTTP/1.1\r\n" + auth + "Content-Length: 0\r\n\r\n", []int{405}},
		{"GET of an action", "GET /reload HTTP/1.1\r\n" + auth + "\r\n", []int{405}},
		{"POST of the status", "POST /status HTTP/1.1\r\n" + auth + "\r\n", []int{405}},
		{"HEAD of a stream", "HEAD /page/stream HTTP/1.1\r\n" + auth + "\r\n", []int{405}},
		{"method override", "GET /reload HTTP/1.1\r\n" + auth + "X-HTTP-Method-Override: POST\r\n\r\n", []int{405}},
	} {
		c := s.dial(t, "http.address")
		io.WriteString(c, tc.text) // the server may have closed it before all is sent
		c.(*net.TCPConn).CloseWrite()
		answers, _ := io.ReadAll(c)
		c.Close()
		code := 0
		if len(answers) > 0 {
			fmt.Sscanf(string(answers), "HTTP/1.%*d %d", &code)
			if r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answers)), nil); err == nil {
				code = r.StatusCode
			}
		}
		ok := false
		for _, want := range tc.codes {
			ok = ok || code == want
		}
		if !ok || bytes.Count(answers, []byte("HTTP/1.")) > 1+bytes.Count(answers, []byte("is HTTP/1.")) || bytes.Contains(answers, []byte(`"version":1`)) {
			t.Errorf("%s: %.300q", tc.name, answers)
		}
		if calls := a.take(); calls != nil {
			t.Errorf("%s: %q", tc.name, calls)
		}
	}
}

// A path leads where it says, as it is written, or nowhere.
func TestPaths(t *testing.T) {
	a := new(asked)
	o := parts(a)
	o.Address, o.Token = "0.0.0.0:0", always(token)
	s := start(t, o)
	for _, path := range []string{
		"/page/../status", "/page/..%2fstatus", "/page/%2e%2e/status", "/page%2fapp.js", "/livez/../status", "/%6civez", "/livez/", "/LIVEZ", "/status/",
		"//status", "//evil.example/status", "/./status", "/metrics/..;/status", "/livez%00", "/livez;/status", "/status%20", "/page/.git/config",
		"/shards/03/resume", "/shards/+3/resume", "/shards/-1/resume", "/shards/3/resume/", "/shards/3/stop", "/shards//resume", "/shards/3%2fresume",
		"/shards/99999999999999999999/resume", "/shards/0x3/resume", "/debug/pprof/", "/nothing",
	} {
		for _, method := range []string{"GET", "POST"} {
			answer, body := s.raw(t, "http.address", request(method+" "+path, bearer))
			if answer.StatusCode != 404 && !(answer.StatusCode == 400 && strings.Contains(path, "%00")) {
				t.Errorf("%s %s: %d %s", method, path, answer.StatusCode, body)
			}
		}
	}
	if calls := a.take(); calls != nil {
		t.Errorf("%q", calls)
	}
}

// So many wrong tokens get nothing in, and leave the right one as it was. They cost what a request does.
func TestWrongTokens(t *testing.T) {
	a := new(asked)
	o := parts(a)
	o.Address, o.Token = "0.0.0.0:0", always(token)
	s := start(t, o, func(l *limits) { l.wrongToken = 0 })
	e := &entry{s: s, endpoint: "/metrics"}
	before, begun := memory(), time.Now()
	var group sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			r := httptest.NewRequest("POST", "/reload", nil)
			r.Host = "127.0.0.1"
			w := new(counted)
			for n := next.Add(1); n <= wrongTokens; n = next.Add(1) {
				r.Header.Set("Authorization", fmt.Sprintf("Bearer %029d", n))
				*w = counted{header: w.header}
				clear(w.header)
				if e.ServeHTTP(w, r); w.code != 401 {
					t.Errorf("%d: %d", n, w.code)
					return
				}
			}
		})
	}
	group.Wait()
	took := time.Since(begun)
	t.Logf("%d wrong tokens: %v, %v each", wrongTokens, took.Round(time.Millisecond), took/wrongTokens)
	grown(t, "wrong tokens", before, 4<<20)

	const overTCP = 3000
	c := s.dial(t, "http.address")
	defer c.Close()
	answers := bufio.NewReader(c)
	for n := range overTCP {
		fmt.Fprintf(c, "GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s%d\r\n\r\n", token, n)
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode != 401 {
			t.Fatalf("%d: %d", n, answer.StatusCode)
		}
	}
	if calls := a.take(); calls != nil {
		t.Errorf("%q", calls)
	}
	if answer, body := s.raw(t, "http.address", request("POST /reload", bearer)); answer.StatusCode != 200 {
		t.Errorf("the right one: %d %s", answer.StatusCode, body)
	}
}

// counted is a ResponseWriter that keeps the code alone.
type counted struct {
	header http.Header
	code   int
}

func (c *counted) Header() http.Header {
	if c.header == nil {
		c.header = http.Header{}
	}
	return c.header
}
func (c *counted) WriteHeader(code int)        { c.code = code }
func (c *counted) Write(p []byte) (int, error) { return len(p), nil }

// A wrong token is answered late, the right one at once; a connection guesses four times a second.
func TestWrongTokenIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := parts(new(asked))
		o.Token = always(token)
		s, err := Listen(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		e := &entry{s: s, endpoint: "/metrics"}
		ask := func(token string) (code int, took time.Duration) {
			r := httptest.NewRequest("GET", "/status", nil)
			r.Host = "127.0.0.1"
			r.Header.Set("Authorization", "Bearer "+token)
			begun, w := time.Now(), httptest.NewRecorder()
			e.answers = newAnswers(1, time.Second)
			e.ServeHTTP(w, r)
			return w.Code, time.Since(begun)
		}
		if code, took := ask("wrong"); code != 401 || took != 250*time.Millisecond {
			t.Errorf("wrong: %d after %v", code, took)
		}
		if code, took := ask(token); code != 200 || took != 0 {
			t.Errorf("right: %d after %v", code, took)
		}
	})
}
