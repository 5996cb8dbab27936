package tap

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/sinks"
)

// counter is a sink that acknowledges at once.
type counter struct{ events int }

func (c *counter) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	c.events += len(batch)
	acked(len(batch))
	return nil
}

func (c *counter) Close() error { return nil }

func event(shard int, name, data string) sinks.Event {
	return sinks.Event{Shard: shard, Session: "s", Seq: 7, Type: []byte(name), Data: []byte(data)}
}

func TestFilter(t *testing.T) {
	batch := []sinks.Event{
		event(0, "MESSAGE_CREATE", `{"guild_id":"10","content":"a"}`),
		event(1, "MESSAGE_CREATE", `{"guild_id":"11","content":"\"guild_id\":\"10\""}`),
		event(0, "GUILD_UPDATE", `{"id":"10"}`),
		event(0, "CHANNEL_UPDATE", `{"id":"10","guild_id":"12"}`),
		event(2, "TYPING_START", `{}`),
	}
	for _, test := range []struct {
		query string
		want  string // the places in batch
	}{
		{"", "0 1 2 3 4"},
		{"event=message_create", "0 1"},
		{"event=TYPING_START,GUILD_UPDATE", "2 4"},
		{"shard=1,2", "1 4"},
		{"guild=10", "0 2"},
		{"guild=10&event=MESSAGE_CREATE", "0"},
		{"guild=1", ""},
		{"rate=2", "0 1"},
	} {
		q, _ := url.ParseQuery(test.query)
		f, err := ParseFilter(q)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		tap := newTap(f, now)
		tap.offer(batch, now)
		lines, _ := tap.take(nil)
		var got, want []string
		for i := range batch {
			if strings.Contains(" "+test.want+" ", fmt.Sprintf(" %d ", i)) {
				want = append(want, string(appendLine(nil, &batch[i], batch[i].Data)))
			}
		}
		if text := string(lines); text != "" {
			got = strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
			got[len(got)-1] += "\n"
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, want %q", test.query, got, want)
		}
	}
}

func TestParseFilterRefuses(t *testing.T) {
	for query, want := range map[string]string{
		"shard=x":       "shard",
		"shard=-1":      "shard",
		"guild=0":       "guild",
		"guild=general": "guild",
		"rate=0":        "rate",
		"rate=10001":    "rate",
		"max=0":         "max",
		"max=1048576":   "max",
		"evnet=READY":   "evnet",
	} {
		q, _ := url.ParseQuery(query)
		if _, err := ParseFilter(q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestLine holds that each line is JSON, whatever data Discord sends.
func TestLine(t *testing.T) {
	for _, data := range []string{`{"a":1}`, "{\n\t\"a\":\r\n1}", `"\n"`, `null`} {
		ev := event(3, "X", data)
		line := appendLine(nil, &ev, ev.Data)
		var got struct {
			T     string
			Shard int
			S     int64
			Bytes int
			D     json.RawMessage
		}
		if err := json.Unmarshal(line, &got); err != nil || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("%q: %v", line, err)
		}
		if got.T != "X" || got.Shard != 3 || got.S != 7 || got.Bytes != len(data) {
			t.Errorf("%q: %+v", line, got)
		}
	}
	ev := event(3, "X", strings.Repeat("1", 100))
	tap := newTap(Filter{MaxBytes: 99}, time.Now())
	tap.offer([]sinks.Event{ev}, time.Now())
	if lines, _ := tap.take(nil); string(lines) != `{"t":"X","shard":3,"s":7,"bytes":100}`+"\n" {
		t.Errorf("%q", lines)
	}
}

// TestRate counts what is left out, and lets through as much as a second allows.
func TestRate(t *testing.T) {
	now := time.Now()
	tap := newTap(Filter{Rate: 10}, now)
	batch := make([]sinks.Event, 25)
	for i := range batch {
		batch[i] = event(0, "X", "{}")
	}
	for _, test := range []struct {
		passed  time.Duration
		shown   int
		skipped int64
	}{{0, 10, 15}, {0, 0, 25}, {500 * time.Millisecond, 5, 20}, {time.Hour, 10, 15}, {-time.Hour, 0, 25}} {
		now = now.Add(test.passed)
		tap.offer(batch, now)
		lines, skipped := tap.take(nil)
		if n := bytes.Count(lines, []byte("\n")); n != test.shown || skipped != test.skipped {
			t.Errorf("%v later: %d shown, %d left out; want %d and %d", test.passed, n, skipped, test.shown, test.skipped)
		}
	}
}

// TestSearchIsBounded holds that a guild is searched for in so many bytes, and no more.
func TestSearchIsBounded(t *testing.T) {
	now := time.Now()
	tap := newTap(Filter{Guild: 5}, now)
	large := event(0, "X", strings.Repeat(" ", searchBytes/4))
	for range 6 {
		tap.offer([]sinks.Event{large}, now)
	}
	if _, skipped := tap.take(nil); skipped != 2 {
		t.Errorf("%d events were not searched, want 2", skipped)
	}
}

// TestPendingIsBounded has nobody take the lines.
func TestPendingIsBounded(t *testing.T) {
	now := time.Now()
	tap := newTap(Filter{Rate: MaxRate, MaxBytes: MaxMaxBytes}, now)
	ev := event(0, "X", strings.Repeat("1", 100<<10))
	for range 1000 {
		tap.offer([]sinks.Event{ev}, now)
	}
	lines, skipped := tap.take(nil)
	if n := bytes.Count(lines, []byte("\n")); len(lines) > maxPending || n < 9 || int64(n)+skipped != 1000 {
		t.Errorf("%d bytes wait, in %d lines; %d left out", len(lines), n, skipped)
	}
}

// open returns the lines that a client gets.
func open(t *testing.T, s *Sink, query string) *bufio.Reader {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	resp, err := http.Get(srv.URL + "/tap?" + query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s", resp.Status, body)
	}
	return bufio.NewReader(resp.Body)
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

func TestServe(t *testing.T) {
	inner := new(counter)
	s := New(inner)
	lines := open(t, s, "rate=1&event=X") // the first bytes come when it is added
	batch := []sinks.Event{event(0, "Y", `{}`), event(4, "X", `{"a":1}`), event(4, "X", `{"a":2}`)}
	if err := s.Publish(t.Context(), batch, func(int) {}); err != nil || inner.events != 3 {
		t.Fatal(err, inner.events)
	}
	next := func() string {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line != "\n" {
				return line
			}
		}
	}
	if line, want := next(), `{"t":"X","shard":4,"s":7,"bytes":7,"d":{"a":1}}`+"\n"; line != want {
		t.Errorf("%q, want %q", line, want)
	}
	if line, want := next(), `{"skipped":1}`+"\n"; line != want {
		t.Errorf("%q, want %q", line, want)
	}
}

func TestServeRefuses(t *testing.T) {
	s := New(new(counter))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/tap?rate=fast", nil))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "rate") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range maxTaps {
		open(t, s, "")
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/tap", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestGone has viewers go, one of them without a word: it does not read, and is hung up on.
func TestGone(t *testing.T) {
	s := New(new(counter))
	s.timeout = 50 * time.Millisecond
	srv := httptest.NewServer(s)
	defer srv.Close()
	silent, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	fmt.Fprintf(silent, "GET /tap?rate=%d&max=%d HTTP/1.1\r\nHost: x\r\n\r\n", MaxRate, MaxMaxBytes)
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+"/tap", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	until(t, "both", func() bool { taps := s.taps.Load(); return taps != nil && len(*taps) == 2 })
	leave()
	batch := []sinks.Event{event(0, "X", strings.Repeat("1", 256<<10))}
	until(t, "the end of both", func() bool {
		if err := s.Publish(t.Context(), batch, func(int) {}); err != nil {
			t.Fatal(err)
		}
		return s.taps.Load() == nil
	})
}

// TestAllocs holds that nobody who looks costs no allocation, and one who looks none but the room
// for what waits.
func TestAllocs(t *testing.T) {
	s := New(new(counter))
	batch := []sinks.Event{event(0, "MESSAGE_CREATE", `{"guild_id":"5"}`), event(1, "X", `{}`)}
	acked := func(int) {}
	ctx := t.Context()
	publish := func() { s.Publish(ctx, batch, acked) }
	if n := testing.AllocsPerRun(100, publish); n != 0 {
		t.Errorf("%v allocations while nobody looks", n)
	}
	tap := newTap(Filter{Events: []string{"MESSAGE_CREATE"}, Guild: 5, Rate: MaxRate}, time.Now())
	tap.pending = make([]byte, 0, maxPending)
	s.add(tap)
	if n := testing.AllocsPerRun(100, publish); n != 0 {
		t.Errorf("%v allocations while somebody looks", n)
	}
}

// inOrder is a sink that notes whether it gets every event, each after the one before it.
type inOrder struct {
	next  int64
	wrong bool
}

func (o *inOrder) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	for i := range batch {
		_, seq := batch[i].Identity()
		o.wrong = o.wrong || seq != o.next
		o.next++
	}
	acked(len(batch))
	return nil
}

func (*inOrder) Close() error { return nil }

// stuck is one who looks and does not read: the first write to it goes on until end is closed.
type stuck struct {
	*httptest.ResponseRecorder
	began, end chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	close(s.began)
	<-s.end
	return 0, io.ErrClosedPipe
}

// TestSlow has one look who does not read, and is not hung up on: it loses its own events. The sink behind it
// gets each, and another who looks loses none.
func TestSlow(t *testing.T) {
	inner := new(inOrder)
	s := New(inner)
	v := &stuck{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		s.ServeHTTP(v, httptest.NewRequest("GET", fmt.Sprintf("/tap?rate=%d&max=%d", MaxRate, MaxMaxBytes), nil))
		close(ended)
	}()
	defer func() { close(v.end); <-ended }()
	until(t, "the first", func() bool { return s.taps.Load() != nil })
	slow := (*s.taps.Load())[0]
	seq, acknowledged := int64(0), int64(0)
	publish := func(name, data string) {
		t.Helper()
		ev := event(0, name, data)
		ev.Seq = seq
		seq++
		if err := s.Publish(t.Context(), []sinks.Event{ev}, func(n int) { acknowledged += int64(n) }); err != nil {
			t.Fatal(err)
		}
	}
	large := strings.Repeat("1", 256<<10)
	publish("X", large)
	<-v.began
	lines := open(t, s, "event=Y&rate=1000")
	const n = 50
	for range n {
		publish("Y", "{}")
		publish("X", large)
	}
	for got := 0; got < n; {
		line, err := lines.ReadString('\n')
		if err != nil || strings.HasPrefix(line, `{"skipped"`) {
			t.Fatal(line, err)
		}
		if strings.HasPrefix(line, `{"t":"Y"`) {
			got++
		}
	}
	if inner.wrong || inner.next != seq || acknowledged != seq {
		t.Errorf("%d events of %d are published, %d acknowledged; out of order: %v", inner.next, seq, acknowledged, inner.wrong)
	}
	if slow.mu.Lock(); len(slow.pending) > maxPending || slow.skipped < n-10 {
		t.Errorf("%d bytes wait, %d events are left out", len(slow.pending), slow.skipped)
	}
	slow.mu.Unlock()
}
