// This file is a shard: its state machine, driven by a reader. What Discord
// sends is in receive.go, the heartbeat in heartbeat.go.

package engine

import (
	crand "crypto/rand"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"sluice/engine/overlap"
	"sluice/pool"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

const (
	helloTimeout = 20 * time.Second
	// resumeTimeout is how long a resume may go without a replayed event. That of an
	// Identify is Options.ReadyTimeout: in an outage Discord wants clients to wait.
	resumeTimeout = 60 * time.Second
	// sessionHeld is how long a session must have lasted for the next Identify to be the first.
	sessionHeld = 10 * time.Minute
)

// environment is what the shards of an engine share. It is fixed before the
// first shard starts.
type environment struct {
	opts     *Options
	first    *generation    // that Run begins with
	arriving *wire.Budget   // of the messages that have not arrived whole
	bounds   wire.Bounds    // of what is inflated; Arriving is arriving
	identify *identifyQueue // of this process
	turns    IdentifyQueue  // identify, or Options.Identify
	gateway  *gatewayAddress
	saver    *saver // nil: Options.Checkpoints is
	counts   *engineCounts
	pulse    pulse
	drop     func(s *shard, why string) // deposes one that is another's
	inForce  atomic.Pointer[generation] // the shards of it are published and persisted
	overlap  *overlap.Filter            // before the sink; nil in tests
	followed atomic.Pointer[[]byte]     // the presence that any shard has sent last, for those of the next generation; nil: none, or one that no Identify takes
	packets  bool                       // are counted
	fail     func(error)                // ends the engine
	fatal    func(*FatalError)          // decides what follows the end of one shard

	commandBytes atomic.Int64 // that the pending commands of one shard may take
}

// shard is one shard's connection to Discord. It does no I/O itself: its owner,
// a goroutine of the reader, calls its methods, writes out and hangs up.
type shard struct {
	// fixed
	id    int
	gen   *generation
	epoch int64 // of the ownership under which it is run; 0: in no fleet
	env   *environment
	log   *slog.Logger

	// for any goroutine
	wakeups  wakeups
	commands commandQueue
	asks     asks
	waker    waker  // the reader's, set before the shard begins
	queue    *queue // likewise
	counters shardCounters
	packets  *packetCounts           // nil: they are not counted
	current  atomic.Pointer[session] // session, for others than the owner
	gaps     atomic.Pointer[[]*gap]  // that the sink may not have, oldest first; written by the owner, anew each time
	leaving  atomic.Bool             // to be removed
	ends     atomic.Bool             // nobody resumes its session: it ends with the shard
	given    bool                    // Part.Commit was given its session, which may be in force some day; under shardSet.mu
	deposed  atomic.Bool             // nothing of it is published; written by the publisher's depose
	passed   bool                    // its barrier is; the publisher's
	released chan struct{}           // closed by the reader, which has let go of the shard and its connection
	drained  chan struct{}           // closed by the publisher: nothing more is read, and the sink has acknowledged all of it

	// owned by the reader, for the life of the shard
	tally       tally
	name        int   // place of the name of the event that is worked on; see nameIndex
	readAt      int64 // when what is worked through was read from the socket; see publisher.since
	rand        *rand.Rand
	session     *session
	unreported  bool             // of gaps, some are not published
	unpersisted bool             // session may not be persisted yet
	plan        nextStep         // what the next connection is for
	moved       []waitingCommand // when it has stopped: of one that is replaced, for those that replace it
	mainHost    bool             // resume through the main URL
	history
	failures   int       // connections in a row that did not live
	fruitless  int       // Identifies in a row whose session did not last
	startedAt  time.Time // when the last Identify was sent
	repeats    int       // events in a row that were repeated
	sessionAt  time.Time // when the session began; zero: in another process
	begun      int64     // sessions, under epoch
	stops      int64     // of the process, as of the last time that epoch was known to hold; see pulse
	retryAt    time.Time // in Backoff
	blocked    bool      // in Backoff: the address is, until retryAt
	askedAgain time.Time // not before this is a connection made because it is asked for

	shared *pool.Buffer // that events are put into, while what has been read is worked through
	place  int          // bytes of the message at hand, if it lies in shared, where its event may stay; else 0

	wanted   map[string]struct{} // events to publish, as of the last read; nil: all
	presence []byte              // of the last op 3 that was sent, with Options.FollowPresence; nil: none was

	target     *url.URL // while Connecting: where to
	toResume   bool     // target is the session's resume URL
	connection          // the last one that was made
}

// newShard returns a shard that goes on from what was stored, under the epoch in it.
func newShard(id int, gen *generation, env *environment, stored resume.Session) *shard {
	var seed [32]byte
	if env.opts.Seed == 0 {
		crand.Read(seed[:])
	} else {
		binary.LittleEndian.PutUint64(seed[:8], env.opts.Seed)
		binary.LittleEndian.PutUint64(seed[8:], uint64(id))
	}
	s := &shard{
		id:    id,
		gen:   gen,
		epoch: stored.Epoch,
		env:   env,
		log:   env.opts.Log.With("shard", id),
		rand:  rand.New(rand.NewChaCha8(seed)),

		released: make(chan struct{}),
		drained:  make(chan struct{}),
	}
	s.commands.limit, s.commands.share, s.commands.replaced = env.opts.CommandQueue, &env.commandBytes, &env.counts.replaced
	if env.packets {
		s.packets = new(packetCounts)
	}
	for _, g := range stored.Gaps {
		if g != (sinks.Gap{}) {
			s.lose(g, nil)
		}
	}
	switch {
	case stored.ID == "":
	case stored.Shards == gen.shards || stored.Shards == 0:
		ses := newSession(stored.ID, s.resumeURL(stored.ResumeURL), stored.Seq)
		ses.began = stored.Began
		ses.skipping(stored.Skip)
		s.setSession(ses)
		s.session.persisted.Store(true)
		s.session.seen = true // by the process before, perhaps
	default:
		s.log.Warn("persisted session discarded", "reason", "it belongs to another shard count",
			"stored_shards", stored.Shards, "shards", gen.shards)
		s.lose(sinks.Gap{Session: stored.ID, Seq: stored.Seq, At: time.Now().UnixMilli(), Reason: "the shard count was changed"}, nil)
	}
	return s
}

// state returns where the shard stands. Any goroutine may call it.
func (s *shard) state() State { return State(s.counters.state.Load()) }

// to is the one place that changes the state.
func (s *shard) to(next State) {
	from := s.state()
	if !from.canFollow(next) {
		s.log.Error("BUG: transition that the table does not have", "from", from, "to", next)
	}
	s.showBytes()
	s.counters.since.Store(time.Now().UnixNano())
	s.counters.state.Store(uint32(next))
	s.log.Debug("state", "from", from, "to", next)
	if s.env.opts.OnState != nil {
		s.env.opts.OnState(s.id, from, next)
	}
	if next == Draining || next == Stopped && from != Draining {
		s.queue.end(s)
	}
}

// begin takes the shard out of Idle. The reader calls it for one shard after the
// other, so that those which must identify queue in the order of their ids.
func (s *shard) begin() {
	if s.session == nil {
		s.plan = nextIdentify
	}
	s.proceed()
}

// step does what is due at now: wakeup flags, timers, pending commands.
func (s *shard) step(now time.Time) {
	flags := s.wakeups.take()
	if flags&wakeStop != 0 {
		s.stop()
		return
	}
	if flags&wakeDrain != 0 {
		s.drain()
	}
	if flags&wakeAsked != 0 {
		if state := s.state(); state == Connecting || state == Confirming {
			s.wakeups.bits.Or(wakeAsked) // when that has ended
		} else {
			s.answerAsks(now)
		}
	}
	if s.state().connected() && s.suspect(now) {
		s.end(now, cause{kind: causeUnconfirmed}, nil)
	}
	switch s.state() {
	case Backoff:
		if !now.Before(s.retryAt) {
			s.proceed()
		}
	case IdentifyQueued:
		if flags&wakeTurn != 0 {
			s.approach()
		}
	case Confirming:
		s.confirmed(now, flags)
	case Hello:
		if !now.Before(s.helloBy) {
			s.end(now, cause{kind: causeNoHello}, s.incomplete())
		}
	case IdentifyWait:
		if flags&wakeTurn != 0 || !now.Before(s.identifyAt) {
			s.sendIdentify(now)
		}
	case Identifying:
		if s.paused {
			s.readyBy = now.Add(s.env.opts.ReadyTimeout)
		} else if !now.Before(s.readyBy) {
			s.end(now, cause{kind: causeNoReady}, nil)
			break
		}
		s.warn(now, "READY")
	case Resuming:
		if s.paused {
			s.resumeBy = now.Add(resumeTimeout)
		} else if !now.Before(s.resumeBy) {
			s.end(now, cause{kind: causeSilentResume}, nil)
			break
		}
		s.warn(now, "RESUMED")
	}
	if s.state().connected() && s.paused && s.state() != Draining {
		s.goOn(now, flags)
	}
	if s.state() > Hello && s.state().connected() {
		s.keepAlive(now)
	}
	if s.state() == Ready {
		s.sendCommands(now)
	}
}

// due returns when step wants to be called again without a wakeup; the zero time
// means never.
func (s *shard) due() time.Time {
	switch s.state() {
	case Backoff:
		return s.retryAt
	case Hello:
		return s.helloBy
	case IdentifyWait:
		return earlier(s.identifyAt, s.beat.at)
	case Identifying:
		return earlier(earlier(s.readyBy, s.warnAt), s.beat.at)
	case Resuming:
		return earlier(earlier(earlier(s.resumeBy, s.warnAt), s.beat.at), s.holdBy)
	case Ready:
		return earlier(earlier(s.beat.at, s.commandAt), s.holdBy)
	case Draining:
		return s.beat.at
	}
	return time.Time{}
}

// earlier returns the earlier of two moments, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// proceed begins the next connection: at once for a resume, in its bucket's
// turn for an identify.
func (s *shard) proceed() {
	if s.plan == nextIdentify {
		s.to(IdentifyQueued)
		s.env.turns.Join(s.turn(), func() { s.wake(wakeTurn) })
		return
	}
	s.approach()
}

// approach connects, once it is confirmed that the shard may.
func (s *shard) approach() {
	if s.confirms() {
		s.to(Confirming)
		s.confirm(time.Now())
		return
	}
	s.connect()
}

// connect asks the reader for a connection to where the plan leads.
func (s *shard) connect() {
	s.target, s.toResume = nil, false
	if s.plan == nextResume && !s.mainHost && s.session.resumeURL != "" {
		u, err := s.gatewayURL(s.session.resumeURL)
		if err == nil {
			s.target, s.toResume = u, true
		} else {
			s.log.Warn("resume_gateway_url is refused, resuming through the main URL", "error", err) // the main one has changed
		}
	}
	if s.target == nil {
		s.target = s.env.gateway.url() // checked when it was fetched
	}
	s.to(Connecting)
}

// connected begins a connection that the reader has made. rest is what arrived
// behind the handshake; the shard copies it.
func (s *shard) connected(now time.Time, rest []byte) {
	s.counters.connections.Add(1)
	c, err := newConnection(s.env)
	if err != nil {
		s.connectFailed(now, err)
		s.hangup = true
		return
	}
	s.connection = c
	s.helloBy = now.Add(helloTimeout)
	s.to(Hello)
	if len(rest) > 0 {
		s.frames.Advance(copy(s.frames.Space(len(rest)), rest))
		s.arrived(now, len(rest))
		s.received(now)
	}
}

// setSession is the one place that changes the session; nil: there is none.
func (s *shard) setSession(ses *session) {
	if s.session = ses; ses != nil {
		ses.shard.Store(s)
	}
	s.unpersisted = ses != nil && s.env.saver != nil && s.gen == s.env.inForce.Load()
	s.current.Store(ses)
}

// leave gives up what belongs to a connection or to the wait for one.
func (s *shard) leave() {
	s.env.turns.Leave(s.turn())
	s.commands.putBack(s.unwritten)
	s.unwritten = nil
	s.counters.paused.Store(false)
	s.connection.release()
}

// drain reads nothing more for a shard that is removed, and puts its barrier behind its last event. A connection
// with a session stays open, with its heartbeats, until stop: what Discord sends meanwhile is resumed. Any other
// ends at once.
func (s *shard) drain() {
	switch s.state() {
	case Draining:
	case Ready, Resuming:
		s.paused, s.beat.excused = true, true
		s.held, s.holdBy = nil, time.Time{} // Discord sends it again
		s.heldShare.Hold(0)
		s.to(Draining)
	default:
		s.stop()
	}
}

// stop ends the shard with its session kept. A deposed one says nothing more: the session may be
// another's by now.
func (s *shard) stop() {
	if s.state() == Stopped {
		return
	}
	if s.state().connected() {
		if s.deposed.Load() {
			s.out = nil
		} else if s.ends.Load() {
			s.out = wire.AppendClose(s.out, wire.CloseNormal, "", s.mask())
		} else {
			s.out = wire.AppendClose(s.out, wire.CloseKeepSession, "", s.mask())
		}
		s.hangup = true
	}
	s.leave()
	if s.gen.replaced.Load() && !s.deposed.Load() {
		s.moved = s.commands.close(sinks.ErrQueueFull) // there is one for it in a moment
	} else if s.leaving.Load() || s.deposed.Load() {
		for _, w := range pointers(s.commands.close(&sinks.NotLocalError{Shard: s.id})) {
			w.drop()
		}
	} else {
		s.commands.close(sinks.ErrStopped)
	}
	s.to(Stopped)
}
