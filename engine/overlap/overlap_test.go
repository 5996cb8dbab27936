package overlap

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// slow is a sink that acknowledges when ack is called.
type slow struct {
	mu    sync.Mutex
	out   []string
	owed  int
	acked func(int)
}

func (s *slow) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		s.out = append(s.out, string(batch[i].Data))
	}
	s.owed += len(batch)
	s.acked = acked
	return nil
}

func (s *slow) Close() error { return nil }

// ack acknowledges up to n events.
func (s *slow) ack(n int) {
	s.mu.Lock()
	n = min(n, s.owed)
	s.owed -= n
	acked := s.acked
	s.mu.Unlock()
	if n > 0 {
		acked(n)
	}
}

// reference says in the plainest way what goes out.
type reference struct {
	older, next map[string]int
	out, kept   []string
	opened      bool
}

func (r *reference) take(side int32, data string) {
	switch {
	case side == 0:
		r.older[data]++
		r.out = append(r.out, data)
		if i := slices.Index(r.kept, data); i >= 0 {
			r.kept = slices.Delete(r.kept, i, i+1)
		}
	case r.next[data] < r.older[data]:
		r.next[data]++
	case r.opened:
		r.next[data]++
		r.out = append(r.out, data)
	default:
		r.next[data]++
		r.kept = append(r.kept, data)
	}
}

func (r *reference) open() {
	r.opened = true
	r.out = append(r.out, r.kept...)
}

// script runs steps, each of a byte, through a Filter and the reference: an event of either side, of few payloads, or an
// acknowledgement, or the end of a batch. The switch comes in the middle.
func script(t *testing.T, steps []byte) {
	inner := &slow{}
	f := New(inner)
	ref := &reference{older: map[string]int{}, next: map[string]int{}}
	ctx := t.Context()
	given, acked := 0, 0
	ack := func(n int) { acked += n }
	var batch []sinks.Event
	publish := func() {
		if len(batch) == 0 {
			return
		}
		given += len(batch)
		if err := f.Publish(ctx, batch, ack); err != nil {
			t.Fatal(err)
		}
		batch = nil
		if acked > given {
			t.Fatalf("%d events are acknowledged of %d", acked, given)
		}
	}
	add := func(side int32, data string) {
		batch = append(batch, sinks.Event{Type: []byte("X"), Data: []byte(data), Generation: side, Shard: int(data[0]), Seq: int64(given + len(batch) + 1)})
	}
	run := func(steps []byte, sides int32) {
		for _, b := range steps {
			data := fmt.Sprint(b >> 4)
			switch {
			case b&15 < 6:
				add(0, data)
				if sides&1 != 0 {
					ref.take(0, data)
				} else {
					batch = batch[:len(batch)-1]
				}
			case b&15 < 12:
				if sides&2 == 0 {
					continue
				}
				add(1, data)
				ref.take(1, data)
			case b&15 < 14:
				publish()
			default:
				inner.ack(int(b >> 4))
			}
		}
	}
	run(steps[:len(steps)/4], 1)
	ref.older = map[string]int{} // what came before the overlap is not compared
	publish()
	f.Begin(Options{Next: 1})
	run(steps[len(steps)/4:len(steps)/2], 3)
	publish()
	f.Stop()
	run(steps[len(steps)/2:3*len(steps)/4], 2)
	publish()
	if err := f.Open(ctx); err != nil {
		t.Fatal(err)
	}
	ref.open()
	run(steps[3*len(steps)/4:], 2)
	publish()
	if !slices.Equal(inner.out, ref.out) {
		t.Fatalf("went out:\n%s\nshould have:\n%s", strings.Join(inner.out, " "), strings.Join(ref.out, " "))
	}
	for data := range ref.next {
		// Of what came in the overlap; before it the older side alone counts.
		want := max(ref.older[data], ref.next[data])
		before := 0
		for _, b := range steps[:len(steps)/4] {
			if b&15 < 6 && fmt.Sprint(b>>4) == data {
				before++
			}
		}
		got := 0
		for _, out := range inner.out {
			if out == data {
				got++
			}
		}
		if got != want+before {
			t.Fatalf("%q went out %d times, not %d", data, got, want+before)
		}
	}
	inner.ack(1 << 20)
	if acked != given {
		t.Fatalf("%d events are acknowledged of %d", acked, given)
	}
	if seq, _, ok := f.First(1, int('1'), ""); ok {
		t.Fatalf("event %d is kept or not acknowledged", seq)
	}
}

func TestFilterIsTheReference(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		steps := make([]byte, 8+r.IntN(400))
		for i := range steps {
			steps[i] = byte(r.Uint32())
		}
		script(t, steps)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("\x00\x06\x0c\x0e\x10\x16\x1c\x1e\x20\x26\x2c\x2e"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		script(t, steps[:min(len(steps), 4000)])
	})
}

func event(generation int32, shard int, seq int64, data string) sinks.Event {
	return sinks.Event{Type: []byte("MESSAGE_CREATE"), Data: []byte(data), Generation: generation, Shard: shard, Seq: seq, Session: fmt.Sprint("s", shard)}
}

// give publishes events one by one, which the sink acknowledges.
func give(t *testing.T, f *Filter, inner *slow, events ...sinks.Event) {
	t.Helper()
	for i := range events {
		if err := f.Publish(t.Context(), events[i:i+1], func(int) {}); err != nil {
			t.Fatal(err)
		}
		inner.ack(1)
	}
}

// TestAgreed shows when both sides agree: not while one shows what the other does not, and not before that is a
// while ago.
func TestAgreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slow{}
		f := New(inner)
		if f.Agreed(0) {
			t.Fatal("they agree without an overlap")
		}
		f.Begin(Options{Next: 1, Patience: 4 * time.Second})
		if f.Agreed(2 * time.Second) {
			t.Fatal("they agree at once")
		}
		time.Sleep(2 * time.Second)
		if !f.Agreed(2 * time.Second) {
			t.Fatal("two that show nothing do not agree")
		}
		give(t, f, inner, event(0, 1, 1, "a"))
		if !f.Agreed(2 * time.Second) {
			t.Fatal("a moment's difference counts")
		}
		time.Sleep(1500 * time.Millisecond)
		if f.Agreed(2 * time.Second) {
			t.Fatal("they agree though one is late")
		}
		give(t, f, inner, event(1, 1, 1, "a"))
		if !f.Agreed(2 * time.Second) {
			t.Fatal("they do not agree on what both have shown")
		}
		give(t, f, inner, event(1, 1, 2, "b")) // the older one never shows it
		time.Sleep(5 * time.Second)
		if f.Agreed(2 * time.Second) {
			t.Fatal("they agree though one has shown more")
		}
		time.Sleep(2 * time.Second)
		if !f.Agreed(2 * time.Second) {
			t.Fatal("a difference counts for ever")
		}
		f.Restart()
		if f.Agreed(time.Second) {
			t.Fatal("Restart does not count")
		}
		if s := f.Status(); s.Agreed != 1 || s.Next != 1 || s.Older != 0 || s.Kept != 0 || s.Ahead != 0 {
			t.Fatalf("%+v", s)
		}
		if got := strings.Join(inner.out, " "); got != "a" {
			t.Fatalf("went out: %s", got)
		}
	})
}

// TestWhatBelongsToOneSession shows that READY and the like are not compared.
// An event that one side alone has shown is given up in time, though its payload repeats: it would be taken
// for one that the next generation alone has after Stop, or be published as one. Whichever side is the first to show the others.
func TestEqualPayloads(t *testing.T) {
	for _, alone := range []int32{0, 1} {
		for _, first := range []int32{0, 1} {
			t.Run(fmt.Sprintf("alone %d, first %d", alone, first), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					inner := &slow{}
					f := New(inner)
					f.Begin(Options{Next: 1})
					var seqs [2]int64
					show := func(side int32, data string) {
						seqs[side]++
						give(t, f, inner, event(side, 0, seqs[side], data))
					}
					show(alone, "x")
					for i := range 10 {
						time.Sleep(time.Second)
						for _, data := range []string{"x", fmt.Sprint(i)} {
							show(first, data)
							show(1-first, data)
						}
					}
					if s := f.Status(); s.Ahead != 0 || s.Kept != 0 || s.Older+s.Next != 1 || s.Agreed != 20 {
						t.Fatalf("%+v", s)
					}
					out := len(inner.out)
					f.Stop()
					if !f.Met() {
						t.Fatal("an event is waited for that does not come")
					}
					show(1, "x")
					f.Seal()
					if err := f.Open(t.Context()); err != nil {
						t.Fatal(err)
					}
					if got := inner.out[out:]; len(got) != 1 || got[0] != "x" {
						t.Fatalf("went out: %v", got)
					}
				})
			})
		}
	}
}

func TestWhatBelongsToOneSession(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	f.Begin(Options{Next: 1})
	named := func(generation int32, name, data string) sinks.Event {
		ev := event(generation, 0, 1, data)
		ev.Type = []byte(name)
		return ev
	}
	gap := named(1, sinks.GapEvent, "gap of next")
	gap.Gap = true
	give(t, f, inner, named(1, "READY", "r1"), named(1, "RESUMED", "r2"), named(1, "GUILD_MEMBERS_CHUNK", "r3"), gap, named(0, "READY", "r1"), named(0, "GUILD_MEMBERS_CHUNK", "r3"))
	if s := f.Status(); s.Kept != 0 || s.Ahead != 0 {
		t.Fatalf("%+v", s)
	}
	f.Stop()
	if err := f.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	give(t, f, inner, named(1, "READY", "r4"))
	if got := strings.Join(inner.out, " "); got != "r1 r3 r4" {
		t.Fatalf("went out: %s", got)
	}
}

// TestFirst shows where a checkpoint may stand.
func TestFirst(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	f.Begin(Options{Next: 1})
	first := func(shard int, want int64, behind ...int64) {
		t.Helper()
		if seq, done, _ := f.First(1, shard, fmt.Sprint("s", shard)); seq != want || !slices.Equal(done, behind) {
			t.Fatalf("the first of shard %d is %d, and %d are done; not %d and %d", shard, seq, done, want, behind)
		}
	}
	give(t, f, inner, event(1, 3, 7, "a"), event(1, 3, 8, "b"), event(1, 4, 9, "c"))
	first(3, 7)
	give(t, f, inner, event(0, 3, 1, "a"))
	first(3, 8)
	first(4, 9)
	f.Stop()
	give(t, f, inner, event(0, 3, 2, "d"), event(0, 3, 3, "e"), event(1, 3, 9, "e"), event(1, 3, 10, "x"), event(1, 3, 11, "d"))
	first(3, 8, 9, 11)
	give(t, f, inner, event(0, 3, 4, "x"))
	first(3, 8, 9, 10, 11)
	if _, _, ok := f.First(1, 3, "another session"); ok {
		t.Fatal("an event of another session is kept")
	}
	if err := f.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	first(3, 8, 9, 10, 11) // the sink has it, and has not acknowledged
	inner.ack(1)
	first(3, 0)
	first(4, 9)
	inner.ack(1)
	first(4, 0)
}

// TestFirstOfAnotherSession shows that what is done of a session does not count for the next one of the shard.
func TestFirstOfAnotherSession(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	f.Begin(Options{Next: 1})
	another := func(seq int64, data string) sinks.Event {
		ev := event(1, 3, seq, data)
		ev.Session = "another"
		return ev
	}
	give(t, f, inner, event(0, 3, 1, "b"), event(0, 3, 2, "d"), event(1, 3, 7, "a"), event(1, 3, 8, "b"))
	for range 2 {
		give(t, f, inner, another(2, "c"))
		if seq, done, ok := f.First(1, 3, "another"); seq != 2 || len(done) > 0 && !slices.Equal(done, []int64{3}) || !ok {
			t.Fatalf("the first is %d, and %d are done", seq, done)
		}
		give(t, f, inner, another(3, "d"))
	}
	if seq, done, ok := f.First(1, 3, "s3"); seq != 7 || len(done) > 0 || !ok {
		t.Fatalf("the first is %d, and %d are done", seq, done)
	}
}

// TestBound shows what happens when more is noted than there is memory for.
func TestBound(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	f.Begin(Options{Next: 1, Events: 4})
	for i := range 10 {
		give(t, f, inner, event(1, 0, int64(i+1), fmt.Sprint(i)))
	}
	if s := f.Status(); s.Kept != 4 || s.Next != 6 || s.Forgone != 6 {
		t.Fatalf("%+v", s)
	}
	f.Stop()
	if f.Overflowed() {
		t.Fatal("what was given up before Stop counts")
	}
	give(t, f, inner, event(1, 0, 11, "x"))
	if !f.Overflowed() {
		t.Fatal("what was given up after Stop does not count")
	}
	f.Resume()
	f.Begin(Options{Next: 1, Bytes: 2000})
	give(t, f, inner, event(1, 0, 1, strings.Repeat("x", 900)), event(1, 0, 2, strings.Repeat("y", 900)))
	if s := f.Status(); s.Kept != 1 || s.Forgone != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestPatienceAfterResume shows that the older side has all of its patience for what it was too late for because it was stopped.
func TestPatienceAfterResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slow{}
		f := New(inner)
		f.Begin(Options{Next: 1, Patience: 5 * time.Second})
		f.Stop()
		give(t, f, inner, event(1, 0, 1, "x"))
		time.Sleep(6 * time.Second)
		f.Resume()
		time.Sleep(4 * time.Second)
		give(t, f, inner, event(0, 0, 1, "x"))
		if s := f.Status(); s.Agreed != 1 || s.Next != 0 || s.Ahead != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestCancelAndEnd shows that a Filter passes everything again after an overlap, with acknowledgements in order.
func TestCancelAndEnd(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	acked := 0
	publish := func(ev sinks.Event) {
		if err := f.Publish(t.Context(), []sinks.Event{ev}, func(n int) { acked += n }); err != nil {
			t.Fatal(err)
		}
	}
	publish(event(0, 0, 1, "before")) // in flight
	f.Begin(Options{Next: 1})
	publish(event(1, 0, 1, "x"))
	if acked != 0 {
		t.Fatal("an event is acknowledged before an older one")
	}
	publish(event(0, 0, 2, "in"))
	f.Cancel()
	publish(event(1, 0, 2, "y"))
	if f.End() {
		t.Fatal("it ends though what came before it is in flight")
	}
	inner.ack(1)
	if acked != 2 {
		t.Fatalf("%d are acknowledged, not 2", acked)
	}
	f.End()
	publish(event(0, 0, 3, "after"))
	inner.ack(2)
	if acked != 5 {
		t.Fatalf("%d are acknowledged, not 5", acked)
	}
	publish(event(0, 0, 4, "end"))
	inner.ack(1)
	if !f.End() || f.Active() || acked != 6 {
		t.Fatalf("it has not ended: %d are acknowledged", acked)
	}
	if got := strings.Join(inner.out, " "); got != "before in after end" {
		t.Fatalf("went out: %s", got)
	}
}

// TestConcurrent has acknowledgements come while batches do, through whole overlaps; the race detector looks on.
func TestConcurrent(t *testing.T) {
	inner := &slow{}
	f := New(inner)
	stop := make(chan struct{})
	var acking sync.WaitGroup
	acking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				inner.ack(3)
			}
		}
	})
	var given, acked int
	var mu sync.Mutex
	publish := func(events ...sinks.Event) {
		mu.Lock()
		given += len(events)
		mu.Unlock()
		if err := f.Publish(t.Context(), events, func(n int) { mu.Lock(); acked += n; mu.Unlock() }); err != nil {
			t.Error(err)
		}
	}
	older, next, want := int32(0), int32(1), 0
	for round := range 50 {
		for f.Active() && !f.End() {
			publish(event(older, 0, 1, fmt.Sprint("idle", want)))
			want++
		}
		f.Begin(Options{Next: next})
		for i := range 100 {
			data := fmt.Sprint(round, " ", i)
			publish(event(older, 0, 1, data), event(next, 0, 1, data))
			want++
		}
		f.Stop()
		publish(event(next, 0, 1, fmt.Sprint("kept", round)))
		if err := f.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		publish(event(next, 0, 1, fmt.Sprint("open", round)))
		want += 2
		older, next = next, next+1
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		done := given == acked
		mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events are acknowledged of %d", acked, given)
		}
	}
	close(stop)
	acking.Wait()
	if len(inner.out) != want {
		t.Fatalf("%d events went out, not %d", len(inner.out), want)
	}
}

// TestAllocs shows that an event of an overlap allocates nothing.
func TestAllocs(t *testing.T) {
	inner := &counting{}
	f := New(inner)
	f.Begin(Options{Next: 1})
	data := make([]byte, 300)
	typ, taken := []byte("MESSAGE_CREATE"), inner.taken
	batch := make([]sinks.Event, 64)
	once := func() {
		for i := range batch {
			side := int32(i & 1)
			if i%4 >= 2 { // half of them come on the next side first
				side = 1 - side
			}
			batch[i] = sinks.Event{Type: typ, Data: data, Generation: side}
		}
		f.Publish(context.Background(), batch, taken)
	}
	for range 100 {
		once()
	}
	if allocs := testing.AllocsPerRun(100, once); allocs > 0 {
		t.Fatalf("%v allocations for %d events", allocs, len(batch))
	}
}

type counting struct{ acked int }

func (c *counting) taken(n int) { c.acked += n }

func (c *counting) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	acked(len(batch))
	return nil
}

func (c *counting) Close() error { return nil }
