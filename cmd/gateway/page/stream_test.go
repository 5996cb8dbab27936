package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/cmd/gateway/page/pagetest"
	"sluice/cmd/gateway/status"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// gateway is a page with what it shows, and counts how often that is collected.
type gateway struct {
	*pagetest.Source
	*Page
	url                 string
	summaries, listings atomic.Int64
	stop                context.CancelFunc
}

// serve starts a page of so many shards with a short period, but for which 10,000 shards are soon read by a test.
func serve(t *testing.T, shards int, logs *Logs) *gateway {
	period := 5 * time.Millisecond
	if shards >= 10000 {
		period = 200 * time.Millisecond
	}
	g := &gateway{Source: pagetest.New(shards, 1, time.Now(), slog.DiscardHandler)}
	g.Page = New(Options{
		Summary: func() *status.Status { g.summaries.Add(1); return g.Source.Summary() },
		Shards:  func() []status.Shard { g.listings.Add(1); return g.Source.Shards() },
		Logs:    logs, Period: period,
	})
	server := httptest.NewServer(g.Page)
	t.Cleanup(server.Close)
	g.url = server.URL
	ctx, cancel := context.WithCancel(t.Context())
	g.stop = cancel
	done := make(chan struct{})
	go func() { g.Page.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return g
}

// event is one of the stream.
type event struct {
	name    string
	size    int
	At      float64
	Status  *status.Status
	Reshard *string
	Behind  behind
	Release string
	States  []string
	Rows    [][7]float64
	Gone    []int
	History [][6]float64
	Log     []string
}

// watch opens the stream, and returns a function that waits for the next event.
func (g *gateway) watch(t *testing.T) func() event {
	t.Helper()
	r, err := http.Get(g.url + "/page/stream")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream answers %s, %s", r.Status, r.Header.Get("Content-Type"))
	}
	in := bufio.NewReader(r.Body)
	return func() (e event) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("the stream ends: %v", err)
			}
			if name, ok := strings.CutPrefix(line, "event: "); ok {
				e.name = strings.TrimSpace(name)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				e.size = len(data)
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatalf("%v in %.200s", err, data)
				}
				return e
			}
		}
	}
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// A viewer gets everything, then what has changed.
func TestStream(t *testing.T) {
	logs := new(Logs)
	fmt.Fprintf(logs, "level=INFO msg=begun\n")
	g := serve(t, 1000, logs)
	next := g.watch(t)
	full := next()
	if full.name != "full" || len(full.Rows) != 1000 || full.Status == nil || full.Status.Shards.Run != 1000 || len(full.History) == 0 ||
		full.Release == "" || full.Log[0] != "level=INFO msg=begun" || full.Behind.Count != 0 {
		t.Fatalf("the first event: %q with %d rows, %+v", full.name, len(full.Rows), full.Status)
	}
	if state := full.States[int(full.Rows[17][1])]; state != "ready" {
		t.Errorf("shard 17 is %q, want ready", state)
	}
	fmt.Fprintf(logs, "level=WARN msg=later\n")
	g.Cut(17, "closed by Discord", 4000)
	var log []string
	rows := 0
	for end := time.Now().Add(patience); ; {
		e := next()
		log = append(log, e.Log...)
		rows += len(e.Rows)
		// A reader that was slow gets everything again, or several changes at once.
		states := e.States
		if e.name == "change" {
			states = full.States
		}
		cut := slices.ContainsFunc(e.Rows, func(row [7]float64) bool { return row[0] == 17 && states[int(row[1])] == "backoff" })
		if cut && e.Behind.Count == 1 && e.Behind.List[0].ID == 17 {
			if e.name == "change" && len(e.Rows) > 10 {
				t.Errorf("%d rows, and one shard has changed", len(e.Rows))
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("the cut shard does not change")
		}
	}
	waitFor(t, "log line", func() bool {
		for _, line := range log {
			if line == "level=WARN msg=later" {
				return true
			}
		}
		log = append(log, next().Log...)
		return false
	})

	// What does not change is not sent.
	quiet := next()
	for quiet.name != "change" {
		quiet = next()
	}
	if len(quiet.Rows) > 0 || quiet.size > 8<<10 {
		t.Errorf("nothing has changed, and %d rows come in %d bytes", len(quiet.Rows), quiet.size)
	}

	g.Keep(10)
	for gone := 0; gone < 990; {
		e := next()
		if gone += len(e.Gone); e.name == "full" && len(e.Rows) == 10 {
			break
		}
	}
}

// At 10,000 shards the first message is below 1 MB, and what follows is small, though each shard has new
// events each second.
func TestSizes(t *testing.T) {
	logs := new(Logs)
	for i := range 600 {
		fmt.Fprintf(logs, `{"time":"2026-11-27T08:00:00Z","level":"INFO","msg":"connection ended","shard":%d,"cause":"closed by Discord"}`+"\n", i)
	}
	g := serve(t, 10000, logs)
	for range 900 { // the history is full
		g.mu.Lock()
		g.history.add(sampleOf(g.Source.Summary()))
		g.mu.Unlock()
	}
	next := g.watch(t)
	full := next()
	if len(full.Rows) != 10000 || full.size > 1e6 {
		t.Errorf("the first message has %d rows in %d bytes, want 10000 in less than 1 MB", len(full.Rows), full.size)
	}
	rows, bytes, messages := 0, 0, 0
	for end := time.Now().Add(patience); messages < 10 && time.Now().Before(end); {
		g.Step(time.Second)
		if e := next(); e.name == "change" {
			messages, rows, bytes = messages+1, rows+len(e.Rows), bytes+e.size
		}
	}
	if messages == 0 {
		t.Fatal("no change comes")
	}
	t.Logf("first message: %d bytes; then %d rows in %d bytes a second", full.size, rows/messages, bytes/messages)
	if bytes/messages > 100<<10 {
		t.Errorf("a second costs %d bytes", bytes/messages)
	}
}

// Without viewers no list of shards is made; with some, one for all of them.
func TestNothingCollected(t *testing.T) {
	g := serve(t, 4, nil)
	start := g.summaries.Load()
	waitFor(t, "history", func() bool { return g.summaries.Load() > start+5 })
	if n := g.listings.Load(); n != 0 {
		t.Errorf("nobody watches, and the shards were listed %d times", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		r, _ := http.NewRequestWithContext(ctx, "GET", g.url+"/page/stream", nil)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, answer.Body)
	}
	lists, sums := g.listings.Load(), g.summaries.Load()
	waitFor(t, "collection", func() bool { return g.listings.Load() > lists+20 })
	if lists, sums := g.listings.Load()-lists, g.summaries.Load()-sums; lists > sums {
		t.Errorf("20 viewers: %d lists in %d collections", lists, sums)
	}
	cancel()
	waitFor(t, "end", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.viewers) == 0 && g.picture.at.IsZero() && g.picture.rows == nil && g.picture.full == nil
	})
	lists = g.listings.Load()
	sums = g.summaries.Load()
	waitFor(t, "history", func() bool { return g.summaries.Load() > sums+5 })
	if n := g.listings.Load(); n != lists {
		t.Errorf("all viewers are gone, and the shards were listed %d times", n-lists)
	}
	if e := g.watch(t)(); e.name != "full" || len(e.Rows) != 4 {
		t.Errorf("somebody comes back: %q with %d rows", e.name, len(e.Rows))
	}
}

// Viewers that do not read hold no memory that grows, and others are served meanwhile.
func TestSlowViewers(t *testing.T) {
	g := serve(t, 10000, nil)
	const slow = 99
	for range slow {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).SetReadBuffer(4096)
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "GET /page/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	waitFor(t, "viewers", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.viewers) == slow })
	next := g.watch(t)
	next()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 20 {
		g.Step(time.Second) // about a hundred changes each
		next()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d viewers that do not read: the heap went from %d to %d KiB", slow, before.HeapAlloc>>10, after.HeapAlloc>>10)
	if grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
}

// blocked is a viewer's connection that accepts nothing, until its deadline.
type blocked struct {
	http.ResponseWriter
	deadline chan time.Time
	released chan struct{}
}

func (w *blocked) Write(b []byte) (int, error) {
	<-w.released
	return 0, errors.New("write timeout")
}
func (w *blocked) Flush() {}
func (w *blocked) SetWriteDeadline(at time.Time) error {
	w.deadline <- at
	return nil
}

// A viewer that does not accept a message in time is left.
func TestWriteDeadline(t *testing.T) {
	g := serve(t, 4, nil)
	w := &blocked{httptest.NewRecorder(), make(chan time.Time, 1), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		g.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/page/stream", nil))
		close(done)
	}()
	if left := time.Until(<-w.deadline); left > writeTimeout {
		t.Errorf("the deadline is in %v, want %v at most", left, writeTimeout)
	}
	close(w.released)
	<-done
	waitFor(t, "end", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.viewers) == 0 })
}

// The end of Run ends the streams: a shutdown of the server does not wait for them.
func TestStop(t *testing.T) {
	g := serve(t, 4, nil)
	r, err := http.Get(g.url + "/page/stream")
	if err != nil {
		t.Fatal(err)
	}
	g.stop()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Error(err)
	}
}

// A server with time-outs for requests keeps the streams.
func TestServerTimeouts(t *testing.T) {
	g := serve(t, 4, nil)
	server := httptest.NewUnstartedServer(g.Page)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	g.url = server.URL
	next := g.watch(t)
	for begun := time.Now(); time.Since(begun) < 200*time.Millisecond; {
		next()
	}
}

// While there is no status the stream says so, and goes on when there is one.
func TestNoStatus(t *testing.T) {
	g := serve(t, 4, nil)
	g.Silence(true)
	next := g.watch(t)
	if e := next(); e.Status != nil && e.name == "full" {
		e = next()
	}
	for e := next(); e.Status != nil; e = next() {
	}
	g.Silence(false)
	for e := next(); e.Status == nil || len(e.Rows) != 4; e = next() {
	}
}

// What a resharding at work does is said in the words of gateway status, in the first message and in those that follow.
// Without one there is no such field, nor is there when it has ended.
func TestReshard(t *testing.T) {
	g := serve(t, 4, nil)
	next := g.watch(t)
	if e := next(); e.Reshard != nil {
		t.Errorf("none has begun, and %q comes", *e.Reshard)
	}
	for _, r := range []*status.Reshard{
		{Stage: "connecting", From: 4, To: 8, Ready: 3},
		{Stage: "comparing", From: 4, To: 8, Ready: 8, Failures: 1, Error: "<b>why"},
		{From: 4, To: 8, Failures: 6, Error: "called off"},
		{Stage: "connecting", From: 4, To: 16, Ready: 1},
		nil,
	} {
		g.Reshard(r)
		said := func(e event) bool {
			if !r.AtWork() {
				return e.Reshard == nil
			}
			return e.Reshard != nil && *e.Reshard == r.Summary()
		}
		waitFor(t, fmt.Sprintf("change with %+v", r), func() bool { e := next(); return e.name == "change" && said(e) })
		if e := g.watch(t)(); e.name != "full" || !said(e) {
			t.Errorf("%+v: the first message is %q with %v", r, e.name, e.Reshard)
		}
	}
}

func TestShard(t *testing.T) {
	g := serve(t, 40, nil)
	g.watch(t)()
	for path, want := range map[string]int{"/page/shards/17": 200, "/page/shards/40": 404, "/page/shards/-1": 404, "/page/shards/x": 404} {
		r, err := http.Get(g.url + path)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Shard *status.Shard }
		err = json.NewDecoder(r.Body).Decode(&answer)
		r.Body.Close()
		if r.StatusCode != want || err != nil || want == 200 && (answer.Shard == nil || answer.Shard.ID != 17 || answer.Shard.Session == "") {
			t.Errorf("%s: %s, %v, %+v", path, r.Status, err, answer.Shard)
		}
	}
}
