//go:build unix

// This file tests the journal of positions: that it is used, and that nobody writes by an older position than it has.

package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// journaled is how many shards the batches of these tests have.
const journaled = 40

// round returns an event of each shard from first on, of a session and with a seq, for a stream.
func roundOf(first int, session string, seq int64, stream string) (events []sinks.Event) {
	for shard := first; shard < first+journaled; shard++ {
		events = append(events, sinks.Event{Shard: shard, Session: session, Seq: seq, Type: []byte(stream), Data: fmt.Appendf(nil, "%d/%s/%d", shard, session, seq)})
	}
	return events
}

// rounds publishes the rounds from one seq to another, each when the one before is acknowledged.
func (h *harness) rounds(first int, session string, from, to int64) {
	h.t.Helper()
	for seq := from; seq <= to; seq++ {
		publishAll(h.t, h, roundOf(first, session, seq, "A"))
		h.settled()
	}
}

// seen returns a shard's position as whoever folds the journal finds it.
func seen(srv *redistest.Server, shard int) string {
	srv.CLI("EVAL", foldFunction+"fold(KEYS[1])", "1", "sluice:seen:bot")
	return field(srv, strconv.Itoa(shard))
}

func field(srv *redistest.Server, name string) string {
	return strings.TrimSpace(srv.CLI("HGET", "sluice:seen:bot", name))
}

// inRounds checks that a stream has these rounds, each event once, and each shard's in order.
func inRounds(t *testing.T, srv *redistest.Server, first int, want ...string) {
	t.Helper()
	got := make(map[string][]string)
	for _, data := range entries(t, srv.Addr, "A") {
		shard, rest, _ := strings.Cut(data, "/")
		got[shard] = append(got[shard], rest)
	}
	for shard := first; shard < first+journaled; shard++ {
		if all := got[strconv.Itoa(shard)]; !slices.Equal(all, want) {
			t.Fatalf("shard %d has %q, want %q", shard, all, want)
		}
	}
}

func names(session string, from, to int64) (all []string) {
	for seq := from; seq <= to; seq++ {
		all = append(all, fmt.Sprintf("%s/%d", session, seq))
	}
	return all
}

// The process after one with a journal leaves out what that one has written, of which the shards' own fields know nothing.
func TestJournal(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{Bot: "bot"}, srv.Addr)
	h.rounds(0, "a", 1, 5)
	if got := field(srv, "7"); got != "a:1" {
		t.Errorf("the field of shard 7 is %q: is it written with each batch?", got)
	}
	if field(srv, "writer") == "" {
		t.Error("there is no journal")
	}
	publishAll(t, h, roundOf(0, "b", 1, "A")[:3]) // some begin another session
	h.settled()
	if a, b := field(srv, "2"), field(srv, "7"); a != "b:1" || b != "a:1" {
		t.Errorf("the fields of shards 2 and 7 are %q and %q", a, b)
	}
	h.sink.Close()
	next := start(t, Options{Bot: "bot"}, srv.Addr)
	publishAll(t, next, roundOf(0, "b", 1, "A")[:3])
	for seq := int64(3); seq <= 7; seq++ {
		publishAll(t, next, roundOf(0, "a", seq, "A")[3:])
	}
	next.settled()
	got := entries(t, srv.Addr, "A")
	if want := 5*journaled + 3 + 2*(journaled-3); len(got) != want {
		t.Errorf("%d entries, want %d", len(got), want)
	}
	if a, b := seen(srv, 2), seen(srv, 7); a != "b:1" || b != "a:7" {
		t.Errorf("the positions of shards 2 and 7 are %q and %q", a, b)
	}
}

// What a version without a journal has written counts, and what it writes after a crash of one with it. That knows the shards'
// own fields alone, and leaves the journal where it is.
func TestJournalOtherVersions(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	args := []string{"HSET", "sluice:seen:bot"}
	for shard := range journaled {
		args = append(args, strconv.Itoa(shard), "a:3")
	}
	srv.CLI(args...)
	h := start(t, Options{Bot: "bot"}, srv.Addr)
	h.rounds(0, "a", 2, 9)
	inRounds(t, srv, 0, names("a", 4, 9)...)
	h.sink.Close()
	for i := range args[2:] {
		if i%2 == 1 {
			args[2+i] = "b:4"
		}
	}
	srv.CLI(args...)
	if field(srv, "writer") == "" {
		t.Fatal("there is no journal")
	}
	next := start(t, Options{Bot: "bot"}, srv.Addr)
	next.rounds(0, "b", 4, 6)
	inRounds(t, srv, 0, append(names("a", 4, 9), names("b", 5, 6)...)...)
}

// Two processes that write for one bot, each for other shards, and then for the same, write by each other's positions.
func TestJournalOfTwo(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a, b := start(t, Options{Bot: "bot"}, srv.Addr), start(t, Options{Bot: "bot"}, srv.Addr)
	for seq := int64(1); seq <= 6; seq++ {
		a.rounds(0, "a", seq, seq)
		b.rounds(journaled, "a", seq, seq)
		if seq == 3 {
			b.rounds(journaled, "a", 2, 3)
			a.rounds(0, "a", 1, 3)
		}
	}
	b.rounds(0, "a", 4, 8) // b begins a journal of them, or writes their fields
	a.rounds(0, "a", 6, 9)
	a.rounds(journaled, "a", 5, 7)
	b.rounds(0, "a", 8, 10)
	inRounds(t, srv, 0, names("a", 1, 10)...)
	inRounds(t, srv, journaled, names("a", 1, 7)...)
}

// A former process, of which batches are still in flight, writes nothing by a journal that the next has folded, and neither does
// one that has none by the fields of shards in one.
func TestJournalOfFormer(t *testing.T) {
	t.Parallel()
	for _, few := range []bool{false, true} {
		srv := redistest.Start(t)
		a, b := start(t, Options{Bot: "bot"}, srv.Addr), start(t, Options{Bot: "bot"}, srv.Addr)
		one := func(h *harness, seq int64) {
			publishAll(t, h, roundOf(0, "a", seq, "A")[:1])
			h.settled()
		}
		a.rounds(0, "a", 1, 1)
		if few {
			a.sink.Close()
			a = start(t, Options{Bot: "bot"}, srv.Addr)
			one(a, 2) // by its field
			b.rounds(0, "a", 2, 4)
			one(a, 3)
			one(a, 4)
		} else {
			a.rounds(0, "a", 2, 3)
			b.rounds(0, "a", 2, 5)
			a.rounds(0, "a", 4, 5)
		}
		inRounds(t, srv, 0, names("a", 1, map[bool]int64{false: 5, true: 4}[few])...)
	}
}

// A claim finds what the journal says, and takes it from its writer.
func TestJournalClaimed(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	none := start(t, Options{Bot: "claims"}, srv.Addr)
	none.rounds(0, "s", 1, 5)
	a := newOwner(t, srv.Addr, "A")
	for shard, at := range a.mustClaim(map[int]int64{3: 10, 39: 10}) {
		if at.Seq != 5 {
			t.Errorf("shard %d is claimed at %+v, want seq 5", shard, at)
		}
	}
	a.write(event(3, "s", 6, 100, 10))
	none.rounds(0, "s", 6, 7)
	got := 0
	for _, data := range entries(t, srv.Addr, "A") {
		if strings.HasPrefix(data, "3/") {
			got++
		}
	}
	if got != 6 { // 1 to 5, and 7
		t.Errorf("%d entries of shard 3, want 6", got)
	}
}

// In a fleet there is none: a member of a version that knows none claims a shard at what its field says.
func TestJournalNotInFleet(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a, epochs := newOwner(t, srv.Addr, "A"), make(map[int]int64)
	for shard := range journaled {
		epochs[shard] = 10
	}
	a.mustClaim(epochs)
	for seq := int64(1); seq <= 3; seq++ {
		batch := roundOf(0, "a", seq, "A")
		for i := range batch {
			batch[i].Began, batch[i].Epoch = 100, 10
		}
		a.write(batch...)
	}
	if got := strings.TrimSpace(srv.CLI("HGET", "sluice:seen:claims", "7")); got != "a:3::2s:10.A" {
		t.Errorf("the field of shard 7 is %q", got)
	}
}

// A batch of which Redis refuses an entry leaves a journal that goes up to that one.
func TestJournalInPart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		session string // of the batch: another than before is written in the fields
	}{{"moves", "a"}, {"fields", "b"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			srv.CLI("SET", "WRONG", "no stream")
			s := newHostile(t, srv.Addr, 1)
			h := start(t, Options{Bot: "bot"}, s.Addr().String())
			h.rounds(0, "a", 1, 3)
			s.use(once(unanswered))
			batch := append(roundOf(0, tt.session, 4, "A"), roundOf(0, tt.session, 5, "A")...)
			batch[journaled+20].Type = []byte("WRONG")
			publishAll(t, h, batch)
			h.wait("a part", func() bool { return len(entries(t, srv.Addr, "A")) == 4*journaled+20 })
			if got := field(srv, "19"); tt.session == "a" && got != "a:1" {
				t.Errorf("the field of shard 19 is %q: was it not in the journal?", got)
			}
			h.sink.Close()
			for shard, want := range map[int]string{19: tt.session + ":5", 20: tt.session + ":4", 39: tt.session + ":4"} {
				if got := seen(srv, shard); got != want {
					t.Errorf("the position of shard %d is %q, want %q", shard, got, want)
				}
			}
			srv.CLI("DEL", "WRONG")
			next := start(t, Options{Bot: "bot"}, srv.Addr)
			for i := range batch {
				batch[i].Type = []byte("A")
			}
			publishAll(t, next, batch)
			next.settled()
			inRounds(t, srv, 0, append(names("a", 1, 3), names(tt.session, 4, 5)...)...)
		})
	}
}

// With more shards than a journal may have the fields are written, also of those that were in one before.
func TestJournalTooLong(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{Bot: "bot"}, srv.Addr)
	h.rounds(0, "a", 1, 3)
	if field(srv, "writer") == "" {
		t.Error("there is no journal")
	}
	for first := journaled; first <= maxJournal; first += journaled {
		publishAll(t, h, roundOf(first, "a", 1, "B"))
	}
	h.settled()
	h.rounds(0, "a", 4, 5)
	if got := field(srv, "writer"); got != "" {
		t.Errorf("the journal is still %s's", got)
	}
	if got := field(srv, "7"); got != "a:5" {
		t.Errorf("the field of shard 7 is %q", got)
	}
	inRounds(t, srv, 0, names("a", 1, 5)...)
}

// Whatever stands in the journal, or of it, hinders nobody.
func TestForeignJournal(t *testing.T) {
	t.Parallel()
	for _, change := range [][]string{{"writer", "somebody"}, {"writer", ""}, {"journal", "garbage of some length, which has no record in it"}, {"journal", ""}, {"5", "a:7000"}, {"5", "garbage"}} {
		srv := redistest.Start(t)
		h := start(t, Options{Bot: "bot"}, srv.Addr)
		h.rounds(0, "a", 1, 3)
		srv.CLI(append([]string{"HSET", "sluice:seen:bot"}, change...)...)
		h.rounds(0, "a", 4, 5)
		h.sink.Close()
		next := start(t, Options{Bot: "bot"}, srv.Addr)
		next.rounds(0, "b", 1, 2)
		inRounds(t, srv, 0, append(names("a", 1, 5), names("b", 1, 2)...)...)
	}
	srv := redistest.Start(t)
	h := start(t, Options{Bot: "bot"}, srv.Addr)
	h.rounds(0, "a", 1, 3)
	srv.CLI("DEL", "sluice:seen:bot")
	h.rounds(0, "a", 3, 4)
	srv.CLI("SET", "sluice:seen:bot", "no hash")
	h.rounds(0, "a", 4, 5)
	if got := len(entries(t, srv.Addr, "A")); got < 5*journaled {
		t.Errorf("%d entries, want %d at least", got, 5*journaled)
	}
}
