package top

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"sluice/cmd/gateway/status"
)

var update = flag.Bool("update", false, "write the screens to testdata")

// gateway answers with a document of its own.
type gateway struct {
	mu     sync.Mutex
	shards []status.Shard
	change func(*status.Status) // of the document; nil: none
	asked  []status.Query
	err    error
}

func newGateway(n int) *gateway {
	g := new(gateway)
	for id := range n {
		s := status.Shard{ID: id, State: "ready", Since: 7200, Session: "4f2a…", Seq: int64(1000 + id), Events: int64(20_000 + 100*id), Rate: float64(id%7) + 0.5,
			LastEvent: 0.2, LastACK: 12, RoundTrip: 0.0421}
		if id%5 == 3 {
			s.State, s.Since, s.Why = "backoff", 3, "connecting again in 2 s after: closed by Discord with 4000"
			s.Cause, s.Code, s.Ended, s.Reconnects = "closed by Discord", 4000, 3, 2
		}
		g.shards = append(g.shards, s)
	}
	return g
}

func (g *gateway) fetch(_ context.Context, q status.Query) (*status.Status, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, q)
	if g.err != nil {
		return nil, g.err
	}
	reset := time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
	s := &status.Status{
		Version: 1, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Process: status.Process{Version: "v1.0.0", Uptime: 11_520},
		Health: status.Health{Live: true, Checks: []status.Check{
			{Name: "broker", Of: "readyz", OK: true},
			{Name: "shards", Of: "readyz", Text: "2 of 10 are not ready: 3, 8"},
		}},
		Events:   status.Events{Received: 1_234_567, Rate: 12_345, Gaps: 1, Lag: status.Lag{P50: 0.002, P99: 0.0153}},
		Broker:   status.Broker{Type: "redis", Address: "127.0.0.1:6379", Available: true, Since: 11_000, Published: 1_234_555},
		Queue:    status.Queue{Events: 12, Bytes: 4096, MaxBytes: 64 << 20, Oldest: 0.1},
		Spool:    &status.Spool{MaxBytes: 10 << 30},
		Identify: status.Identify{Known: true, Total: 1000, Left: 980, Reserve: 100, Reset: &reset, Waiting: 2},
		Commands: status.Commands{Sent: 12, Refused: []status.Named{{Name: "queue full", Count: 3}}},
	}
	s.Shards = status.Shards{Count: len(g.shards), Run: len(g.shards)}
	for _, shard := range g.shards {
		if shard.State == "ready" {
			s.Shards.Ready++
		}
	}
	s.Shards.List, s.Shards.Listed = q.Select(append([]status.Shard(nil), g.shards...))
	if g.change != nil {
		g.change(s)
	}
	return s, nil
}

// settle runs what an update asks for, but for ticks.
func settle(t *testing.T, m *model, cmd tea.Cmd) {
	t.Helper()
	for cmd != nil {
		if !m.looking {
			return
		}
		_, cmd = m.Update(cmd())
	}
}

func press(t *testing.T, m *model, keys ...string) {
	t.Helper()
	codes := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp, "end": tea.KeyEnd, "home": tea.KeyHome,
		"pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp}
	for _, key := range keys {
		k := tea.Key{Code: codes[key]}
		if k.Code == 0 {
			k = tea.Key{Code: rune(key[0]), Text: key}
		}
		_, cmd := m.Update(tea.KeyPressMsg(k))
		settle(t, m, cmd)
	}
}

func screen(m *model) string {
	rows := strings.Split(ansi.Strip(m.View().Content), "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	return strings.Join(rows, "\n") + "\n"
}

func start(t *testing.T, g *gateway, width, height int) *model {
	t.Helper()
	m := newModel(t.Context(), &Options{Fetch: g.fetch})
	m.size = tea.WindowSizeMsg{Width: width, Height: height}
	settle(t, m, m.Init())
	return m
}

// TestScreens holds what is drawn to testdata: go test -update writes it.
func TestScreens(t *testing.T) {
	for _, test := range []struct {
		name          string
		width, height int
		keys          []string
		change        func(*status.Status)
	}{
		{"shards", 120, 20, nil, nil},
		{"narrow", 60, 16, nil, nil},
		{"unready", 120, 16, []string{"n"}, nil},
		{"by-rate", 120, 20, []string{"s", "s", "s"}, nil},
		{"details", 100, 24, []string{"down", "down", "down", "enter"}, nil},
		{"help", 80, 24, []string{"?"}, nil},
		{"reshard", 120, 20, nil, func(s *status.Status) {
			s.Health = status.Health{Live: true, Ready: true}
			s.Reshard = &status.Reshard{Stage: "connecting", From: 10, To: 20, Ready: 7}
		}},
		{"reshard-unready", 60, 16, nil, func(s *status.Status) {
			s.Reshard = &status.Reshard{Stage: "connecting", From: 10, To: 20, Ready: 7}
		}},
		{"reshard-fleet", 140, 24, []string{"down", "enter"}, func(s *status.Status) {
			s.Health = status.Health{Live: true, Ready: true}
			s.Fleet = &status.Fleet{Joined: true, Member: "pod-0", Incarnation: "A", Confirmed: true, Plan: status.FleetPlan{Shards: 30},
				Members: []status.FleetMember{{Name: "pod-0", Incarnation: "A", Shards: 10}, {Name: "pod-1"}, {Name: "pod-2"}}}
			s.Reshard = &status.Reshard{Stage: "comparing", From: 30, To: 60, Ready: 60, Fleet: &status.FleetReshard{Members: 3, Agreed: 1}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(10)
			g.change = test.change
			m := start(t, g, test.width, test.height)
			press(t, m, test.keys...)
			got := screen(m)
			for _, row := range strings.Split(got, "\n") {
				if w := ansi.StringWidth(row); w > test.width {
					t.Errorf("a row has %d columns: %q", w, row)
				}
			}
			if n := strings.Count(got, "\n"); n != test.height {
				t.Errorf("%d rows, want %d", n, test.height)
			}
			file := filepath.Join("testdata", test.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the screen is not that of %s:\n%s", file, got)
			}
		})
	}
}

// TestMoving goes through 10,000 shards of which the screen shows ten at a time.
func TestMoving(t *testing.T) {
	g := newGateway(10_000)
	m := start(t, g, 120, headRows+footRows+10)
	at := func(want int) {
		t.Helper()
		if s := m.selected(); s == nil || s.ID != want {
			t.Fatalf("at %+v, want shard %d", s, want)
		}
		if n := len(m.last.Shards.List); n > 10 {
			t.Fatalf("%d shards were asked for", n)
		}
	}
	at(0)
	press(t, m, "down", "down")
	at(2)
	press(t, m, "pgdown")
	at(12)
	press(t, m, "end")
	at(9999)
	press(t, m, "down")
	at(9999)
	press(t, m, "up")
	at(9998)
	press(t, m, "pgup")
	at(9988)
	press(t, m, "home", "up")
	at(0)
	press(t, m, "n", "end")
	at(9998)
	press(t, m, "s", "r") // by state
	if q := m.query; q.Sort != "state" || !q.Descending || !q.Unready || m.cursor != 0 {
		t.Errorf("%+v, cursor %d", q, m.cursor)
	}
	for range len(columns) {
		press(t, m, "s")
	}
	if m.query.Sort != "since" {
		t.Errorf("sorted by %s after a round", m.query.Sort)
	}
	g.mu.Lock()
	g.shards = g.shards[:4] // fewer than the cursor
	g.mu.Unlock()
	press(t, m, "n", "end", "r")
	if s := m.selected(); s == nil {
		t.Error("nothing is selected")
	}
}

// TestNoAnswer keeps the last screen, and says since when it is.
func TestNoAnswer(t *testing.T) {
	g := newGateway(4)
	m := start(t, g, 140, 24)
	g.err = errors.New("connection refused\x1b[2J")
	_, cmd := m.Update(tick{})
	settle(t, m, cmd)
	got := screen(m)
	if !strings.Contains(got, "no answer for") || !strings.Contains(got, "connection refused?[2J") || !strings.Contains(got, "backoff") {
		t.Error(got)
	}
	g.err = nil
	_, cmd = m.Update(tick{})
	settle(t, m, cmd)
	if strings.Contains(screen(m), "no answer") {
		t.Error("it is still said that there is no answer")
	}
}

// TestReshard has one begin and end. Nothing is left of one that has ended, and nothing below it moves.
func TestReshard(t *testing.T) {
	g := newGateway(4)
	m := start(t, g, 140, 24)
	before := screen(m)
	for _, tt := range []struct {
		r    *status.Reshard
		want string
	}{
		{&status.Reshard{Stage: "connecting", From: 4, To: 8, Ready: 3}, "reshard   from 4 to 8 shards, attempt 1, connecting: 3 of 8 ready; it waits until all new shards are ready\n"},
		{&status.Reshard{Stage: "switching", From: 4, To: 8, Ready: 8}, "reshard   from 4 to 8 shards, attempt 1, switching; it waits until the new sessions are in force, or taken back\n"},
		{&status.Reshard{From: 4, To: 8, Failures: 6, Error: "why"}, ""},
		{nil, ""},
	} {
		g.change = func(s *status.Status) { s.Reshard = tt.r }
		_, cmd := m.Update(tick{})
		settle(t, m, cmd)
		got := screen(m)
		if tt.want == "" && got != before || !strings.Contains(got, "\n"+tt.want) || strings.Count(got, "\n") != 24 {
			t.Errorf("%+v, want the row %q:\n%s", tt.r, tt.want, got)
		}
		if table := strings.Index(got, "^SHARD"); got[table:] != before[strings.Index(before, "^SHARD"):] || strings.Count(got[:table], "\n") != headRows {
			t.Errorf("%+v moves the shards:\n%s", tt.r, got)
		}
	}
}

// TestHostileText holds that nothing of a text from elsewhere moves the cursor.
func TestHostileText(t *testing.T) {
	const hostile = "\x1b[31mred\r\n\u202eabc"
	g := newGateway(1)
	g.shards[0].State, g.shards[0].Why = "backoff", hostile
	g.change = func(s *status.Status) { s.Reshard = &status.Reshard{Stage: "comparing", Error: hostile} }
	m := start(t, g, 120, 24)
	for _, keys := range [][]string{nil, {"enter"}} {
		press(t, m, keys...)
		if got := m.View().Content; strings.Contains(got, "\r") || strings.Contains(got, "\u202e") || strings.Contains(got, "\x1b[31mred") {
			t.Errorf("%q", got)
		}
	}
}

// output is a terminal's.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) has(part string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(ansi.Strip(o.buf.String()), part)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// TestRun runs the program with keys from a pipe, until q.
func TestRun(t *testing.T) {
	g := newGateway(4)
	in, keys := io.Pipe()
	out := new(output)
	done := make(chan error, 1)
	go func() {
		done <- Run(t.Context(), Options{Fetch: g.fetch, In: in, Out: out, Every: 5 * time.Millisecond})
	}()
	until(t, "the screen", func() bool { return out.has("session starts left") })
	until(t, "further looks", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.asked) > 5 })
	fmt.Fprint(keys, "q")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestRunEnds has the context end it, and a gateway that is not there.
func TestRunEnds(t *testing.T) {
	g := newGateway(4)
	in, keys := io.Pipe()
	defer keys.Close()
	ctx, cancel := context.WithCancel(t.Context())
	out := new(output)
	done := make(chan error, 1)
	go func() { done <- Run(ctx, Options{Fetch: g.fetch, In: in, Out: out}) }()
	until(t, "the screen", func() bool { return out.has("session starts left") })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.err = errors.New("nobody there")
	if err := Run(t.Context(), Options{Fetch: g.fetch, In: in, Out: out}); err != g.err {
		t.Errorf("%v", err)
	}
}

func TestPrint(t *testing.T) {
	g := newGateway(10)
	ctx, cancel := context.WithCancel(t.Context())
	out := new(output)
	done := make(chan error, 1)
	go func() { done <- Print(ctx, Options{Fetch: g.fetch, Out: out, Every: time.Millisecond}) }()
	want := "time=2026-01-02T03:04:05Z ready=false shards_ready=8 shards=10 events_per_s=12345.0 lag_p50=0.002 lag_p99=0.015 lost=0 gaps=1 queue_events=12 queue_bytes=4096 oldest=0.1 broker=available identify_left=980\n"
	until(t, "two lines", func() bool { return out.has(want + want) })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.err = errors.New("gone")
	if err := Print(t.Context(), Options{Fetch: g.fetch, Out: out}); err != g.err {
		t.Errorf("%v", err)
	}
}
