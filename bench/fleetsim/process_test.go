// This file is a process of the fleet: what cmd/gateway/cli makes of the settings, and what is between it and
// the rest of the world.

package fleetsim

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"sluice/engine"
	"sluice/fleet"
	"sluice/fleet/fleettest"
	"sluice/resume"
	"sluice/wire"
)

// process is one gateway. A bubble cannot stop some of its goroutines, so all that a process does to others goes
// through pass: of one that was killed nothing arrives any more, and one that is stopped waits there.
type process struct {
	w      *world
	name   string
	fleet  *fleet.Fleet
	engine *engine.Engine
	outlet *outlet

	term  context.CancelFunc // as SIGTERM does
	leave context.CancelFunc
	ended chan struct{}
	dead  chan struct{} // closed when it is killed

	mu      sync.Mutex
	rand    *mrand.Rand
	stopped time.Time // until then
	cut     [ways]time.Time
	conns   map[*gatedConn]bool
	killed  bool
	leaves  bool // it was asked to
}

// The ways from a process, each of which can be cut.
const (
	toCoordinator = iota
	toSink
	toDiscord
	ways
)

var errCut = errors.New("fleetsim: the way is cut")

// start starts a process, which joins when it can.
func (w *world) start(name string) *process {
	p := &process{
		w: w, name: name, ended: make(chan struct{}), dead: make(chan struct{}), conns: make(map[*gatedConn]bool),
		rand: mrand.New(mrand.NewPCG(w.seed, uint64(1000+len(w.all)))),
	}
	w.mu.Lock()
	w.all = append(w.all, p)
	w.mu.Unlock()
	log := w.log.With("member", name)
	p.outlet = newOutlet(p, rand.Text())
	var keeper *resume.Keeper
	p.fleet = fleet.New(fleet.Options{
		Coordinator: &fleettest.Faulty{Coordinator: w.table, Choose: p.onCall},
		Member:      fleet.Member{Name: name},
		Plan:        fleet.Plan{Shards: shards, Intents: uint64(intents), Format: "redis"},
		Session:     func(shard int, c resume.Checkpoint) resume.Session { return keeper.Resumes(shard, c) },
		Sink:        p.outlet,
		Log:         log,
	})
	queue := p.fleet.Queue()
	keeper = &resume.Keeper{Store: p.fleet.Store(), Bot: 1, Intents: intents, Log: log}
	var err error
	p.engine, err = engine.New(engine.Options{
		Token: "sim-token", GatewayURL: w.srv.GatewayURL(), GatewayHosts: []string{"gateway", "resume"}, DialContext: p.dial,
		Intents: intents, Shards: shards, IDs: []int{}, Sink: p.outlet, Checkpoints: keeper, Gaps: true,
		Identify: gatedQueue{queue, p}, Confirm: p.fleet.Confirm, Trusted: func() bool { return p.pass() && p.fleet.Trusted() },
		Seed: w.seed<<8 + uint64(len(w.all)), Log: log, OnState: p.onState,
	})
	if err != nil {
		panic(err)
	}
	ctx, term := context.WithCancel(context.Background())
	member, leave := context.WithCancel(context.Background())
	p.term, p.leave = term, leave
	w.runs.Go(func() {
		defer close(p.ended)
		p.run(ctx, member, queue)
	})
	return p
}

// run is membership.join, run and end.
func (p *process) run(ctx, member context.Context, queue *fleet.Queue) {
	defer p.leave()
	defer close(p.outlet.done)
	for {
		if _, err := p.fleet.Join(ctx); err == nil {
			break
		}
		if !p.sleep(time.Second) || ctx.Err() != nil {
			return
		}
	}
	working, stop := context.WithCancelCause(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := p.fleet.Run(member, p.engine); err != nil {
			stop(err)
		}
	})
	parts.Go(func() { queue.Run(member) })
	context.AfterFunc(ctx, func() {
		soon, cancel := context.WithTimeout(working, 10*time.Second)
		defer cancel()
		p.fleet.Drain(soon)
		stop(ctx.Err())
	})
	err := p.engine.Run(working)
	p.leave()
	parts.Wait()
	if cause := context.Cause(working); !p.isDead() && (err != nil && !errors.Is(err, engine.ErrDrain) || cause != nil && !errors.Is(cause, context.Canceled)) {
		p.w.wrong("%s has ended: %v, %v", p.name, err, cause)
	}
}

// sigterm asks a process to end.
func (p *process) sigterm() {
	p.mu.Lock()
	p.leaves = true
	p.mu.Unlock()
	p.term()
}

// stays reports whether a process runs and was not asked to end.
func (p *process) stays() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.leaves && p.isUp()
}

// kill ends a process at once.
func (p *process) kill() {
	p.mu.Lock()
	if p.killed {
		p.mu.Unlock()
		return
	}
	p.killed = true
	close(p.dead)
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for c := range conns {
		c.Conn.(interface{ Reset() }).Reset()
	}
	p.leave()
	p.term()
}

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// isUp reports whether the process runs.
func (p *process) isUp() bool {
	select {
	case <-p.ended:
		return false
	default:
		return !p.isDead()
	}
}

// stop has the process stand still, as SIGSTOP does.
func (p *process) stop(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = time.Now().Add(d)
}

// pass returns when the process is not stopped, and false if it is dead.
func (p *process) pass() bool {
	for {
		p.mu.Lock()
		d := time.Until(p.stopped)
		p.mu.Unlock()
		if d <= 0 {
			return !p.isDead()
		}
		select {
		case <-time.After(min(d, 250*time.Millisecond)): // it may be less by then
		case <-p.dead:
			return false
		}
	}
}

// sleep waits, and returns false if the process is dead then.
func (p *process) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return p.pass()
	case <-p.dead:
		return false
	}
}

// cutOff cuts a way for some time.
func (p *process) cutOff(way int, d time.Duration) {
	p.mu.Lock()
	p.cut[way] = time.Now().Add(d)
	p.mu.Unlock()
	if way == toDiscord {
		p.eachConn(func(c *gatedConn) { c.Conn.(interface{ Blackhole() }).Blackhole() })
	}
}

// isCut reports whether a way is cut.
func (p *process) isCut(way int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.cut[way]) || p.w.isCut(way)
}

// onCall is what happens to a call of the coordinator.
func (p *process) onCall(method string) fleettest.Fault {
	if method == "Watch" { // a notice
		return fleettest.Fault{Lose: !p.pass() || p.isCut(toCoordinator) || p.chance(p.w.weather().lose*3)}
	}
	f := p.fault(toCoordinator)
	if method == "Ask" || method == "Sent" {
		// An Ask that is late takes away the turns of shards that did not wait then, a Sent counts for the shard's
		// next turn: two Identifies may be too close then.
		f.Late = 0
	}
	return f
}

// onSink is what happens to a command to the stream.
func (p *process) onSink() fleettest.Fault { return p.fault(toSink) }

// fault draws what happens on a way, and takes the time of it.
func (p *process) fault(way int) (f fleettest.Fault) {
	if !p.pass() {
		return fleettest.Fault{Lose: true}
	}
	if p.isCut(way) {
		p.sleep([]time.Duration{time.Millisecond, time.Second}[p.draw(2)]) // refused, or silent
		return fleettest.Fault{Lose: true}
	}
	w := p.w.weather()
	wait := time.Duration(200+p.draw(800)) * time.Microsecond
	switch {
	case p.chance(w.slow):
		wait = time.Duration(p.draw(int(w.slowest)))
	case p.chance(w.lose):
		f.Lose = true
	case p.chance(w.loseAnswer):
		f.LoseAnswer = true
		f.Late = time.Duration(p.draw(int(w.latest)))
	}
	if !p.sleep(wait) {
		f = fleettest.Fault{Lose: true}
	}
	return f
}

func (p *process) draw(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rand.IntN(max(n, 1))
}

func (p *process) chance(part float64) bool {
	if part == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rand.Float64() < part
}

// onState demands that nobody resumes or identifies whose shard is another's.
func (p *process) onState(shard int, _, to engine.State) {
	if to != engine.Resuming && to != engine.Identifying || p.isDead() || p.w.forget {
		return
	}
	v, err := p.w.table.Look(context.Background(), 0)
	if err != nil {
		return
	}
	row := v.Shards[slices.IndexFunc(v.Shards, func(s fleet.Shard) bool { return s.ID == shard })]
	owner := slices.IndexFunc(v.Members, func(m fleet.Member) bool { return m.Incarnation == row.Owner.Incarnation })
	if owner < 0 || v.Members[owner].Name != p.name || row.Giver != "" {
		p.w.wrong("%s: shard %d is %v, and owned by another: %+v", p.name, shard, to, row)
	}
}

// dial connects to Discord.
func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !p.pass() {
		return nil, errDead
	}
	if p.isCut(toDiscord) {
		p.sleep(time.Second)
		return nil, errCut
	}
	conn, err := p.w.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &gatedConn{conn, p}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		conn.Close()
		return nil, errDead
	}
	p.conns[c] = true
	return c, nil
}

func (p *process) eachConn(f func(*gatedConn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		f(c)
	}
}

// gatedConn is a connection of a process to Discord.
type gatedConn struct {
	net.Conn
	p *process
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.p.pass() {
		return 0, io.EOF
	}
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if !c.p.pass() {
		return 0, errDead
	}
	return c.Conn.Write(b)
}

// CloseWrite ends the writing direction alone.
func (c *gatedConn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func (c *gatedConn) Close() error {
	c.p.mu.Lock()
	delete(c.p.conns, c)
	c.p.mu.Unlock()
	return c.Conn.Close()
}

// gatedQueue is the identify queue of a process. A turn is used when the process goes on: what it
// was stopped in between the use of a turn and the write, nothing could refuse.
type gatedQueue struct {
	*fleet.Queue
	p *process
}

func (q gatedQueue) Spend(shard int, _ time.Time) bool {
	return q.p.pass() && q.Queue.Spend(shard, time.Now())
}

const (
	shards  = 64
	intents = wire.AllIntents
)
