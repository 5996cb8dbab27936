// Package tap shows events as they pass to whoever looks, and holds none of them up: what is above
// a rate is left out, and counted.
package tap

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sinks"
)

const (
	// maxTaps bounds those who look at once: each costs the event path its copies.
	maxTaps = 8
	// maxPending bounds the bytes that wait for one who looks.
	maxPending = 1 << 20
	// searchBytes is how much data is searched for a guild in a second, which takes some milliseconds.
	searchBytes = 32 << 20
)

// Filter says which events to show. The zero value is all of them, at DefaultRate.
type Filter struct {
	Events   []string // names; nil: all
	Shards   []int    // ids; nil: all
	Guild    uint64   // of which the event has the id; 0: any
	Rate     int      // events a second at most; 0: DefaultRate
	MaxBytes int      // an event with more data is shown without it; 0: DefaultMaxBytes
}

// Defaults and bounds of a Filter.
const (
	DefaultRate     = 100
	MaxRate         = 10_000
	DefaultMaxBytes = 64 << 10
	MaxMaxBytes     = maxPending / 2
)

// Sink is a sink before another one, which gets every event. While nobody looks it costs an atomic
// load a batch.
type Sink struct {
	sinks.Sink
	taps atomic.Pointer[[]*tap] // never changed, but replaced; nil: none
	mu   sync.Mutex             // of those who replace it

	timeout time.Duration // of a write
}

// New returns a Sink before inner.
func New(inner sinks.Sink) *Sink { return &Sink{Sink: inner, timeout: writeTimeout} }

// Publish shows the events to those who look, and gives them to the inner sink.
func (s *Sink) Publish(ctx context.Context, batch []sinks.Event, acked func(n int)) error {
	if taps := s.taps.Load(); taps != nil {
		now := time.Now()
		for _, t := range *taps {
			t.offer(batch, now)
		}
	}
	return s.Sink.Publish(ctx, batch, acked)
}

// add begins to show events; false: there are maxTaps already.
func (s *Sink) add(t *tap) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taps []*tap
	if old := s.taps.Load(); old != nil {
		taps = slices.Clone(*old)
	}
	if len(taps) == maxTaps {
		return false
	}
	taps = append(taps, t)
	s.taps.Store(&taps)
	return true
}

func (s *Sink) remove(t *tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taps := slices.DeleteFunc(slices.Clone(*s.taps.Load()), func(o *tap) bool { return o == t })
	if len(taps) == 0 {
		s.taps.Store(nil)
		return
	}
	s.taps.Store(&taps)
}

// tap is one who looks. offer is called by the publisher, take by another goroutine.
type tap struct {
	events   map[string]struct{}
	shards   map[int]struct{}
	guild    []byte // as an event of the guild has it
	guildID  []byte // as an event about the guild itself has it
	rate     float64
	maxBytes int

	// owned by the publisher
	at     time.Time
	tokens float64
	search float64 // bytes that may be searched

	mu      sync.Mutex // held for an append or a swap, never while something waits
	pending []byte     // lines
	skipped int64      // events that were left out since the last take
}

func newTap(f Filter, now time.Time) *tap {
	if f.Rate == 0 {
		f.Rate = DefaultRate
	}
	if f.MaxBytes == 0 {
		f.MaxBytes = DefaultMaxBytes
	}
	t := &tap{rate: float64(f.Rate), maxBytes: f.MaxBytes, at: now, tokens: float64(f.Rate), search: searchBytes}
	if f.Events != nil {
		t.events = make(map[string]struct{}, len(f.Events))
		for _, name := range f.Events {
			t.events[name] = struct{}{}
		}
	}
	if f.Shards != nil {
		t.shards = make(map[int]struct{}, len(f.Shards))
		for _, id := range f.Shards {
			t.shards[id] = struct{}{}
		}
	}
	if f.Guild != 0 {
		id := strconv.FormatUint(f.Guild, 10)
		t.guild, t.guildID = []byte(`"guild_id":"`+id+`"`), []byte(`"id":"`+id+`"`)
	}
	return t
}

// offer shows those of the events that the filter and the rate let through.
func (t *tap) offer(batch []sinks.Event, now time.Time) {
	if passed := now.Sub(t.at).Seconds(); passed > 0 {
		t.at = now
		t.tokens = min(t.rate, t.tokens+passed*t.rate)
		t.search = min(searchBytes, t.search+passed*searchBytes)
	}
	for i := range batch {
		ev := &batch[i]
		if t.events != nil {
			if _, ok := t.events[string(ev.Type)]; !ok {
				continue
			}
		}
		if t.shards != nil {
			if _, ok := t.shards[ev.Shard]; !ok {
				continue
			}
		}
		if t.tokens < 1 || t.guild != nil && t.search < float64(len(ev.Data)) {
			t.skip()
			continue
		}
		if t.guild != nil {
			t.search -= float64(len(ev.Data))
			if !bytes.Contains(ev.Data, t.guild) && !(bytes.HasPrefix(ev.Type, []byte("GUILD_")) && bytes.Contains(ev.Data, t.guildID)) {
				continue
			}
		}
		t.tokens--
		t.show(ev)
	}
}

func (t *tap) skip() {
	t.mu.Lock()
	t.skipped++
	t.mu.Unlock()
}

// show appends the event's line, which is skipped if too much waits.
func (t *tap) show(ev *sinks.Event) {
	data := ev.Data
	if len(data) > t.maxBytes {
		data = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending)+len(data)+len(ev.Type)+128 > maxPending {
		t.skipped++
		return
	}
	t.pending = appendLine(t.pending, ev, data)
}

// appendLine appends {"t":…,"shard":…,"s":…,"bytes":…,"d":…} and a newline. A name is checked by
// the engine, and data is JSON in one line, as Discord sent it. Without data there is no d.
func appendLine(dst []byte, ev *sinks.Event, data []byte) []byte {
	dst = append(dst, `{"t":"`...)
	dst = append(dst, ev.Type...)
	dst = append(dst, `","shard":`...)
	dst = strconv.AppendInt(dst, int64(ev.Shard), 10)
	dst = append(dst, `,"s":`...)
	_, seq := ev.Identity()
	dst = strconv.AppendInt(dst, seq, 10)
	dst = append(dst, `,"bytes":`...)
	dst = strconv.AppendInt(dst, int64(len(ev.Data)), 10)
	if data != nil {
		dst = append(dst, `,"d":`...)
		at := len(dst)
		dst = append(dst, data...)
		for i, b := range dst[at:] { // JSON has no line break but between tokens
			if b == '\n' || b == '\r' {
				dst[at+i] = ' '
			}
		}
	}
	return append(dst, '}', '\n')
}

// take returns what waits, in exchange for an empty buffer, and how many events were left out
// since the last time.
func (t *tap) take(empty []byte) (lines []byte, skipped int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines, skipped = t.pending, t.skipped
	t.pending, t.skipped = empty[:0], 0
	return lines, skipped
}
