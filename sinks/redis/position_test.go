//go:build unix

// This file tests that what is sent again by the next process is not written again.

package redis

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// A dedup position comes back as it was written; one that cannot be read is no reason to drop an
// event.
func TestPosition(t *testing.T) {
	for _, m := range []position{{}, {session: "a", seq: 1}, {session: "a", seq: maxSeq, before: "b"}, {session: "a", seq: endOfSession}, {session: "a", seq: endOfSession, before: "b"},
		{session: "a:b,c%3A", seq: 7}, {seq: 7, began: 1}, {session: "a", seq: 7, before: "b,c", began: 1_764_000_000_000_000_000},
		{session: "a", seq: 1, tag: tag{5, "A"}}, {tag: tag{1_764_000_000_000, "A7"}}, {session: "a", seq: endOfSession, before: "b", began: 9, tag: tag{7, "B"}}, {raw: "a:1::0:5"}, {raw: "a:1::0:0.A"}, {raw: "::::5.A"}, {raw: "garbage"}, {raw: "a:0"}, {raw: "a:1:"}, {raw: "a:b:1"}, {raw: "a:9000000000000000000"}} {
		if got := parsePosition(string(m.append(nil))); got != m {
			t.Errorf("%+v comes back as %+v", m, got)
		}
	}
	for _, tt := range []struct {
		text string
		ev   sinks.Event
		want bool
	}{
		{"", sinks.Event{Session: "a", Seq: 1}, false},
		{"a:5", sinks.Event{Session: "a", Seq: 5}, true},
		{"a:5", sinks.Event{Session: "a", Seq: 6}, false},
		{"a:5", sinks.Event{Session: "b", Seq: 5}, false},
		{"a:5", sinks.Event{Session: "a"}, false}, // has no seq
		{"a:5", sinks.Event{Session: "a", Seq: 5, Gap: true}, false},
		{"a:gap", sinks.Event{Session: "a", Seq: 7}, true},
		{"a:gap", sinks.Event{Session: "a", Seq: 3, Gap: true}, true},
		{"b:1:a", sinks.Event{Session: "a", Seq: 3, Gap: true}, true},
		{"b:1:a", sinks.Event{Session: "a", Seq: 3}, true},
		{"b:1:a", sinks.Event{Session: "b", Seq: 3}, false},
		{"d:1:a,b,c", sinks.Event{Session: "b", Gap: true}, true},
		{"d:1:a,b,c", sinks.Event{Session: "a,b", Gap: true}, false},
		{"nonsense", sinks.Event{Session: "nonsense", Seq: 1}, false},
		{"a:b", sinks.Event{Session: "a", Seq: 1}, false},
		{"a:9000000000000000000", sinks.Event{Session: "a", Seq: 1}, false},
		{"a%3Ab:5", sinks.Event{Session: "a:b", Seq: 5}, true},
		{"c:5:a%2Cb", sinks.Event{Session: "a,b", Seq: 5}, true},
		{"a:5::2s", sinks.Event{Session: "a", Seq: 5, Began: 100}, true},
		{"a:5::2s", sinks.Event{Session: "a", Seq: 5}, true},              // of the next process, which resumed
		{"a:5::2s", sinks.Event{Session: "a", Seq: 5, Began: 101}, false}, // the same id for another session
		{"a:5::2s", sinks.Event{Session: "a", Seq: 6, Began: 99}, true},   // of the one before
		{"a:5", sinks.Event{Session: "a", Seq: 5, Began: 100}, false},
		{"b:5:a:2s", sinks.Event{Session: "a", Seq: 1, Began: 101}, false},
		{"a:5:a:2s", sinks.Event{Session: "a", Seq: 6}, false},
		{"a:5:a:2s", sinks.Event{Session: "a", Seq: 9, Gap: true}, true},
		{"b:5::2s:7.A", sinks.Event{Session: "a", Seq: 9, Began: 99, Epoch: 7}, true}, // of an older session
		{"b:5::2s:7.A", sinks.Event{Session: "a", Seq: 9, Epoch: 7}, false},
	} {
		if got := parsePosition(tt.text).covers(&tt.ev); got != tt.want {
			t.Errorf("%q covers %+v: %v, want %v", tt.text, tt.ev, got, tt.want)
		}
	}
}

func TestPositionNext(t *testing.T) {
	m := position{}
	for _, step := range []struct {
		session string
		seq     int64
		want    string
	}{
		{"a", 1, "a:1"}, {"a", 2, "a:2"}, {"a", endOfSession, "a:gap"}, {"b", 1, "b:1:a"}, {"b", endOfSession, "b:gap:a"},
		{"c", endOfSession, "c:gap:a,b"}, {"d", endOfSession, "d:gap:a,b,c"}, {"e", 1, "e:1:b,c,d"}, {"f", 1, "f:1:b,c,d"},
	} {
		if m = m.next(&sinks.Event{Session: step.session}, step.seq, ""); string(m.append(nil)) != step.want {
			t.Errorf("after %s %d: %s, want %s", step.session, step.seq, m.append(nil), step.want)
		}
	}
}

// life is what a shard has to tell, through several sessions, and how far it has got.
type life struct {
	events    []sinks.Event
	published int
	acked     int
	given     map[int]bool // up in the middle: of a session that had ended when the sink was closed
}

// next returns where the next process begins: at what was acknowledged, or with the end of the
// session before the one that is stored, which is that of the last event published.
func (l *life) next() int {
	if l.published == 0 {
		return 0
	}
	begin := l.published - 1
	for begin > 0 && l.events[begin-1].Session == l.events[begin].Session {
		begin--
	}
	if l.acked >= begin {
		return l.acked
	}
	for i := l.acked; i < begin-1; i++ {
		l.given[i] = true
	}
	return begin - 1 // the gap
}

// A sink is closed in the middle, again and again, and what it has sent may still be on its
// way when the next one begins, at what was acknowledged: every event is written once, and in
// order. Some entries are refused, so that batches end in their middle.
func TestPositions(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("SET", "refused", "no stream")
	const shards, each = 40, positionEvents
	r := rand.New(rand.NewPCG(1, 2))
	lives := make([]life, shards)
	for id := range lives {
		lives[id].given = make(map[int]bool)
		session, seq := 0, int64(0)
		for range each {
			ev := sinks.Event{Shard: id, Type: []byte("events")}
			switch n := r.IntN(200); {
			case n == 0 && seq > 20:
				ev.Gap = true
			case n == 1 && id%8 == 0:
				ev.Type = []byte("refused")
			}
			if !ev.Gap {
				seq++
			}
			ev.Session, ev.Seq = fmt.Sprintf("session %d of %d", session, id), seq
			ev.Data = fmt.Appendf(nil, "%d %d %d %v", id, session, seq, ev.Gap)
			if ev.Gap {
				session, seq = session+1, 0
			}
			lives[id].events = append(lives[id].events, ev)
		}
	}
	client, err := NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	repeated, rounds := int64(0), 0
	for left := shards * each; left > 0; rounds++ {
		var mu sync.Mutex
		var sent []int // the shards of the events, in order
		done := 0
		s, err := New(Options{Client: client, Bot: "bot", Body: rawBody, Fields: []Field{FieldShard}, Log: slog.New(slog.DiscardHandler),
			Stream: func(dst []byte, ev *sinks.Event) []byte { return append(dst, ev.Type...) }})
		if err != nil {
			t.Fatal(err)
		}
		next := make([]int, shards)
		for id := range lives {
			next[id] = lives[id].next()
			lives[id].acked = next[id]
		}
		for range 30 {
			var batch []sinks.Event
			for range 20 {
				id := r.IntN(shards)
				to := min(next[id]+1+r.IntN(20), each)
				batch = append(batch, lives[id].events[next[id]:to]...)
				mu.Lock()
				for range to - next[id] {
					sent = append(sent, id)
				}
				mu.Unlock()
				next[id] = to
				lives[id].published = max(lives[id].published, to)
			}
			err := s.Publish(t.Context(), batch, func(n int) {
				mu.Lock()
				defer mu.Unlock()
				for _, id := range sent[done : done+n] {
					lives[id].acked++
				}
				done += n
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for enough := r.IntN(len(sent) + 1); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			n := done
			mu.Unlock()
			if n >= enough {
				break
			}
		}
		s.Close()
		repeated += s.Status().Repeated
		left = shards * each
		for id := range lives {
			left -= lives[id].acked
		}
		if rounds > 2000 {
			t.Fatalf("%d events are left after %d rounds", left, rounds)
		}
	}
	lost := 0
	got := make(map[string][]string)
	for _, data := range entries(t, srv.Addr, "events") {
		shard, _, _ := strings.Cut(data, " ")
		got[shard] = append(got[shard], data)
	}
	for id := range lives {
		all, at := got[fmt.Sprint(id)], 0
		for i, ev := range lives[id].events {
			switch {
			case string(ev.Type) != "events":
			case at < len(all) && all[at] == string(ev.Data):
				at++
			case !lives[id].given[i]:
				t.Fatalf("shard %d: entry %d of %d is not %q, but %q", id, at, len(all), ev.Data, all[max(0, at-3):at+4])
			default:
				lost++
			}
		}
		if at < len(all) {
			t.Errorf("shard %d: %d entries are too many, from %q on", id, len(all)-at, all[at])
		}
	}
	t.Logf("%d sinks, %d events were sent again and left out; %d of sessions that had ended were not written", rounds, repeated, lost)
	if repeated == 0 || lost > shards*each/20 {
		t.Error("that is not what was to be tested")
	}
}

// Whatever is stored as a position reads back as it was written, and what is no position covers nothing.
func FuzzPosition(f *testing.F) {
	for _, text := range []string{"", "a:5", "a:gap:b,c", "a:5::2s", "a%3Ab:1:x:1", "a:5::2s:1764000000000.A7", ":0::0:5.A", "garbage", "a:9000000000000000000", ":::"} {
		f.Add(text, "a", int64(5), int64(100))
	}
	f.Fuzz(func(t *testing.T, text, session string, seq, began int64) {
		m := parsePosition(text)
		if got := string(m.append(nil)); got != text {
			t.Fatalf("%q comes back as %q", text, got)
		}
		ev := &sinks.Event{Session: session, Seq: seq, Began: max(began, 0)}
		if m.raw != "" && m.covers(ev) {
			t.Errorf("%q covers %+v", text, ev)
		}
		seq, ok := positionSeq(ev)
		if !ok || m.covers(ev) {
			return
		}
		next := m.next(ev, seq, "A")
		if got := parsePosition(string(next.append(nil))); got != next {
			t.Errorf("%+v comes back as %+v", next, got)
		}
		if !next.covers(ev) {
			t.Errorf("%+v, which %+v left, does not cover it", next, ev)
		}
	})
}
