// This file tests that nothing is stored that would not be read.

package resume

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
	"sluice/internal/record"
	"sluice/sinks"
	"sluice/wire"
)

// hostile returns checkpoints of a peer that means harm, by name, and what is kept of each.
func hostile() map[string][2]Checkpoint {
	long := strings.Repeat("x", 5_000)
	gap := sinks.Gap{Session: "older", Seq: 3, At: 1_795_000_000_000, Reason: "closed by Discord"}
	of := func(change func(c *Checkpoint)) Checkpoint {
		c := checkpoint("a", 7)
		c.Gaps[0] = gap
		change(&c)
		return c
	}
	alone := of(func(c *Checkpoint) { c.Session = engine.Session{Gaps: c.Gaps} })
	whole := of(func(*Checkpoint) {})
	gaps := func(a, b sinks.Gap) func(c *Checkpoint) {
		return func(c *Checkpoint) { c.Gaps = [2]sinks.Gap{a, b} }
	}
	with := func(change func(g *sinks.Gap)) sinks.Gap { g := gap; change(&g); return g }
	return map[string][2]Checkpoint{
		"nothing wrong":       {whole, whole},
		"a long session id":   {of(func(c *Checkpoint) { c.ID = long }), alone},
		"a long address":      {of(func(c *Checkpoint) { c.ResumeURL = "wss://" + long }), of(func(c *Checkpoint) { c.ResumeURL = "" })},
		"a negative seq":      {of(func(c *Checkpoint) { c.Seq = -1 }), alone},
		"a seq of 0":          {of(func(c *Checkpoint) { c.Seq = 0 }), of(func(c *Checkpoint) { c.Seq = 0 })},
		"the lowest seq":      {of(func(c *Checkpoint) { c.Seq = -1 << 63 }), alone},
		"the highest seq":     {of(func(c *Checkpoint) { c.Seq = 1 << 53 }), of(func(c *Checkpoint) { c.Seq = 1 << 53 })},
		"a seq beyond":        {of(func(c *Checkpoint) { c.Seq = 1<<53 + 1 }), alone},
		"a seq of 9e18":       {of(func(c *Checkpoint) { c.Seq = 9e18 }), alone},
		"an id with a space":  {of(func(c *Checkpoint) { c.ID = "a b" }), alone},
		"an id with a line":   {of(func(c *Checkpoint) { c.ID = "a\nb" }), alone},
		"an id not of ASCII":  {of(func(c *Checkpoint) { c.ID = "é" }), alone},
		"an id too long by 1": {of(func(c *Checkpoint) { c.ID = long[:wire.MaxSessionID+1] }), alone},
		"a gap of such an id": {of(gaps(with(func(g *sinks.Gap) { g.Session = "a b" }), gap)), of(gaps(gap, sinks.Gap{}))},
		"a gap at 9e18":       {of(gaps(gap, with(func(g *sinks.Gap) { g.Seq = 9e18 }))), of(gaps(gap, sinks.Gap{}))},
		"a gap after 9999":    {of(gaps(gap, with(func(g *sinks.Gap) { g.At = 253402300800000 }))), of(gaps(gap, sinks.Gap{}))},
		"a negative count":    {of(func(c *Checkpoint) { c.Shards = -1 }), alone},
		"a count too high":    {of(func(c *Checkpoint) { c.Shards = 1 << 40 }), alone},
		"a shard beyond":      {of(func(c *Checkpoint) { c.Shards = 3 }), alone},
		"no time":             {of(func(c *Checkpoint) { c.At = time.Time{} }), of(func(c *Checkpoint) { c.At = time.Time{} })},
		"a time before 1970":  {of(func(c *Checkpoint) { c.At = time.UnixMilli(-1) }), of(func(c *Checkpoint) { c.At = time.Time{} })},
		"a long gap":          {of(gaps(with(func(g *sinks.Gap) { g.Session = long }), gap)), of(gaps(gap, sinks.Gap{}))},
		"a gap of no session": {of(gaps(with(func(g *sinks.Gap) { g.Session = "" }), gap)), of(gaps(gap, sinks.Gap{}))},
		"a negative gap":      {of(gaps(gap, with(func(g *sinks.Gap) { g.Seq = -1 }))), of(gaps(gap, sinks.Gap{}))},
		"a gap before 1970":   {of(gaps(gap, with(func(g *sinks.Gap) { g.At = -1 }))), of(gaps(gap, sinks.Gap{}))},
		"a long reason": {
			of(gaps(with(func(g *sinks.Gap) { g.Reason = "a" + strings.Repeat("é", 5_000) }), gap)),
			of(gaps(with(func(g *sinks.Gap) { g.Reason = "a" + strings.Repeat("é", 255) }), gap)),
		},
		"all at their bounds": {
			of(func(c *Checkpoint) {
				c.ID, c.ResumeURL = long[:wire.MaxSessionID], long[:maxURL]
				c.Gaps[1] = gap
				c.Gaps[0].Session, c.Gaps[1].Session, c.Gaps[0].Reason, c.Gaps[1].Reason = long[:wire.MaxSessionID], long[:wire.MaxSessionID], long[:maxReason], long[:maxReason]
			}),
			of(func(c *Checkpoint) {
				c.ID, c.ResumeURL = long[:wire.MaxSessionID], long[:maxURL]
				c.Gaps[1] = gap
				c.Gaps[0].Session, c.Gaps[1].Session, c.Gaps[0].Reason, c.Gaps[1].Reason = long[:wire.MaxSessionID], long[:wire.MaxSessionID], long[:maxReason], long[:maxReason]
			}),
		},
		"all too much": {of(func(c *Checkpoint) {
			c.ID, c.Seq, c.Gaps = long, -5, [2]sinks.Gap{{Session: long, Seq: -1, At: -1, Reason: long}, {Reason: long}}
		}), {}},
	}
}

// testHostile checks that a store which open opens, each time anew over what was there, takes
// anything, and that what it cannot keep costs its shard alone.
func testHostile(t *testing.T, open func(t *testing.T) Store) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			save := func(changes map[int]Checkpoint, starts engine.Starts) {
				t.Helper()
				if err := s.Save(t.Context(), State{Checkpoints: changes, Starts: starts}); err != nil {
					t.Fatal(err)
				}
			}
			starts := engine.Starts{Count: 3, Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)}
			save(map[int]Checkpoint{3: checkpoint("before", 100), 4: checkpoint("b", 8)}, starts)
			save(map[int]Checkpoint{3: c[0], -1: checkpoint("c", 1), 1 << 16: checkpoint("d", 1)}, engine.Starts{Count: -1, Until: starts.Until})
			save(map[int]Checkpoint{5: checkpoint("e", 9)}, engine.Starts{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			want := State{Checkpoints: map[int]Checkpoint{3: c[1], 4: checkpoint("b", 8), 5: checkpoint("e", 9)}, Starts: starts}
			if kept := c[1]; kept.empty() {
				delete(want.Checkpoints, 3)
			}
			s = open(t)
			defer s.Close()
			got, err := s.Load(t.Context())
			if err != nil || !same(got, want) || len(got.Unreadable) > 0 {
				t.Errorf("loaded\n%+v, %v, want\n%+v", got, err, want)
			}
		})
	}
}

func TestMemoryHostile(t *testing.T) {
	stores := map[string]*Memory{}
	testHostile(t, func(t *testing.T) Store {
		if stores[t.Name()] == nil {
			stores[t.Name()] = new(Memory)
		}
		return stores[t.Name()]
	})
}

func TestFileHostile(t *testing.T) {
	dirs := map[string]string{}
	testHostile(t, func(t *testing.T) Store {
		if dirs[t.Name()] == "" {
			dirs[t.Name()] = t.TempDir()
		}
		var log bytes.Buffer
		f, err := OpenFile(dirs[t.Name()], slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || log.Len() > 0 {
			t.Fatalf("%v, logged %q", err, log.String())
		}
		return f
	})
}

// What an earlier version has written, or a bad disk, costs its shard alone, and those behind
// it count.
func TestFileUnreadable(t *testing.T) {
	long := checkpoint("a", 7)
	long.ID = strings.Repeat("x", 5_000)
	negative, high := checkpoint("a", 7), checkpoint("a", 7)
	negative.Seq, high.Seq = -1, 9e18
	good := checkpoint("good", 9)
	flipped := appendCheckpoint(nil, 3, checkpoint("new", 1))
	flipped[len(flipped)-5] ^= 1
	before := slices.Clip(appendCheckpoint(nil, 3, checkpoint("old", 5)))
	for _, tt := range []struct {
		name string
		text []byte // before a good record of shard 4
		want map[int]Checkpoint
	}{
		{"a long session id", appendCheckpoint(before, 3, long), map[int]Checkpoint{4: good}},
		{"a negative seq", appendCheckpoint(before, 3, negative), map[int]Checkpoint{4: good}},
		{"an advance to a negative seq", appendAdvance(before, 3, negative), map[int]Checkpoint{4: good}},
		{"a seq of 9e18", appendCheckpoint(before, 3, high), map[int]Checkpoint{4: good}},
		{"an advance to a seq of 9e18", appendAdvance(before, 3, high), map[int]Checkpoint{4: good}},
		{"an id with a space", appendCheckpoint(before, 3, checkpoint("a b", 7)), map[int]Checkpoint{4: good}},
		{"an advance of what was refused", appendAdvance(appendCheckpoint(before, 3, long), 3, good), map[int]Checkpoint{4: good}},
		{"a kind that is not known", record.End(append(record.Begin(bytes.Clone(before)), 9, 3), len(before)), map[int]Checkpoint{4: good}},
		{"starts that are damaged", appendNumbers(bytes.Clone(before), recordStarts, 1<<63, 5), map[int]Checkpoint{3: checkpoint("old", 5), 4: good}},
		{"a flipped bit", append(bytes.Clone(before), flipped...), map[int]Checkpoint{3: checkpoint("old", 5), 4: good}},
		// What began the session that goes on is lost: its seq is none of the one before.
		{"a flipped bit, and an advance", appendAdvance(append(bytes.Clone(before), flipped...), 3, checkpoint("new", 900)),
			map[int]Checkpoint{3: checkpoint("old", 5), 4: good}},
		{"zeros", append(bytes.Clone(before), make([]byte, 4096)...), map[int]Checkpoint{3: checkpoint("old", 5), 4: good}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			text := appendCheckpoint(append([]byte(magic), tt.text...), 4, good)
			if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
				t.Fatal(err)
			}
			listed, err := ReadFile(dir)
			if err != nil || !same(listed, State{Checkpoints: tt.want}) || len(listed.Unreadable) == 0 {
				t.Errorf("read %+v, %v", listed, err)
			}
			for round := range 2 {
				var log bytes.Buffer
				f, err := OpenFile(dir, slog.New(slog.NewTextHandler(&log, nil)))
				if err != nil {
					t.Fatal(err)
				}
				if got := loaded(t, f); !same(got, State{Checkpoints: tt.want}) {
					t.Errorf("loaded\n%+v, want\n%+v", got, tt.want)
				}
				if told := strings.Contains(log.String(), "the others count"); told != (round == 0) {
					t.Errorf("start %d: logged %q", round, log.String())
				}
				f.Close()
			}
			if kept, _ := os.ReadFile(filepath.Join(dir, badName)); !bytes.Equal(kept, text) {
				t.Errorf("kept %d bytes of %d", len(kept), len(text))
			}
		})
	}
}

// Bytes that look like records everywhere do not keep a start waiting.
func TestFileScanIsBounded(t *testing.T) {
	like := bytes.Repeat([]byte{0, 0, 15, 255, 1, 1, 1, 1, 1, 1}, 1<<20)
	budget := scanBudget
	if n := nextRecord(like, &budget); n != len(like) || budget > 0 {
		t.Errorf("%d bytes of %d are skipped, and %d of the budget are left", n, len(like), budget)
	}
}

// The keeper logs a session that cannot be stored once, removes what its shard had, keeps no
// event back over it, and stores the next session as ever.
func TestKeeperRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store, e := new(failing), new(fakeEngine)
		k := &Keeper{Store: store, Bot: 7, Log: slog.New(slog.NewTextHandler(&log, nil))}
		if _, _, err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := engine.Session{ID: "other", Seq: 1, Shards: 2}
		save := func(s engine.Session) map[int]engine.Session {
			t.Helper()
			e.set(map[int]engine.Session{0: s, 1: other}, engine.Starts{})
			for range 100 {
				time.Sleep(10 * time.Millisecond)
				if err := k.save(t.Context(), e, changed); err != nil {
					t.Fatal(err)
				}
			}
			got, _, err := (&Keeper{Store: store, Bot: 7, Log: quiet}).Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := engine.Session{ID: "a", Seq: 9, Shards: 2}
		save(first)
		long := engine.Session{ID: strings.Repeat("x", 5_000), Seq: 1, Shards: 2}
		saves := store.saves.Load()
		if got := save(long); !maps.Equal(got, map[int]engine.Session{1: other}) {
			t.Errorf("stored %+v", got)
		}
		if n := strings.Count(log.String(), "cannot be stored"); n != 1 || len(log.String()) > 1_000 {
			t.Errorf("logged %d times in %d bytes: %q", n, log.Len(), log.String()[:min(log.Len(), 1_000)])
		}
		if store.saves.Load() != saves+1 {
			t.Errorf("%d saves of one removal", store.saves.Load()-saves)
		}
		ctx, stop := context.WithCancel(t.Context())
		k.Wake()
		go k.Run(ctx, e)
		synctest.Wait()
		stop()
		synctest.Wait()
		if want := "0 " + long.ID; !slices.Contains(e.stored, want) {
			t.Error("the session's events are kept back")
		}
		if got := save(first); !maps.Equal(got, map[int]engine.Session{0: first, 1: other}) {
			t.Errorf("stored %+v", got)
		}
	})
}

// FuzzLoadShard reads anything as the hash of a shard: what it takes can be stored, as it is.
func FuzzLoadShard(f *testing.F) {
	f.Add(3, "a", "7", "wss://gateway.discord.gg", "16", "5", "1795000000000", "older", "3", "1795000000000", "closed by Discord")
	f.Add(3, "a", "-7", strings.Repeat("u", 2_000), "-1", "x", "-5", "older", "", "0", strings.Repeat("é", 2_000))
	f.Add(1<<16, "", "99999999999999999999", "", "", "", "", "", "1e9", "", "\xff")
	f.Fuzz(func(t *testing.T, shard int, session, seq, url, shards, bot, at, gap, gapSeq, gapAt, reason string) {
		s := State{Checkpoints: map[int]Checkpoint{}}
		err := new(Redis).loadShard(&s, shard, map[string]string{
			"session": session, "seq": seq, "url": url, "shards": shards, "bot": bot, "at": at,
			"gap_session": gap, "gap_seq": gapSeq, "gap_at": gapAt, "gap_reason": reason,
		})
		c, ok := s.Checkpoints[shard]
		if err != nil && ok {
			t.Fatalf("loaded %+v with %v", c, err)
		}
		if again, err := check(shard, c); ok && (err != nil || again != c) {
			t.Fatalf("loaded %+v, which is stored as %+v, %v", c, again, err)
		}
		if n := len(appendCheckpoint(nil, shard, c)); ok && n > maxRecord {
			t.Fatalf("a record of %d bytes", n)
		}
	})
}
