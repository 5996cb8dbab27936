// This file is the side of the sink that the publisher calls: it turns events into
// batches of a script's arguments, for the writer.

package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/broker"
)

const (
	// slots is how many batches may wait for Redis' acknowledgement, and so how
	// many are sent together when answers take long.
	slots = 8
	// A stream is trimmed with so many entries or so much time, whichever comes
	// first: with every one, trimming costs a sixth of adding (BenchmarkWrite).
	trimEntries = 1000
	trimPause   = time.Second
)

// Sink writes events to Redis Streams. It implements sinks.Opener.
type Sink struct {
	o       Options
	script  string
	id      string // in the names of the offsets
	free    chan *batch
	filled  chan *batch
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	start   sync.Once // of the writer
	started atomic.Bool
	stopped sync.WaitGroup
	writer  writer

	// owned by Publish
	streams map[string]*stream
	offsets map[string]*offset // by hash tag; one, "", outside of a cluster
	key     []byte

	begin   sync.Once
	begun   chan struct{} // closed when Redis was first reached
	cluster bool          // set before that

	figures          *broker.Figures
	given            given
	repeated, undone atomic.Int64
	excluded         atomic.Int64 // events of shards that are another's

	claims   sync.Mutex
	claimer  rueidis.Client // nil: not connected
	lastLine atomic.Int64   // Unix time in nanoseconds, of the last line about events dead-lettered
}

// stream is a stream that the sink has written to.
type stream struct {
	name    string
	offset  *offset
	added   int // entries since it was trimmed
	trimmed time.Time
}

// offset counts the entries that are written behind one key.
type offset struct {
	key          string
	positionsKey string // of the hash of positions

	// owned by the writer
	written   int64
	ahead     int64 // in the commands that are in flight
	sent      int64 // where it has ever been sent to; it is nowhere beyond
	mended    int   // round in which it, or the positions, was last repaired
	unsure    int   // round in which it was last unknown whether all of a command is written
	positions map[int]*shardPositions
	journal   journal
}

// batch is the events of one call of Publish.
type batch struct {
	events []sinks.Event // borrowed
	at     time.Time
	acked  func(n int)
	text   []byte // holds the arguments
	groups []group
	used   int  // of groups
	shared bool // a connection that has failed may still read text
}

// group is the part of a batch behind one offset. Its slices are parallel but for
// args, of which each entry has as many as there are fields, and one.
type group struct {
	batch   *batch
	offset  *offset
	keys    []string // the streams
	args    []string
	entries []int32 // indexes in the batch's events
	trims   []string
	tried   int // how many of the first entries were sent before
}

// New returns a Sink. The error is of options that can't be right.
func New(o Options) (*Sink, error) {
	switch {
	case len(o.Client.InitAddress) == 0:
		return nil, errors.New("redis: no address of Redis is given")
	case o.Body == nil || o.Log == nil:
		return nil, errors.New("redis: Options.Body and Options.Log are required")
	case o.Owner != "" && (o.Bot == "" || !isName(o.Owner)):
		return nil, errors.New("redis: Options.Owner is not alphanumeric, or Options.Bot is not set")
	}
	var id [8]byte
	rand.Read(id[:])
	ctx, stop := context.WithCancel(context.Background())
	s := &Sink{
		o: o, script: newScript(o.Fields), id: hex.EncodeToString(id[:]), ctx: ctx, stop: stop,
		free: make(chan *batch, slots), filled: make(chan *batch, slots),
		begun: make(chan struct{}), streams: make(map[string]*stream), offsets: make(map[string]*offset),
		figures: broker.NewFigures(DeadLetterReasons, o.DeadLetter),
	}
	s.o.Client.DialCtxFn = counted(dialOf(&o.Client), &s.figures.Connections)
	for range slots {
		s.free <- new(batch)
	}
	s.writer.init(s)
	return s, nil
}

// Open tries Redis once. After nil the connection is there and is kept. A *ConfigError is a
// mistake that waiting does not mend; after any other error, which may be gone the next time, the
// caller may call Open again, or just Publish.
func (s *Sink) Open(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if s.started.Load() {
		return nil
	}
	if err := s.writer.connect(ctx); err != nil {
		if ctx.Err() == nil {
			s.figures.Lost(s.writer.outage.Tried, explain(err))
		}
		return err
	}
	if s.ctx.Err() != nil {
		s.writer.disconnect()
		return errClosed
	}
	s.start.Do(s.run)
	return nil
}

var errClosed = errors.New("redis: the sink is closed")

// run starts the writer.
func (s *Sink) run() {
	s.started.Store(true)
	s.stopped.Go(func() { s.writer.run(s.ctx) })
}

// Publish hands the events to the writer. It waits while as many batches as there
// are slots are with Redis. It fails only when ctx ends.
func (s *Sink) Publish(ctx context.Context, events []sinks.Event, acked func(n int)) error {
	if len(events) == 0 {
		return nil
	}
	s.given.add(time.Now(), len(events))
	s.start.Do(s.run)
	select {
	case <-s.begun:
	case <-ctx.Done():
		s.given.drop()
		return fmt.Errorf("redis: %w", context.Cause(ctx))
	}
	var b *batch
	select {
	case b = <-s.free:
	case <-ctx.Done():
		s.given.drop()
		return fmt.Errorf("redis: %w", context.Cause(ctx))
	}
	b.at, b.acked, b.events = time.Now(), acked, events
	for i := range events {
		s.add(b, int32(i))
	}
	s.filled <- b // has room for all
	return nil
}

// add appends event i to its group.
func (s *Sink) add(b *batch, i int32) {
	ev := &b.events[i]
	start := len(b.text)
	text, err := s.o.Body(b.text, ev)
	if err != nil {
		s.deadLetter(ev, notEncodable, err)
		return
	}
	b.text = text
	body := rueidis.BinaryString(b.text[start:])
	st := s.streamOf(ev)
	g := b.group(st.offset)
	g.keys = append(g.keys, st.name)
	g.entries = append(g.entries, i)
	g.args = append(g.args, body)
	session, seq := ev.Identity()
	for _, f := range s.o.Fields {
		start := len(b.text)
		switch f {
		case FieldEvent:
			b.text = append(b.text, ev.Type...)
		case FieldShard:
			b.text = strconv.AppendInt(b.text, int64(ev.Shard), 10)
		case FieldSession:
			b.text = append(b.text, session...)
		case FieldSeq:
			b.text = strconv.AppendInt(b.text, seq, 10)
		case FieldEpoch:
			b.text = strconv.AppendInt(b.text, ev.Epoch, 10)
		}
		g.args = append(g.args, rueidis.BinaryString(b.text[start:]))
	}
	if st.added++; st.added >= trimEntries || b.at.Sub(st.trimmed) >= trimPause {
		g.trims = append(g.trims, st.name)
		st.added, st.trimmed = 0, b.at
	}
}

// streamOf returns the stream that an event goes to.
func (s *Sink) streamOf(ev *sinks.Event) *stream {
	key := ev.Type
	if s.o.Stream != nil {
		s.key = s.o.Stream(s.key[:0], ev)
		key = s.key
	}
	st := s.streams[string(key)]
	if st == nil {
		if len(s.streams) >= maxStreams {
			clear(s.streams) // names that somebody makes up; the others are trimmed once more
		}
		st = &stream{name: string(key)}
		tag := ""
		if s.cluster {
			tag = hashTag(st.name)
		}
		if s.offsets[tag] == nil {
			s.offsets[tag] = &offset{key: ownKey("fence", s.id, tag), positionsKey: positionsKey(s.o.Bot, tag), positions: make(map[int]*shardPositions)}
		}
		st.offset = s.offsets[tag]
		s.streams[st.name] = st
	}
	return st
}

// maxStreams bounds the streams that are remembered, for when they were trimmed. Discord has some
// hundred events.
const maxStreams = 4096

// positionsKey returns the name of the hash of a bot's positions.
func positionsKey(bot, tag string) string { return ownKey("seen", bot, tag) }

// ownKey returns the name of a key of the sink's own, in the slot of the streams with that
// hash tag.
func ownKey(kind, id, tag string) string {
	if tag == "" {
		return "sluice:" + kind + ":" + id
	}
	return "sluice:" + kind + ":" + id + ":{" + tag + "}"
}

// hashTag returns the part of a key that decides on its slot in a cluster.
func hashTag(key string) string {
	if _, after, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(after, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// logPause is the least time between two lines of the log about events that are
// dead-lettered.
const logPause = 10 * time.Second

// deadLetter gives up an event for good. Publish and the writer call it.
func (s *Sink) deadLetter(ev *sinks.Event, reason string, err error) {
	all := s.figures.DeadLetter(ev, reason, err)
	now := time.Now().UnixNano()
	if last := s.lastLine.Load(); now-last < int64(logPause) || !s.lastLine.CompareAndSwap(last, now) {
		return
	}
	s.o.Log.Error("Redis refuses an event for good; dead-lettered",
		"event", string(ev.Type), "shard", ev.Shard, "seq", ev.Seq, "bytes", len(ev.Data), "error", explain(err), "so_far", all)
}

// Close ends the writer, whatever it has not had acknowledged, and the connections.
// Publish is not called any more.
func (s *Sink) Close() error {
	s.stop()
	s.stopped.Wait()
	s.claims.Lock()
	defer s.claims.Unlock()
	if s.claimer != nil {
		s.claimer.Close()
		s.claimer = nil
	}
	return nil
}

// group returns the batch's group behind an offset.
func (b *batch) group(f *offset) *group {
	for i := range b.groups[:b.used] {
		if b.groups[i].offset == f {
			return &b.groups[i]
		}
	}
	if b.used == len(b.groups) {
		b.groups = append(b.groups, group{})
	}
	b.used++
	g := &b.groups[b.used-1]
	g.batch, g.offset = b, f
	return g
}

// keptText bounds the memory that a slot keeps for the next batch.
const keptText = 2 << 20

// reset makes the batch ready for other events.
func (b *batch) reset() {
	b.events, b.acked = nil, nil
	if b.text = b.text[:0]; cap(b.text) > keptText || b.shared {
		b.text, b.shared = nil, false
	}
	for i := range b.groups[:b.used] {
		g := &b.groups[i]
		clear(g.args) // no pointers into a buffer that was given up
		*g = group{keys: g.keys[:0], args: g.args[:0], entries: g.entries[:0], trims: g.trims[:0]}
	}
	b.used = 0
}
