// This file follows what Discord sends through a shard: bytes, frames,
// messages, payloads, events.

package engine

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"sluice/pool"
	"sluice/sinks"
	"sluice/wire"
)

// keptScratch bounds the buffers for inflated messages that are kept for the
// next message: a whole zstd block with room to spare. Larger ones come with
// the first guilds and are rare afterwards.
const keptScratch = 512 << 10

const (
	// handshakeMessage bounds a message before Identify or Resume is sent, in bytes: until
	// then only Hello, acknowledgements and the like can come.
	handshakeMessage = 64 << 10
	// turnWork is how many bytes, inflated, are worked through before the reader looks at
	// the clock and at other shards: some milliseconds. A message is not divided.
	turnWork = 1 << 20
	// sharedMessage is the largest that is inflated into a shared buffer, in bytes. Discord's are inflated to five to thirty
	// times; one that finds no room there grows like any other.
	sharedMessage = pool.SharedRoom / 24
)

// scratch holds the buffers that messages are inflated into. A shard borrows
// one for as long as it works on what has arrived, so that idle shards hold none.
// It is no bytebufferpool: that drops what is larger than most of what was put
// back, and a zstd block needs room for 128 KiB however small the message is.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// read is called by the reader after n bytes were read into s.frames.Space.
func (s *shard) read(now time.Time, n int) {
	s.frames.Advance(n)
	s.arrived(now, n)
	s.received(now)
}

// feed is called by the reader with bytes that were read, which are borrowed until
// it returns.
func (s *shard) feed(now time.Time, p []byte) {
	s.frames.Feed(p)
	s.arrived(now, len(p))
	s.received(now)
	s.frames.Keep()
}

// arrived notes that n bytes were read.
func (s *shard) arrived(now time.Time, n int) {
	s.beat.heard = true
	s.tally.wire += int64(n)
	s.readAt = s.queue.publisher.since(now)
}

// received works through the frames that have arrived, until none is whole or
// there is no room for another event, or it has been enough for one turn: then more is set, and
// the reader calls it again.
func (s *shard) received(now time.Time) {
	if s.suspect(now) && s.state().connected() {
		s.end(now, cause{kind: causeUnconfirmed}, nil)
		return
	}
	buf := scratch.Get().(*[]byte)
	s.shared = s.queue.publisher.buffers.Share()
	s.wanted = *s.env.opts.live.events.Load()
	s.more = false
	for work := 0; s.state().connected(); {
		if s.pauseIfFull(); s.paused {
			break
		}
		if work >= turnWork {
			s.more = true
			break
		}
		m, ok, err := s.frames.Next()
		if err != nil {
			s.broken(now, err)
			break
		}
		if !ok {
			break
		}
		switch m.Opcode {
		case ws.OpText, ws.OpBinary:
			n := len(m.Payload) + s.message(now, m, buf)
			work += n
			s.worked += n
		case ws.OpPing:
			s.out = wire.AppendFrame(s.out, ws.OpPong, m.Payload, s.mask())
		case ws.OpClose:
			s.closed(now, m.Payload)
		}
	}
	if s.inflater != nil {
		s.inflater.Release()
	}
	s.queue.publisher.buffers.Keep(s.shared)
	s.shared = nil
	if cap(*buf) <= keptScratch {
		scratch.Put(buf)
	}
	s.show()
}

// pauseIfFull stops reading while there is no room for an event. A
// shard without a session gets none, and goes on with its handshake: the sink may
// be unavailable for longer than a server that has said Hello waits.
func (s *shard) pauseIfFull() {
	if !s.paused && s.state() >= Identifying && s.queue.full() && s.queue.await(s) {
		s.paused, s.beat.excused = true, true
		s.counters.paused.Store(true)
	}
}

// closed ends the connection after a close frame of the peer.
func (s *shard) closed(now time.Time, payload []byte) {
	code, reason, err := wire.ParseClose(payload)
	if err != nil {
		s.broken(now, err)
		return
	}
	if reason != "" {
		err = errors.New(reason)
	}
	s.end(now, cause{causeClosed, code}, err)
}

// broken ends the connection because the peer broke the protocol or a stream.
func (s *shard) broken(now time.Time, err error) {
	code := wire.CloseInvalidPayload
	var perr *wire.ProtocolError
	switch {
	case errors.As(err, &perr):
		code = perr.Code
	case errors.Is(err, wire.ErrTooBig):
		code = wire.CloseTooBig
	}
	s.end(now, cause{causeBroken, code}, err)
}

// disconnected is called by the reader when the socket has ended.
func (s *shard) disconnected(now time.Time, err error) {
	if s.state().connected() {
		s.end(now, cause{kind: causeNetwork}, err)
	}
	s.hangup = true
}

// connectFailed is called by the reader when it could not connect.
func (s *shard) connectFailed(now time.Time, err error) {
	c := cause{kind: causeConnectFailed}
	var herr *wire.HandshakeError
	if errors.As(err, &herr) && herr.Status == 429 {
		c.kind = causeConnectRefused
	}
	s.end(now, c, err)
}

// message inflates a message, if it is compressed, and handles its payload. It returns how many bytes it has
// inflated. A small one is inflated to where its event stays; any other into buf, which grows, and is nil when an event has taken it.
func (s *shard) message(now time.Time, m wire.Message, buf *[]byte) (inflated int) {
	text := m.Payload
	compressed := s.inflater != nil && m.Opcode == ws.OpBinary // a text message is JSON
	if compressed {
		into := (*buf)[:0]
		small := len(m.Payload) <= sharedMessage
		if small {
			s.shared = s.queue.publisher.buffers.Room(s.shared)
			into = s.shared.Space()
		}
		var complete bool
		var err error
		text, complete, err = s.inflater.Inflate(into, m.Payload)
		if small = small && sameArray(text, into); !small && cap(text) > cap(*buf) { // it has grown
			*buf = text
		}
		if err != nil {
			s.broken(now, err)
			return len(text)
		}
		if !complete {
			return len(text)
		}
		if inflated = len(text); small {
			s.place = inflated
		} else if inflated > keptScratch && 2*inflated > cap(text) {
			s.whole = text
		}
	}
	s.tally.inflated += int64(len(text))
	var e wire.Envelope
	if err := wire.ParseEnvelope(text, &e); err != nil {
		if m.Opcode == ws.OpBinary && !compressed {
			err = fmt.Errorf("a binary message, which is none of compression = %q: %w", s.env.opts.Compression, err)
		}
		s.broken(now, err)
	} else {
		s.payload(now, &e)
	}
	s.place, s.whole = 0, nil
	if s.taken {
		s.taken, *buf = false, nil
	}
	return inflated
}

// sameArray reports whether two slices begin at the same place.
func sameArray(a, b []byte) bool { return cap(a) > 0 && cap(b) > 0 && &a[:1][0] == &b[:1][0] }

// payload handles one payload. Opcodes that it does not know are ignored, as
// Discord asks.
func (s *shard) payload(now time.Time, e *wire.Envelope) {
	if e.Op != wire.OpDispatch && len(e.Data) > wire.MaxControl {
		s.broken(now, fmt.Errorf("%w: d of op %d has %d bytes, %d are allowed", wire.ErrTooBig, e.Op, len(e.Data), wire.MaxControl))
		return
	}
	if e.Op == wire.OpDispatch {
		s.name = nameIndex(e.Type)
	}
	if s.packets != nil {
		s.packets.receive(e.Op, s.name)
	}
	switch e.Op {
	case wire.OpDispatch:
		s.dispatch(now, e)
	case wire.OpHeartbeat:
		if s.state() != Hello {
			s.sendHeartbeat(now)
		}
	case wire.OpHeartbeatACK:
		s.beat.unanswered = 0
		s.noteACK(now)
	case wire.OpHello:
		s.hello(now, e)
	case wire.OpReconnect:
		s.end(now, cause{kind: causeReconnect}, nil)
	case wire.OpInvalidSession:
		c := cause{kind: causeInvalidDrop}
		if wire.ParseInvalidSession(e.Data) {
			c.kind = causeInvalidKeep
		}
		s.end(now, c, nil)
	}
}

// hello starts the heartbeats and continues or begins the session.
func (s *shard) hello(now time.Time, e *wire.Envelope) {
	if s.state() != Hello {
		return
	}
	h, err := wire.ParseHello(e.Data)
	if err != nil {
		s.broken(now, err)
		return
	}
	s.startHeartbeat(now, h.HeartbeatInterval)
	if s.toResume {
		s.hostFailures = 0
	}
	if s.plan == nextResume {
		s.sendResume(now)
		return
	}
	s.to(IdentifyWait)
	s.sendIdentify(now)
}

// dispatch handles an event.
func (s *shard) dispatch(now time.Time, e *wire.Envelope) {
	if !validName(e.Type) {
		s.broken(now, fmt.Errorf("an event is called %.80q; a name is up to %d capital letters, digits and _", e.Type, maxName))
		return
	}
	state := s.state()
	switch state {
	case Ready, Identifying, Resuming:
		s.resumeBy = now.Add(resumeTimeout)
		if string(e.Type) == "READY" {
			if err := s.ready(now, e); err != nil {
				s.broken(now, err)
				return
			}
		} else if state == Identifying {
			return // belongs to no session that we know
		}
	default:
		return
	}
	resumed := state == Resuming && string(e.Type) == "RESUMED" // e is the sink's behind emit
	switch {
	case e.HasSeq && e.Seq <= s.session.last:
		s.tally.repeated++
		if s.repeats++; s.repeats == replayedEvents {
			s.log.Warn("duplicate events dropped", "seq", e.Seq, "last_seq", s.session.last)
		}
		if s.repeats > maxRepeats {
			s.end(now, cause{kind: causeOddSeq}, fmt.Errorf("%d events in a row with sequence numbers up to that of the last one, %d", s.repeats, s.session.last))
			return
		}
	case e.HasSeq && e.Seq-s.session.last > maxSeqJump:
		s.end(now, cause{kind: causeOddSeq}, fmt.Errorf("the sequence number jumps from %d to %d", s.session.last, e.Seq))
		return
	case s.unpersisted && s.hold(now, e):
		return
	case e.HasSeq && s.session.skips != nil && s.session.done(e.Seq):
		s.tally.repeated++
		s.session.last = e.Seq
	default:
		if s.unreported {
			s.reportGaps()
		}
		s.tally.lastEvent = s.readAt
		s.emit(e)
		if e.HasSeq {
			s.session.last = e.Seq
			s.resumeFailures, s.doubtful, s.repeats = 0, 0, 0
		}
	}
	if resumed {
		s.counters.resumes.Add(1)
		s.log.Info("resumed", "seq", s.session.last)
		s.open(now)
	}
}

const (
	// maxSeqJump is how far the sequence number may rise with one event: Discord's rises by
	// one. A number that a broken peer makes up would drop all that follows it as repeated.
	maxSeqJump = 1_000_000
	// maxRepeats in a row, and the session's numbers have begun anew: Discord's replay holds
	// a few events at most that had been published, replayedEvents of them perhaps.
	maxRepeats     = 10_000
	replayedEvents = 100
)

// maxName bounds an event's name in bytes. Sinks make streams and keys of it, and remember them.
const maxName = 64

// validName reports whether an event may be called so.
func validName(name []byte) bool {
	for _, c := range name {
		if (c < 'A' || c > 'Z') && c != '_' && (c < '0' || c > '9') {
			return false
		}
	}
	return 1 <= len(name) && len(name) <= maxName
}

// ready begins a session. The sequence number before Ready's own is where it
// starts, so that Ready is an event like others. A Ready that is replayed into
// the session that it began is just that; any other ends the session that there is, whose rest
// will not come.
func (s *shard) ready(now time.Time, e *wire.Envelope) error {
	r, err := wire.ParseReady(e.Data)
	if err != nil {
		return err
	}
	if !e.HasSeq || e.Seq < 1 || e.Seq > maxSeqJump {
		return fmt.Errorf("engine: READY has the sequence number %d; a session's begin with 1", e.Seq)
	}
	if s.session != nil {
		if s.session.id == r.SessionID && s.session.last-e.Seq <= replayedEvents {
			return nil
		}
		s.forget(now, "another session has begun in its place")
	}
	ses := newSession(r.SessionID, s.resumeURL(r.ResumeURL), e.Seq-1)
	ses.began = s.begins(now)
	s.setSession(ses)
	s.hostFailures, s.resumeFailures, s.doubtful, s.repeats = 0, 0, 0, 0
	s.sessionAt = now
	s.counters.sessions.Add(1)
	s.log.Info("ready", "guilds", r.Guilds)
	if s.state() == Ready {
		s.readyAt = now
	} else {
		s.open(now)
	}
	return nil
}

// begins returns what orders the session that begins now behind those before it: see sinks.Event.Began.
func (s *shard) begins(now time.Time) int64 {
	if s.epoch == 0 {
		return now.UnixNano()
	}
	s.begun++
	return s.epoch*1_000_000 + s.begun
}

// open opens the shard for commands.
func (s *shard) open(now time.Time) {
	s.readyAt = now
	s.to(Ready)
}

// emit hands an event on, unless the configuration filters it out.
func (s *shard) emit(e *wire.Envelope) {
	if !s.wants(e.Type) {
		s.tally.filtered++
		return
	}
	s.tally.events++
	s.queue.count(s.name)
	if e.HasSeq {
		s.session.lastQueued = e.Seq
	}
	s.session.seen = true
	s.push(sinks.Event{Shard: s.id, Session: s.session.id, Seq: e.Seq, Began: s.session.began, Epoch: s.epoch, Generation: s.gen.number}, s.session, e.Type, e.Data)
}

// push leaves an event in the queue, with copies of its name and data unless the buffer that they are in may go along.
// origin takes the acknowledgement.
func (s *shard) push(ev sinks.Event, origin *session, name, data []byte) {
	buffers := &s.queue.publisher.buffers
	n := len(name) + len(data)
	var buf *pool.Buffer
	var size int
	switch {
	case !ev.Gap && s.whole != nil:
		buf = pool.NewBuffer(s.whole)
		size = cap(buf.B)
		s.whole, s.taken = nil, true
		s.inflater.Forget()
	case !ev.Gap && s.place > 0:
		buf = s.shared
		buf.Add(s.place)
		size = s.place + s.place/3 // a quarter may stay free
		s.place = 0
	case !ev.Gap && s.shared != nil && n <= pool.SharedRoom: // a gap comes before the message whose place it would take
		s.shared = buffers.Room(s.shared)
		buf = s.shared
		b := append(append(buf.Add(n)[:0], name...), data...)
		name, data = b[:len(name)], b[len(name):]
		size = n + n/3
	default:
		buf = buffers.Get(n)
		buf.B = append(append(buf.B, name...), data...)
		name, data = buf.B[:len(name)], buf.B[len(name):]
		size = cap(buf.B)
	}
	ev.Type, ev.Data = name[:len(name):len(name)], data[:len(data):len(data)]
	s.queue.push(entry{ev, held{origin, s.queue, buf, uint32(size + eventOverhead), tickOf(s.readAt)}})
}

// eventOverhead is what an event costs in the ring beside its bytes.
const eventOverhead = 160

// wants reports whether events of this name are published.
func (s *shard) wants(name []byte) bool {
	if s.wanted == nil {
		return true
	}
	_, ok := s.wanted[string(name)]
	return ok
}
