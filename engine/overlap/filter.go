// This file is the filter before a sink: which events of an overlap go out.

// Package overlap lets the events of two generations of a bot's shards, which run beside each other while
// the bot is resharded, reach a sink as those of one.
//
// Discord gives each of them every event, under sessions of their own: nothing but the payload tells that two
// are one event. So for each a hash of name and data is counted, with a seed that nobody knows, on the side that it came on. The
// older generation leads: all of it goes out, and nothing of the next one before Open. An event of the next one is
// dropped if the older has shown it and kept otherwise, until the older shows it, too, or for Options.Patience: the
// older sessions are whole by themselves. When the older generation is closed, what is kept is what it
// has not shown. Open gives that to the sink; from then on an event of the next generation goes out unless the older one
// has shown it. So what goes out is, for each payload, the greater of the two counts, and in the
// order of the older generation, then of the next.
//
// What belongs to one session by its nature is not compared: READY, RESUMED, GUILD_MEMBERS_CHUNK and gaps, nor are the guilds that
// follow READY. Of the next generation it is dropped before Open. Equal payloads within Patience may be taken for each other, which
// changes neither how many go out nor their order: what one side alone has shown is given up in time, however often its
// payload repeats (pair).
//
// Where several processes share a bot, the shards of some classes alone are here (Options.Classes), of both generations, and
// may come and go: Compare and Leave say which.
//
// Memory is bounded by Options.Events and Options.Bytes. At the bound the oldest that is noted is given up, and counted in
// Status: before Stop that costs nothing but a longer overlap. Between Stop and Seal nothing may be given up:
// Overflowed then says that the switch must be called off. From Seal on nothing is: Publish waits.
//
// Begin, Stop, Seal, Open and Cancel are called by one goroutine at a time, and Publish by another; the other methods may be
// called by any. While there is no overlap, a batch costs some atomic operations.
package overlap

import (
	"context"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"sluice/sinks"
)

// Options say how two generations overlap.
type Options struct {
	Next int32 // sinks.Event.Generation of the next one
	// Classes is how many classes the shards of either generation form: those whose ids are equal modulo Classes have the
	// events of the same guilds. None is compared before Compare says so. 0: there are none, and all is compared.
	Classes  int
	Patience time.Duration // how long one side waits for the other to show an event; 0: 5 s
	Events   int           // bound of the events that are noted, on each side; 0: 262,144
	Bytes    int           // bound of the bytes of those that are kept; 0: 64 MiB
}

// Status is what an overlap has come to.
type Status struct {
	Agreed  int64 // events that both sides have shown
	Older   int64 // that the older one alone has shown, in Patience or until the bound
	Next    int64 // likewise the next one: they were not published, unless they were kept at Open
	Kept    int   // of the next one, that the older has not shown yet
	Ahead   int   // of the older one, that the next has not shown yet
	Opened  int   // events that Open has given to the sink
	Forgone int64 // of Older and Next: given up for want of memory
}

// Filter is a sink before another one.
type Filter struct {
	sinks.Sink
	acked    func(int) // that of Publish, which is the same each time
	ack      func(int) // acknowledge
	now      atomic.Pointer[overlap]
	passing  atomic.Bool  // Publish is within a call that began without an overlap
	inFlight atomic.Int64 // given to Sink without an overlap, and not acknowledged
}

// New returns a Filter before a sink.
func New(inner sinks.Sink) *Filter {
	f := &Filter{Sink: inner}
	f.ack = f.acknowledge
	return f
}

// Publish gives the inner sink what goes out.
func (f *Filter) Publish(ctx context.Context, batch []sinks.Event, acked func(n int)) error {
	if f.acked == nil {
		f.acked = acked
	}
	f.passing.Store(true)
	v := f.now.Load()
	if v == nil {
		f.inFlight.Add(int64(len(batch)))
		err := f.Sink.Publish(ctx, batch, f.ack)
		f.passing.Store(false)
		return err
	}
	f.passing.Store(false)
	return v.publish(ctx, batch)
}

// acknowledge takes the acknowledgements of the inner sink, which gives them one at a time.
func (f *Filter) acknowledge(n int) {
	if v := f.now.Load(); v != nil {
		v.acknowledge(n)
		return
	}
	f.acked(n)
	f.inFlight.Add(int64(-n))
	if v := f.now.Load(); v != nil { // it has begun meanwhile, and waits for what was before it
		v.acknowledge(0)
	}
}

// Begin begins an overlap. There is none.
func (f *Filter) Begin(o Options) {
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Events == 0 {
		o.Events = 256 << 10
	}
	if o.Bytes == 0 {
		o.Bytes = 64 << 20
	}
	v := &overlap{
		f: f, o: o, seed: maphash.MakeSeed(), began: time.Now(), turned: make(chan struct{}),
		apart: make([]bool, o.Classes), ahead: newTable(o.Events), kept: newTable(o.Events),
	}
	for class := range v.apart {
		v.apart[class] = true
	}
	f.now.Store(v)
}

// Active reports whether there is an overlap, or what is left of one.
func (f *Filter) Active() bool { return f.now.Load() != nil }

// Status returns what the overlap has come to; zero: there is none.
func (f *Filter) Status() Status {
	v := f.now.Load()
	if v == nil {
		return Status{}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.expire(v.since())
	s := v.status
	s.Kept, s.Ahead = v.kept.n, v.ahead.n
	return s
}

// Restart has Agreed count from now on.
func (f *Filter) Restart() {
	if v := f.now.Load(); v != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.differed = v.since()
	}
}

// Agreed reports whether both sides have shown the same for so long, but for what has come on one of them a moment ago.
func (f *Filter) Agreed(d time.Duration) bool {
	v := f.now.Load()
	if v == nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.since()
	v.expire(now)
	for _, t := range [...]*table{v.ahead, v.kept} {
		if at, ok := t.oldest(); ok && now-at > v.o.Patience/4 {
			return false
		}
	}
	return now-v.differed >= d
}

// Stop says that the older generation has shown all that it will, unless Resume is called.
func (f *Filter) Stop() { f.now.Load().turn(stopped) }

// Seal says that nothing of it comes any more, so that what comes of the next one and finds no room may wait.
func (f *Filter) Seal() { f.now.Load().turn(sealed) }

// Resume says that it goes on.
func (f *Filter) Resume() { f.now.Load().turn(compared) }

// Met reports whether the next generation has shown all that the older one has.
func (f *Filter) Met() bool {
	v := f.now.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ahead.n == 0
}

// Overflowed reports whether something that the next generation alone has shown was given up since Stop.
func (f *Filter) Overflowed() bool {
	v := f.now.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.overflowed
}

// First returns the first event of a session of a shard, if that is of the next generation, that is kept, or that the sink has not
// acknowledged since Open, and those behind it that are done, as the older generation has shown them, in ascending order. A checkpoint must lie before the first; who goes
// on from there must leave out the others.
func (f *Filter) First(generation int32, shard int, session string) (seq int64, done []int64, ok bool) {
	v := f.now.Load()
	if v == nil || v.o.Next != generation {
		return 0, nil, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if seq, ok = v.first(shard, session); !ok {
		return 0, nil, false
	}
	of := v.shard(shard)
	if of.session != session {
		return seq, nil, true
	}
	for _, s := range of.done {
		if s > seq {
			done = append(done, s)
		}
	}
	slices.Sort(done)
	return seq, done, true
}

// Open gives the inner sink what is kept, and lets the next generation's events go out. The older one has stopped.
func (f *Filter) Open(ctx context.Context) error {
	v := f.now.Load()
	for f.passing.Load() { // a batch from before Begin
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return v.open(ctx)
}

// Cancel ends the overlap: all events of the next generation are dropped that still come.
func (f *Filter) Cancel() { f.now.Load().turn(cancelled) }

// End ends it when nothing of the next generation comes any more after Cancel, or all that the older one has shown was
// shown by the next one, or is older than Patience. It returns false if that is not so yet.
func (f *Filter) End() bool {
	v := f.now.Load()
	return v == nil || v.end()
}
