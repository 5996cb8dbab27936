// This file tests and measures the whole way of an event in memory, from the
// bytes that a socket had to the sink.

package engine

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zstd"

	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// discard is a sink that takes everything.
type discard struct{ events int }

func (d *discard) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	d.events += len(batch)
	acked(len(batch))
	return nil
}

func (d *discard) Close() error { return nil }

// recordedStream is what a server sends on one connection: a frame for each
// message, HELLO and READY first.
type recordedStream struct {
	hello, ready []byte
	events       [][]byte
	large        []byte // one of 8 MiB, after ready; then there are no events
	bare         []byte // the payloads of them all, one after the other
	before       int    // bytes of JSON before the events
	sizes        []int  // of the events' JSON, in bytes
	size         int64  // their mean
}

// record makes a stream of n events of about 0.75 kB, or of one of 8 MiB for 0.
func record(tb testing.TB, c wire.Compression, n int) (s recordedStream) {
	tb.Helper()
	var out bytes.Buffer
	var in interface {
		io.Writer
		Flush() error
	}
	switch c {
	case wire.CompressionZstd:
		// As Discord does (section 18 of the gateway's reference).
		enc, err := zstd.NewWriter(&out, zstd.WithWindowSize(1<<18), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))
		if err != nil {
			tb.Fatal(err)
		}
		in = enc
	case wire.CompressionZlib:
		in = zlib.NewWriter(&out)
	}
	frame := func(msg []byte) []byte {
		op := ws.OpText
		if in != nil {
			out.Reset()
			in.Write(msg)
			in.Flush()
			op, msg = ws.OpBinary, out.Bytes()
		}
		f := ws.NewFrame(op, true, bytes.Clone(msg))
		b, err := ws.CompileFrame(f)
		if err != nil {
			tb.Fatal(err)
		}
		s.bare = append(s.bare, msg...)
		return b
	}
	const hello = `{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"_trace":[]}}`
	const ready = `{"t":"READY","s":1,"op":0,"d":{"v":10,"session_id":"abc","resume_gateway_url":"wss://resume","guilds":[],"user":{"id":"1"}}}`
	s.hello = frame([]byte(hello))
	s.ready = frame([]byte(ready))
	s.before = len(hello) + len(ready)
	if n == 0 {
		s.large = frame(fmt.Appendf(nil, `{"t":"GUILD_CREATE","s":2,"op":0,"d":"%s"}`, words(8<<20)))
		return s
	}
	r := rand.New(rand.NewPCG(1, 2))
	for seq := 2; seq < n+2; seq++ {
		msg := fmt.Appendf(nil, `{"t":"MESSAGE_CREATE","s":%d,"op":0,"d":{"type":0,"tts":false,"timestamp":"2026-01-0%dT12:34:%02d.%06d+00:00",`+
			`"pinned":false,"nonce":"%d","mentions":[],"mention_roles":[],"mention_everyone":false,"member":{"roles":["%d","%d"],`+
			`"premium_since":null,"pending":false,"nick":null,"mute":false,"joined_at":"2021-05-06T07:08:09.123000+00:00","flags":0,`+
			`"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null},"id":"%d","flags":0,"embeds":[],"edited_timestamp":null,`+
			`"content":"%x é %x \"%x\"","components":[],"channel_id":"%d","author":{"username":"user%d","public_flags":0,"primary_guild":null,`+
			`"id":"%d","global_name":"Name %d","discriminator":"0","clan":null,"avatar":"%016x%016x"},"attachments":[],"guild_id":"%d"}}`,
			seq, 1+r.IntN(9), r.IntN(60), r.IntN(1e6), r.Uint64(), 100000000000000001+r.IntN(99), 100000000000000001+r.IntN(99), r.Uint64(),
			r.Uint64(), r.Uint32(), r.Uint64(), 113000000000000001+r.IntN(500), r.IntN(3000), 213000000000000001+r.IntN(3000), r.IntN(3000),
			r.Uint64(), r.Uint64(), 313000000000000001+r.IntN(100))
		s.size += int64(len(msg))
		s.sizes = append(s.sizes, len(msg))
		s.events = append(s.events, frame(msg))
	}
	s.size /= int64(n)
	return s
}

// path is a shard, its queue and a publisher that is run by hand, without sockets
// and goroutines.
type path struct {
	s         *shard
	sink      *discard
	publisher *publisher
	socket    [readBuffer]byte // what is read into
	now       time.Time
}

// newPath returns a path on which READY of the stream has arrived.
func newPath(tb testing.TB, c wire.Compression, stream *recordedStream) *path {
	tb.Helper()
	opts := Options{Token: "t", Compression: c}.withDefaults()
	env := &environment{
		opts: &opts, first: newGeneration(0, 1), counts: newEngineCounts(), packets: true,
		identify: newIdentifyQueue(1), gateway: &gatewayAddress{main: &url.URL{Scheme: "ws", Host: "resume"}}, fail: func(err error) { tb.Fatal(err) },
	}
	env.turns = env.identify
	env.inForce.Store(env.first)
	env.commandBytes.Store(commandShare(1))
	p := &path{s: newShard(0, env.first, env, resume.Session{}), sink: new(discard), now: time.Now()}
	p.publisher = newPublisher(p.sink, 0)
	p.s.queue, p.s.waker = p.publisher.newQueue(64<<20, false), &stubWaker{}
	p.s.begin()
	p.s.step(p.now)
	p.s.connected(p.now, nil)
	p.read(stream.hello)
	p.read(stream.ready)
	if p.s.state() != Ready {
		tb.Fatalf("the shard is %v", p.s.state())
	}
	p.drain()
	return p
}

// read has b arrive at the shard, in reads as a loop makes them.
func (p *path) read(b []byte) {
	for len(b) > 0 {
		n := copy(p.socket[:], b)
		b = b[n:]
		p.s.feed(p.now, p.socket[:n])
		for p.s.more {
			p.s.received(p.now)
		}
	}
}

// drain does what the reader and the publisher do after some reads.
func (p *path) drain() {
	p.s.queue.publish()
	for events := p.publisher.take(); len(events) > 0; events = p.publisher.take() {
		p.publisher.publish(context.Background(), events) // the sink takes everything
	}
}

func (p *path) close() { p.s.leave() }

var pathCompressions = []wire.Compression{wire.CompressionZstd, wire.CompressionZlib, wire.CompressionNone}

// plainPath returns a path without compression.
func plainPath(t *testing.T) *path {
	stream := record(t, wire.CompressionNone, 0)
	p := newPath(t, wire.CompressionNone, &stream)
	t.Cleanup(p.close)
	return p
}

// event has an event with the seq arrive.
func (p *path) event(seq int64) {
	p.text(fmt.Sprintf(`{"t":"TYPING_START","s":%d,"op":0,"d":{}}`, seq))
}

// text has a payload arrive.
func (p *path) text(payload string) {
	b, err := ws.CompileFrame(ws.NewTextFrame([]byte(payload)))
	if err != nil {
		panic(err) // an in-memory buffer takes everything
	}
	p.read(b)
}

// What Discord sends again although it was published is handed on once.
func TestRepeatedEventsDropped(t *testing.T) {
	p := plainPath(t)
	for _, seq := range []int64{2, 3, 3, 2, 1, 4, 4, 5} {
		p.event(seq)
	}
	p.drain()
	if want := 1 + 4; p.sink.events != want || p.s.counters.repeated.Load() != 4 {
		t.Errorf("%d events handed on and %d dropped, want %d and 4", p.sink.events, p.s.counters.repeated.Load(), want)
	}
	if seq := p.s.session.seq(); seq != 5 {
		t.Errorf("seq %d, want 5", seq)
	}
}

// A replay may take as long as it likes, as long as it goes on.
func TestSlowReplay(t *testing.T) {
	p := plainPath(t)
	p.s.disconnected(p.now, io.EOF)
	p.now = p.s.retryAt
	p.s.step(p.now)
	p.s.connected(p.now, nil)
	p.text(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}`)
	for seq := int64(2); seq < 10; seq++ {
		p.now = p.now.Add(resumeTimeout - time.Second)
		p.s.beat.unanswered, p.s.beat.at = 0, p.now.Add(time.Hour) // not what this is about
		p.s.step(p.now)
		if p.s.state() != Resuming {
			t.Fatalf("the shard is %v before seq %d", p.s.state(), seq)
		}
		p.event(seq)
	}
	p.now = p.now.Add(resumeTimeout)
	if p.s.step(p.now); p.s.state() != Backoff {
		t.Errorf("the shard is %v after a minute without an event", p.s.state())
	}
}

// While there is no room nothing is read: that the peer is silent then proves
// nothing, not even when reading has just begun again.
func TestPauseExcusesSilence(t *testing.T) {
	p := plainPath(t)
	beat := func() {
		p.now = p.s.beat.at
		p.s.step(p.now)
	}
	beat()
	p.s.beat.unanswered = 0
	p.s.paused = true
	for range 5 {
		beat()
	}
	p.s.paused = false
	if beat(); p.s.state() != Ready {
		t.Fatalf("the shard is %v at the first heartbeat after a pause", p.s.state())
	}
	p.s.beat.heard = true // events, and no acknowledgement yet
	if beat(); p.s.state() != Ready {
		t.Fatalf("the shard is %v although the heartbeats of the pause do not count", p.s.state())
	}
	if beat(); p.s.state() != Backoff {
		t.Errorf("the shard is %v after an interval of silence", p.s.state())
	}
}

// A session that is not persisted keeps its first event back for 10 s, and a pause for want of room that
// ended before does not stand for that.
func TestHoldBehindPause(t *testing.T) {
	p := plainPath(t)
	p.s.env.saver = newSaver(nil)
	p.text(`{"t":"READY","s":1,"op":0,"d":{"v":10,"session_id":"new","resume_gateway_url":"wss://resume","guilds":[],"user":{"id":"1"}}}`)
	p.s.disconnected(p.now, io.EOF) // while READY is held
	p.now = p.s.retryAt
	p.s.step(p.now)
	p.s.connected(p.now, nil)
	p.text(`{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}`)
	if p.s.state() != Resuming {
		t.Fatalf("the shard is %v", p.s.state())
	}
	p.s.paused = true
	p.s.step(p.now) // for another reason
	p.s.wake(wakeRoom)
	if p.s.step(p.now); p.s.paused {
		t.Fatal("still paused although there is room")
	}
	before := p.sink.events
	p.event(1)
	held := p.now
	for _, after := range []time.Duration{0, 10*time.Second - 1} {
		p.now = held.Add(after)
		p.s.step(p.now)
		if p.drain(); p.sink.events != before {
			t.Fatalf("%v later the event of a session that is not persisted is handed on", after)
		}
	}
	p.now = held.Add(10 * time.Second)
	p.s.step(p.now)
	if p.drain(); p.sink.events != before+1 {
		t.Errorf("%d events after 10 s, want 1", p.sink.events-before)
	}
}

// No buffer is kept because a large message once came.
func TestLargeBufferNotKept(t *testing.T) {
	stream := record(t, wire.CompressionZstd, 0)
	p := newPath(t, wire.CompressionZstd, &stream)
	defer p.close()
	p.read(stream.large)
	p.drain()
	if p.sink.events != 2 {
		t.Fatalf("%d events", p.sink.events)
	}
	if buf := scratch.Get().(*[]byte); cap(*buf) > keptScratch {
		t.Errorf("a buffer of %d KiB is kept", cap(*buf)>>10)
	}
}

// warmEvents go through a path before it is measured: more than the decoder's
// window with all its room, so that the memory is there and was touched.
const warmEvents = 1024

// publisherBatch is how many events the publisher takes at once where it is measured.
const publisherBatch = 32

// turn sends the events from to to along the path, a batch at a time.
func (p *path) turn(stream *recordedStream, from, to int) {
	for ; from < to; from += publisherBatch {
		for _, frame := range stream.events[from:min(from+publisherBatch, to)] {
			p.read(frame)
		}
		p.drain()
	}
}

// bareDecoder is what the path is held against: the zstd decoder alone, as the
// path has it, which reads its stream by the message.
type bareDecoder struct {
	dec *zstd.Decoder
	buf []byte
}

func newBareDecoder(tb testing.TB, stream *recordedStream) *bareDecoder {
	tb.Helper()
	// The reader's type is hidden: a *bytes.Reader is decoded in one go.
	dec, err := zstd.NewReader(struct{ io.Reader }{bytes.NewReader(stream.bare)},
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		tb.Fatal(err)
	}
	d := &bareDecoder{dec, make([]byte, 4<<10)}
	d.read(tb, stream.before)
	return d
}

func (d *bareDecoder) read(tb testing.TB, n int) {
	if _, err := io.ReadFull(d.dec, d.buf[:n]); err != nil {
		tb.Fatal(err)
	}
}

// turn reads the events from to to.
func (d *bareDecoder) turn(tb testing.TB, stream *recordedStream, from, to int) {
	for _, n := range stream.sizes[from:to] {
		d.read(tb, n)
	}
}

// BenchmarkPath measures an event's way in memory beside the bare decoder over
// the same stream: the ratio is what the gateway adds. Both are made anew for
// every stream, and warmed. The last benchmark, by turns, tells the ratio
// within one run, where what else the machine does meets both; its ns/op is
// that of both together.
func BenchmarkPath(b *testing.B) {
	const events = 4096
	for _, c := range pathCompressions {
		stream := record(b, c, events)
		b.Run(c.String()+"/path", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(stream.size)
			var p *path
			for i := 0; b.Loop(); i++ {
				at := warmEvents + i%(events-warmEvents)
				if at == warmEvents {
					b.StopTimer()
					if p != nil {
						p.close()
					}
					p = newPath(b, c, &stream)
					p.turn(&stream, 0, at)
					b.StartTimer()
				}
				p.read(stream.events[at])
				if at%publisherBatch == publisherBatch-1 {
					p.drain()
				}
			}
			p.close()
		})
	}
	stream := record(b, wire.CompressionZstd, events)
	b.Run("zstd-stream/bare decoder", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(stream.size)
		var bare *bareDecoder
		for i := 0; b.Loop(); i++ {
			at := warmEvents + i%(events-warmEvents)
			if at == warmEvents {
				b.StopTimer()
				if bare != nil {
					bare.dec.Close()
				}
				bare = newBareDecoder(b, &stream)
				bare.turn(b, &stream, 0, at)
				b.StartTimer()
			}
			bare.read(b, stream.sizes[at])
		}
		bare.dec.Close()
	})
	b.Run("zstd-stream/by turns", func(b *testing.B) {
		b.SetBytes(stream.size)
		var p *path
		var bare *bareDecoder
		var onPath, onBare time.Duration
		// Each has a half of the events, and then the other's: what one has
		// just decoded the processor would predict for the other.
		const half = (events - warmEvents) / 2
		var pathAt, bareAt int
		for i := 0; i < b.N; i += publisherBatch {
			if i%half == 0 {
				b.StopTimer()
				if p != nil {
					p.close()
					bare.dec.Close()
				}
				pathAt, bareAt = warmEvents+i/half%2*half, warmEvents+(i/half+1)%2*half
				p = newPath(b, wire.CompressionZstd, &stream)
				p.turn(&stream, 0, pathAt)
				bare = newBareDecoder(b, &stream)
				bare.turn(b, &stream, 0, bareAt)
				b.StartTimer()
			}
			start := time.Now()
			p.turn(&stream, pathAt, pathAt+publisherBatch)
			middle := time.Now()
			bare.turn(b, &stream, bareAt, bareAt+publisherBatch)
			onPath += middle.Sub(start)
			onBare += time.Since(middle)
			pathAt += publisherBatch
			bareAt += publisherBatch
		}
		p.close()
		bare.dec.Close()
		n := float64((b.N + publisherBatch - 1) / publisherBatch * publisherBatch)
		b.ReportMetric(float64(onPath)/n, "path-ns/event")
		b.ReportMetric(float64(onBare)/n, "bare-ns/event")
		b.ReportMetric(float64(onPath)/float64(onBare), "path/bare")
	})
}
