// This file tests the service and the client over TCP.

package identify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/fleet"
	"sluice/fleet/memory"
)

// syncBuffer is a log.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// wait waits for a condition.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// serve serves the turns of 64 buckets, and of so many Identifies.
func serve(t *testing.T, budget int, change func(s *Server)) (s *Server, log *syncBuffer, stop func()) {
	t.Helper()
	c, log := memory.New(nil), new(syncBuffer)
	if err := c.Budget(t.Context(), fleet.Budget{Total: 1000, Remaining: budget, Concurrency: 64, Reset: time.Now().Add(time.Hour)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(Options{Address: "127.0.0.1:0", Hosts: []string{"gateway.example"}, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	q := fleet.New(fleet.Options{Coordinator: c}).QueueForOthers(Travel)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { q.Run(ctx) })
	running.Go(func() { s.Serve(ctx, q) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return s, log, stop
}

// What is no request for a turn is refused in a line; a page of a browser cannot ask.
func TestRequests(t *testing.T) {
	t.Parallel()
	s, log, _ := serve(t, 1000, nil)
	base := "http://" + s.Addr().String()
	for _, tt := range []struct {
		method, target, host, header string
		code                         int
		says                         string
	}{
		{"GET", "/?shard=7", "", "", 200, `{"message": "shard 7 may identify"}`},
		{"GET", "?shard=8", "", "", 200, "shard 8"},
		{"GET", "/?count=16&shard=65535", "gateway.example", "", 200, "shard 65535"},
		{"GET", "/?shard=9", "localhost:1", "Sec-Fetch-Site: none", 200, "shard 9"},
		{"GET", "/", "", "", 400, "no shard is named; ask for /?shard=0"},
		{"GET", "/?shard=", "", "", 400, `shard is "", and not a number from 0 to 65535`},
		{"GET", "/?shard=-1", "", "", 400, `shard is "-1", and`},
		{"GET", "/?shard=65536", "", "", 400, `shard is "65536", and`},
		{"GET", "/?shard=1e3", "", "", 400, `shard is "1e3", and`},
		{"GET", "/?shard=1&shard=2", "", "", 400, `shard is "1", and`},
		{"GET", "/?shard=%zz", "", "", 400, `shard is "", and`},
		{"GET", "/queue?shard=1", "", "", 404, "ask for /?shard=0"},
		{"POST", "/?shard=1", "", "", 405, "the method is not GET"},
		{"HEAD", "/?shard=1", "", "", 405, ""},
		{"GET", "/?shard=1", "evil.example", "", 421, "http.hosts names those that are"},
		{"GET", "/?shard=1", "", "Origin: http://evil.example", 403, "a page in a browser"},
		{"GET", "/?shard=1", "", "Sec-Fetch-Site: cross-site", 403, "a page in a browser"},
	} {
		r, err := http.NewRequest(tt.method, base+tt.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tt.host
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			r.Header.Set(name, value)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%+v: %v", tt, err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if text := string(body); answer.StatusCode != tt.code || !strings.Contains(text, tt.says) || strings.Count(strings.TrimSpace(text), "\n") > 0 {
			t.Errorf("%+v: %d %q", tt, answer.StatusCode, text)
		}
	}
	if n := strings.Count(log.String(), "a request is refused"); n != 1 {
		t.Errorf("%d lines about refused requests", n)
	}
}

// dial sends a request, and returns the connection.
func dial(t *testing.T, s *Server, shard int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /?shard=%d HTTP/1.1\r\nHost: localhost\r\n\r\n", shard)
	return c
}

// Who cannot wait gets no answer, which twilight's clients would take for a turn: beyond the bound, and at the end.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	s, log, stop := serve(t, 0, func(s *Server) { s.lines.max = 2 })
	waiting := func() int { _, n := s.lines.counts(); return n }
	one, two := dial(t, s, 1), dial(t, s, 1)
	wait(t, "two requests", func() bool { return waiting() == 2 })
	if b, err := io.ReadAll(dial(t, s, 2)); len(b) > 0 && err == nil {
		t.Errorf("one too many gets %q", b)
	}
	if !strings.Contains(log.String(), "too many requests wait") {
		t.Errorf("it logs\n%s", log)
	}
	two.Close()
	wait(t, "room", func() bool { return waiting() == 1 })
	dial(t, s, 3)
	wait(t, "two requests", func() bool { return waiting() == 2 })
	stop()
	if b, _ := io.ReadAll(one); len(b) > 0 {
		t.Errorf("one that waits gets %q at the end", b)
	}
	if _, err := Listen(Options{Address: "192.0.2.1:7070", Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "identify.address: ") {
		t.Errorf("listens at an address of others: %v", err)
	}
}

// A turn is an answer of success alone. Whatever else comes is tried again, and logged once; one that is not needed any
// more is not asked for.
func TestClient(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	gone := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/below/" || r.URL.RawQuery != "shard=5" || r.Method != "GET" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		switch asked.Add(1) {
		case 1:
			http.Error(w, "not yet\nhere", http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case 4:
			http.Error(w, "no", http.StatusBadRequest)
		case 5:
			io.WriteString(w, "HTTP/1.1 200 OK\r\n\r\n")
		default:
			<-r.Context().Done()
			close(gone)
		}
	}))
	defer srv.Close()
	var log syncBuffer
	c := NewClient(srv.URL+"/below/", slog.New(slog.NewTextHandler(&log, nil)))
	c.first = time.Millisecond
	if err := c.Permit(t.Context(), 5); err != nil || asked.Load() != 5 {
		t.Fatalf("%v, after %d questions", err, asked.Load())
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `the answer is 503 Service Unavailable: \"not yet\"`) {
		t.Errorf("it logs\n%s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		wait(t, "question", func() bool { return asked.Load() == 6 })
		cancel()
	}()
	if err := c.Permit(ctx, 5); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-gone
	srv.Close() // a refused connection
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Permit(ctx, 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// The two understand each other.
func TestClientAndServer(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, 3, nil)
	c := NewClient("http://"+s.Addr().String(), slog.New(slog.DiscardHandler))
	for shard := range 3 {
		if err := c.Permit(t.Context(), shard); err != nil {
			t.Error(err)
		}
	}
	if given, waiting := s.lines.counts(); given != 3 || waiting != 0 {
		t.Errorf("%d given, %d wait", given, waiting)
	}
}
