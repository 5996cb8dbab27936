// This file plays a recording to a session.

package sim

import (
	"fmt"
)

// player is a session's place in a recording, guarded by session.mu. Event i of
// the recording has seq i+2. Whatever else is dispatched replaces a
// recorded event, so that the numbers of the others stay right.
type player struct {
	rec     *Recording
	instead map[int64][]byte // by seq: messages that took the place of a recorded one
	allowed int              // events that are due, at a rate
	seg     int              // of cache, -1 for none
	cache   [][]byte
}

func newPlayer(rec *Recording) *player {
	return &player{rec: rec, instead: make(map[int64][]byte), seg: -1}
}

// message returns event i, decoded.
func (p *player) message(i int) ([]byte, error) {
	seg := p.rec.segment(i)
	if seg != p.seg {
		msgs, err := p.rec.messages(seg)
		if err != nil {
			return nil, err
		}
		p.seg, p.cache = seg, msgs
	}
	return p.cache[i-p.rec.first[seg]], nil
}

// after returns the messages after seq. They are all still there.
func (p *player) after(s *session, seq int64) []replayed {
	var out []replayed
	for q := seq + 1; q <= s.seq; q++ {
		body := p.instead[q]
		if body == nil {
			var err error
			if body, err = p.message(int(q - 2)); err != nil {
				panic(err) // it was decoded once when it was made
			}
		}
		out = append(out, replayed{seq: q, body: body})
	}
	return out
}

// recorded reports whether the connection's compression is that of the
// recording, so that its stream has no history of its own.
func (c *conn) recorded() bool {
	rec := c.srv.opt.Recording
	return rec != nil && rec.compress == c.compress
}

// writeRecorded is called by the writer when its queue is empty: it writes the
// next piece of the recording, or has live events made when the rate is
// whatever the client reads. more says that something was done, ok that the
// connection lives.
func (c *conn) writeRecorded() (more, ok bool) {
	s := c.current()
	if s == nil || c.starved.Load() {
		return false, true
	}
	if c.srv.opt.Recording == nil {
		return s.flatOut(c), true
	}
	if c.srv.isHeld() {
		return false, true
	}
	from, n, frames, err := c.nextRecorded(s)
	if err != nil {
		c.srv.opt.Log.Error("recording", "conn", c.id, "err", err)
		c.drop()
		return false, false
	}
	if n == 0 {
		return false, true
	}
	if n < 0 {
		return true, true
	}
	if frames == nil { // messages, in wbuf
		return true, c.flush()
	}
	c.playNext = from + n
	if c.mute.Load() {
		c.seqs = c.seqs[:0]
		return true, true
	}
	c.noteWritten(s.log, c.seqs)
	c.seqs = c.seqs[:0]
	if err := c.writeRaw(frames); err != nil {
		c.drop()
		return false, false
	}
	return true, true
}

// pieceEvents is how many events are written at once.
const pieceEvents = 32

// nextRecorded takes the next n events for c, in order with everything that is
// dispatched to the session: as frames, or put into wbuf when the stream is not
// at a place where the frames fit. n is 0 when there are none, less when the
// queue has to be written first.
func (c *conn) nextRecorded(s *session) (from, n int, frames []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.play
	if s.ended || s.conn != c || p == nil {
		return 0, 0, nil, nil
	}
	rec := p.rec
	from = int(s.seq) - 1
	if from < 0 || from >= rec.Len() {
		return 0, 0, nil, nil
	}
	n = pieceEvents
	if c.srv.opt.Rate >= 0 {
		n = min(n, p.allowed)
	}
	if c.srv.opt.Poisson {
		n = min(n, 1)
	}
	seg := rec.segment(from)
	first, end := rec.bounds(seg)
	n = min(n, end-from)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.over {
		return 0, 0, nil, nil
	}
	if len(c.queue) > 0 {
		return 0, -1, nil, nil
	}
	if len(c.plan) > 0 {
		n = min(n, max(1, c.plan[0].after-c.events))
	}
	if n <= 0 {
		return 0, 0, nil, nil
	}
	c.seqLog = s.log
	if c.recorded() && c.split&splitFrames == 0 && (from == c.playNext || from == first) {
		frames = rec.slice(from, from+n)
	} else {
		c.playNext = -1
		for i := from; i < from+n; i++ {
			msg, err := p.message(i)
			if err != nil {
				return 0, 0, nil, fmt.Errorf("event %d: %w", i, err)
			}
			c.mu.Unlock() // appendMessage takes it
			fine := c.appendMessage(msg)
			c.mu.Lock()
			if !fine {
				return 0, 0, nil, nil
			}
		}
	}
	for i := range n {
		c.seqs = append(c.seqs, s.seq+1+int64(i))
	}
	l := c.srv.ledger
	l.with(func() {
		for i := from; i < from+n; i++ {
			l.eventLocked(s.log, rec.types[i], rec.hashes[i])
		}
	})
	s.seq += int64(n)
	p.allowed -= min(n, p.allowed)
	c.events += n
	for len(c.plan) > 0 && c.plan[0].after <= c.events && !c.closing {
		a := c.plan[0].action
		c.plan = c.plan[1:]
		c.actLocked(a)
	}
	return from, n, frames, nil
}
