// This file carries faults out on a connection: what the script and the seed
// say, at the right place of the stream.

package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"sluice/wire"
)

// planned is an action after so many events, or replayed events.
type planned struct {
	after  int
	action Action
}

// wish is what faults ask of the one who called moment.
type wish struct {
	delay   time.Duration // SlowReady
	invalid *bool         // refuse with op 9, resumable or not
	old     *Action       // what becomes of the old connection
}

// moment applies the faults of a moment.
func (c *conn) moment(m Moment) (w wish) {
	c.mu.Lock()
	shard, number, beats := c.shard, c.number, c.beats
	c.mu.Unlock()
	if shard < 0 {
		number = c.hostNumber
	}
	rules := c.srv.rules(m, c.host, shard, number, beats)
	if a, ok := c.early(m, shard, number); ok {
		rules = append(rules, Rule{Do: a})
	}
	for _, r := range rules {
		a := r.Do
		switch {
		case a.Kind == SlowReady:
			c.srv.noteFault(c.id, shard, a.Kind)
			w.delay += a.Delay
		case aboutOld.Has(a.Kind):
			c.srv.noteFault(c.id, shard, a.Kind)
			w.old = &a
		case (a.Kind == InvalidSession || a.Kind == InvalidResumable) && m >= OnIdentify && m <= OnResumeLive:
			c.srv.noteFault(c.id, shard, a.Kind)
			resumable := a.Kind == InvalidResumable
			w.invalid = &resumable
		default:
			c.later(r.After, func() { c.act(a) })
		}
	}
	return w
}

// rng returns the randomness of the faults of a connection.
func (srv *Server) faultRNG(shard, number int, salt uint64) *rand.Rand {
	return rand.New(rand.NewPCG(srv.opt.Faults.Seed, uint64(shard)<<40^uint64(number)<<8^salt))
}

// randomFaults reports whether random faults may begin now.
func (srv *Server) randomFaults() bool {
	f := &srv.opt.Faults
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return !srv.calm && (f.Until == 0 || time.Since(srv.started) < f.Until)
}

// early draws the fault that a connection meets before READY or RESUMED.
func (c *conn) early(m Moment, shard, number int) (Action, bool) {
	f := &c.srv.opt.Faults
	if f.Early <= 0 || m != OnIdentify && m != OnResume && m != BeforeHello || !c.srv.randomFaults() {
		return Action{}, false
	}
	// A third of the share falls on HELLO, where the shard is not known.
	share, salt, allowed := f.Early*2/3, uint64(1), f.kinds()
	if m == BeforeHello {
		share, salt = f.Early/3, 2
		// Nor the session, which a code such as 4009 would be about.
		allowed &^= Kinds(InvalidSession)
	}
	rng := c.srv.faultRNG(shard, number, salt)
	if rng.Float64() >= share {
		return Action{}, false
	}
	kinds := []Kind{CutFIN, CutRST, HalfOpen, CloseFrame, Reconnect, Truncate, Garbage, BadFrame, SplitFrames, SplitWrites}
	if m != BeforeHello {
		kinds = append(kinds, SlowReady, InvalidSession)
		if m == OnResume {
			kinds = append(kinds, InvalidResumable)
		}
	}
	return pick(rng, kinds, allowed)
}

func (f *Faults) kinds() KindSet {
	if f.Kinds == 0 {
		return AllKinds &^ Kinds(InvalidSession)
	}
	return f.Kinds
}

// pick draws one of kinds that is allowed.
func pick(rng *rand.Rand, kinds []Kind, allowed KindSet) (Action, bool) {
	kinds = slices.DeleteFunc(kinds, func(k Kind) bool { return !allowed.Has(k) })
	if len(kinds) == 0 {
		return Action{}, false
	}
	a := Action{Kind: kinds[rng.IntN(len(kinds))]}
	switch a.Kind {
	case CloseFrame:
		codes := []wire.CloseCode{1000, 1001, 1005, 1011, 1012, 4000, 4000, 4001, 4002, 4008}
		if allowed.Has(InvalidSession) {
			codes = append(codes, 4003, 4007, 4009)
		}
		a.Code = codes[rng.IntN(len(codes))]
	case SlowReady:
		a.Delay = time.Duration(rng.Int64N(int64(10 * time.Second)))
	}
	return a, true
}

// planFaultsLocked lays down what happens to a connection after so many events
// or so much time. Called at READY and RESUMED, with c.mu held.
func (c *conn) planFaultsLocked() {
	c.plan = c.plan[:0]
	for _, r := range c.srv.rules(AfterEvents, c.host, c.shard, c.number, 0) {
		if r.After > 0 {
			c.timers = append(c.timers, time.AfterFunc(r.After, func() { c.act(r.Do) }))
			continue
		}
		c.plan = append(c.plan, planned{c.events + r.N, r.Do})
	}
	f := &c.srv.opt.Faults
	if (f.EveryEvents > 0 || f.EveryPeriod > 0) && c.srv.randomFaults() {
		rng := c.srv.faultRNG(c.shard, c.number, 3)
		kinds := []Kind{CutFIN, CutRST, HalfOpen, SwallowACKs, Reconnect, InvalidSession, InvalidResumable, CloseFrame,
			Garbage, BadFrame, Truncate, SplitFrames, SplitWrites, PingFrame, AskHeartbeat}
		if n := f.EveryEvents; n > 0 {
			// The harmless kinds leave the connection alive: several in a row.
			for at, i := c.events, 0; i < 8; i++ {
				at += 1 + int(rng.ExpFloat64()*float64(n))
				if a, ok := pick(rng, slices.Clone(kinds), f.kinds()); ok {
					c.plan = append(c.plan, planned{at, a})
				}
			}
		}
		if f.EveryPeriod > 0 {
			var at time.Duration
			for range 8 {
				at += time.Duration(rng.ExpFloat64() * float64(f.EveryPeriod))
				if a, ok := pick(rng, slices.Clone(kinds), f.kinds()); ok {
					c.timers = append(c.timers, time.AfterFunc(at, func() {
						if c.srv.randomFaults() {
							c.act(a)
						}
					}))
				}
			}
		}
	}
	slices.SortStableFunc(c.plan, func(a, b planned) int { return cmp.Compare(a.after, b.after) })
}

// replayFaults returns the actions for a replay of n events.
func (c *conn) replayFaults(n int) (out []planned) {
	c.mu.Lock()
	shard, number := c.shard, c.number
	c.mu.Unlock()
	for _, r := range c.srv.rules(DuringReplay, c.host, shard, number, 0) {
		out = append(out, planned{r.N, r.Do})
	}
	return out
}

func (c *conn) act(a Action) {
	c.mu.Lock()
	c.actLocked(a)
	c.mu.Unlock()
}

// actLocked begins an action. What has its place in the stream goes into the
// queue. Locks of the session may be held, so that what needs them comes soon.
func (c *conn) actLocked(a Action) {
	if c.closing || c.over {
		return
	}
	c.srv.noteFault(c.id, c.shard, a.Kind)
	s := c.about
	switch a.Kind {
	case SwallowACKs:
		c.noACK.Store(true)
	case Reconnect:
		c.soon(c.reconnect)
	case AskHeartbeat:
		c.pushLocked(item{msg: []byte(beatMessage)})
	case PingFrame:
		c.pushLocked(item{frame: appendFrame(nil, ws.OpPing, true, []byte("still there?"))})
	case InvalidSession, InvalidResumable:
		c.soon(func() { c.invalidate(s, a.Kind == InvalidResumable) })
	case CloseFrame:
		c.closeForLocked(a.Code, a.Reason)
	default:
		last := a.Kind == CutFIN || a.Kind == CutRST || a.Kind == Truncate
		c.pushLocked(item{action: &a, last: last})
	}
}

// invalidate sends op 9. s is the session that the connection is about, nil
// when none was named on it; it can be one that is not attached at the moment.
// The socket stays open.
func (c *conn) invalidate(s *session, resumable bool) {
	msg := invalidMessage
	if resumable {
		msg = invalidResumable
	}
	if s == nil {
		c.send(msg)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.conn != nil && s.conn != c:
		return // it lives on another connection
	case !resumable:
		s.endLocked(EndInvalidated)
	case s.conn == c && !s.ended:
		s.detachLocked()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sess, c.state = nil, stateNew
	c.pushLocked(item{msg: []byte(msg)})
}

// perform does, on the writer, what has its place in the stream. It reports
// whether the writer goes on.
func (c *conn) perform(a *Action) bool {
	switch a.Kind {
	case CutFIN:
		c.cut(false)
		return false
	case CutRST:
		c.cut(true)
		return false
	case HalfOpen:
		c.mute.Store(true)
	case Truncate:
		whole := appendFrame(nil, ws.OpBinary, true, make([]byte, 1000))
		c.writeRaw(whole[:500])
		c.cut(false)
		return false
	case Garbage:
		op := ws.OpBinary
		// A reserved block type, in zstd and in deflate, that no decoder takes.
		payload := []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\xff\xff")
		if c.compress == compressNone {
			op, payload = ws.OpText, []byte(`{"t":"MESSAGE_CREATE","s":,"op":0,"d":{`)
		}
		if !c.mute.Load() && c.writeRaw(appendFrame(nil, op, true, payload)) != nil {
			c.drop()
			return false
		}
	case BadFrame:
		// Reserved opcode 3 with all reserved bits set.
		if !c.mute.Load() && c.writeRaw([]byte{0xF3, 0x04, 'o', 'o', 'p', 's'}) != nil {
			c.drop()
			return false
		}
	case SplitFrames, SplitWrites:
		if c.splitRNG == nil {
			c.splitRNG = rand.New(rand.NewPCG(c.srv.opt.Faults.Seed, uint64(c.id)))
		}
		if a.Kind == SplitFrames {
			c.split |= splitFrames
		} else {
			c.split |= splitWrites
		}
	}
	return true
}
