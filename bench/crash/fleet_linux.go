// This file kills members of a fleet, and stops them for a while.

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// fleetRun is a run with several gateways.
type fleetRun struct {
	*run
	o       FleetOptions
	members []*gateway
	redis   string // the address of what they have together
	server  *redistest.Server
	ways    []*relay // of each member to it
	proxies []*relay // of each member to Discord, with Lonely
	stops   []func()
	fallen  func(n int) error // a member has ended by itself; nil: that is an error

	moved []sim.Resume // by moves
}

// RunFleet kills and stops members, and returns what came of it.
func RunFleet(ctx context.Context, o FleetOptions) (FleetResult, error) {
	if o.Sink == "" {
		o.Sink = "redis"
	}
	if o.Members == 0 {
		o.Members = 5
	}
	if o.Shards == 0 {
		o.Shards = 64
	}
	if o.Rate == 0 {
		o.Rate = 5000 / float64(o.Shards)
	}
	r, err := startFleet(o, nil)
	if err != nil {
		return FleetResult{}, fmt.Errorf("fleet: %w", err)
	}
	defer r.stop()
	res := FleetResult{Sink: o.Sink}
	if err = r.all(ctx, &res); err == nil {
		res.Result, err = r.rest(ctx)
	}
	res.Kills = o.Kills
	slices.Sort(res.Back)
	r.outlet.look(func(a *arrivals) { res.Pauses, _ = moves(r.moved, a.still) })
	if err != nil {
		return res, fmt.Errorf("fleet: seed %d: %w", o.Seed, err)
	}
	return res, nil
}

// startFleet starts all but the members. tune may be nil.
func startFleet(o FleetOptions, tune func(*sim.Options)) (*fleetRun, error) {
	dir, err := os.MkdirTemp("", "gateway-fleet-")
	if err != nil {
		return nil, err
	}
	outlet := o.Sink
	if o.Promote {
		outlet = sentinel
	}
	r := &fleetRun{run: &run{dir: dir, o: Options{Gateway: o.Gateway, Sink: outlet, Store: "redis", Shards: o.Shards, Rate: o.Rate, Seed: o.Seed, Log: o.Log}, tune: tune}, o: o}
	r.later(func() { os.RemoveAll(dir) })
	if err := r.begin(); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// later has stop call f, before what it was told to call earlier.
func (r *fleetRun) later(f func()) { r.stops = append(r.stops, f) }

// stop ends whatever runs.
func (r *fleetRun) stop() {
	for _, f := range slices.Backward(r.stops) {
		f()
	}
}

// begin starts the simulator, the brokers and the ways to them.
func (r *fleetRun) begin() error {
	if err := r.start(); err != nil {
		return err
	}
	r.later(func() { r.srv.Close() })
	r.later(r.outlet.stop)
	switch own := r.outlet.(type) {
	case *sentinelOutlet:
	case *redisOutlet:
		r.redis, r.server = own.server.Addr, own.server
	default:
		if err := r.keep(); err != nil {
			return err
		}
		r.later(r.server.Kill)
	}
	if r.o.Old != "" {
		rules, err := sim.ParseScript(strings.NewReader("when=resume-live times=-1 delay=30s do=old-" + r.o.Old))
		if err != nil {
			return err
		}
		r.srv.AddRules(rules...)
	}
	for range r.o.Members + r.o.Joins {
		way, err := newRelay(r.redis)
		if err != nil {
			return err
		}
		r.later(func() { way.l.Close() })
		r.ways = append(r.ways, way)
		if r.o.Lonely == 0 {
			continue
		}
		proxy, err := newRelay("")
		if err != nil {
			return err
		}
		r.later(func() { proxy.l.Close() })
		r.proxies = append(r.proxies, proxy)
	}
	r.later(func() {
		for _, g := range r.members {
			g.cmd.Process.Kill()
		}
	})
	return nil
}

// keep starts a Redis for what the members have together, where the events go elsewhere.
func (r *fleetRun) keep() error {
	dir := filepath.Join(r.dir, "redis")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	port, err := sinktest.Port()
	if err != nil {
		return err
	}
	server, err := redistest.Launch(dir, port, "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		return err
	}
	r.redis, r.server = server.Addr, server
	return nil
}

// come starts so many members more.
func (r *fleetRun) come(members int) error {
	for range members {
		g, err := r.member(len(r.members))
		if err != nil {
			return err
		}
		r.members = append(r.members, g)
	}
	return nil
}

// state is the n-th member's directory.
func (r *fleetRun) state(n int) string { return filepath.Join(r.dir, "m"+strconv.Itoa(n)) }

// member starts the n-th member.
func (r *fleetRun) member(n int) (*gateway, error) { return r.memberTo(n, "") }

// memberTo starts it, to end at a failpoint.
func (r *fleetRun) memberTo(n int, failpoint string) (*gateway, error) {
	name := "m" + strconv.Itoa(n)
	env := r.env
	defer func() { r.env = env }()
	r.env = append(slices.Clip(env), "DISCORD_SHARD_IDS=auto", "FLEET_MEMBER="+name, "FLEET_SETTLE=2s", "SHARD_STORE_TYPE=file", "SHARD_STORE_DIRECTORY="+r.state(n))
	if r.redis != "" { // else a Sentinel says where
		r.env = append(r.env, "REDIS_URL="+r.ways[n].addr())
	}
	if r.proxies != nil {
		r.env = append(r.env, "DISCORD_PROXY=http://"+r.proxies[n].addr())
	}
	return r.launch(failpoint)
}

// all does everything that is asked for.
func (r *fleetRun) all(ctx context.Context, res *FleetResult) error {
	if err := r.come(r.o.Members); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(r.o.Seed, 0))
	if _, err := r.deliver(ctx, time.Now()); err != nil {
		return err
	}
	for k := range r.o.Kills {
		n := rng.IntN(len(r.members))
		began := time.Now()
		r.members[n].cmd.Process.Kill()
		<-r.members[n].ended
		time.Sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
		g, err := r.member(n)
		if err != nil {
			return err
		}
		r.members[n] = g
		back, err := r.deliver(ctx, began)
		if err != nil {
			return err
		}
		res.Back = append(res.Back, back)
		r.say("kill %d: member %d, all shards again after %v; %s", k, n, back.Round(time.Millisecond), r.twice())
		time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
	}
	for k := range r.o.Stops {
		n := rng.IntN(len(r.members))
		stopped := 5*time.Second + time.Duration(rng.Int64N(int64(15*time.Second)))
		r.members[n].cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(stopped)
		r.members[n].cmd.Process.Signal(syscall.SIGCONT)
		back, err := r.deliver(ctx, time.Now())
		if err != nil {
			return err
		}
		r.say("stop %d: member %d for %v, all shards again %v later; %s", k, n, stopped.Round(time.Millisecond), back.Round(time.Millisecond), r.twice())
	}
	for k := range r.o.Cuts {
		n := rng.IntN(len(r.members))
		cut := 5*time.Second + time.Duration(rng.Int64N(int64(15*time.Second)))
		r.ways[n].cut()
		time.Sleep(cut)
		r.ways[n].mend()
		back, err := r.deliver(ctx, time.Now())
		if err != nil {
			return err
		}
		r.say("cut %d: member %d without Redis for %v, all shards again %v later; %s", k, n, cut.Round(time.Millisecond), back.Round(time.Millisecond), r.twice())
		time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
	}
	for k := range r.o.Lonely {
		n := rng.IntN(len(r.members))
		cut := 5*time.Second + time.Duration(rng.Int64N(int64(55*time.Second)))
		r.proxies[n].cut()
		time.Sleep(cut)
		r.proxies[n].mend()
		back, err := r.deliver(ctx, time.Now())
		if err != nil {
			return err
		}
		r.say("cut %d: member %d without Discord for %v, all shards again %v later; %s", k, n, cut.Round(time.Millisecond), back.Round(time.Millisecond), r.twice())
	}
	for k := range r.o.Reboots {
		r.server.Kill()
		gone := time.Duration(rng.Int64N(int64(5 * time.Second)))
		time.Sleep(gone)
		if err := r.server.Up(); err != nil {
			return err
		}
		back, err := r.deliver(ctx, time.Now())
		if err != nil {
			return err
		}
		r.say("reboot %d: without Redis for %v, all shards again %v later; %s", k, gone.Round(time.Millisecond), back.Round(time.Millisecond), r.twice())
		time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
	}
	if own, ok := r.outlet.(*sentinelOutlet); ok {
		var err error
		began := time.Now()
		if res.Forgotten, err = own.promote(ctx, time.Second); err != nil {
			return err
		}
		back, err := r.deliver(ctx, began)
		if err != nil {
			return err
		}
		r.say("the replica is promoted: %d entries forgotten, all shards again after %v; %s", res.Forgotten, back.Round(time.Millisecond), r.twice())
	}
	for k := range r.o.Outages {
		// What the one that is cut off has in flight goes out when the broker is back, and others have its shards.
		n := rng.IntN(len(r.members))
		back, err := r.outlet.away()
		if err != nil {
			return err
		}
		r.ways[n].cut()
		time.Sleep(8 * time.Second)
		err = back()
		time.Sleep(time.Duration(rng.Int64N(int64(4 * time.Second))))
		r.ways[n].mend()
		if err != nil {
			return err
		}
		if _, err := r.deliver(ctx, time.Now()); err != nil {
			return err
		}
		r.say("outage %d: member %d without Redis, and all without the broker; %s", k, n, r.twice())
	}
	return r.move(ctx, res)
}

// twice says what the consumer has dropped.
func (r *fleetRun) twice() (text string) {
	r.outlet.look(func(a *arrivals) {
		text = fmt.Sprintf("so far %d events of former owners and %d repeated ones", a.former, a.again)
	})
	return text
}

// inFlight is how long after a kill what the dead one had written may be read.
const inFlight = 300 * time.Millisecond

// deliver waits until each shard has delivered something that is not from before began, and
// returns how long that has taken since.
func (r *fleetRun) deliver(ctx context.Context, began time.Time) (time.Duration, error) {
	var last time.Time
	err := r.until(ctx, "an event of each shard", func() bool {
		n := 0
		last = time.Time{}
		r.outlet.look(func(a *arrivals) {
			for _, at := range a.last {
				if at.Sub(began) > inFlight {
					n++
				}
			}
		})
		last = time.Now()
		return n == r.o.Shards
	})
	return last.Sub(began), err
}

// until waits, while all members run.
func (r *fleetRun) until(ctx context.Context, what string, holds func() bool) error {
	for end := time.Now().Add(patience); !holds(); {
		if err := r.running(); err != nil {
			return err
		}
		if time.Now().After(end) {
			text := ""
			for n, g := range r.members {
				text += fmt.Sprintf("\nmember %d\n%s", n, tail(g.stderr.Bytes()))
			}
			return fmt.Errorf("waited in vain for %s: %v%s", what, r.srv.Ledger().Summary(), text)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// running finds out whether all members run.
func (r *fleetRun) running() error {
	for n, g := range r.members {
		select {
		case err := <-g.ended:
			g.ended <- err
		default:
			continue
		}
		if r.fallen == nil {
			return fmt.Errorf("member %d ended: %v\n%s", n, g.cmd.ProcessState, tail(g.stderr.Bytes()))
		}
		if err := r.fallen(n); err != nil {
			return fmt.Errorf("member %d: %w", n, err)
		}
	}
	return nil
}

// rest lets the fleet come to rest, and compares.
func (r *fleetRun) rest(ctx context.Context) (res Result, err error) {
	r.srv.Calm()
	if _, err := r.deliver(ctx, time.Now()); err != nil {
		return res, err
	}
	r.srv.Silence()
	if err := r.until(ctx, "the last events", func() bool { return r.report().Pending == 0 }); err != nil {
		return res, err
	}
	err = r.leave()
	time.Sleep(200 * time.Millisecond) // for what comes twice
	r.outlet.look(func(a *arrivals) {
		res = compare(r.srv.Ledger(), a, deduplicates(r.o.Sink))
		res.Pause = a.pause
	})
	return res, err
}

// leave has all members end in an orderly way.
func (r *fleetRun) leave() (err error) {
	for _, g := range r.members {
		g.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, g := range r.members {
		_, e := g.finished(true)
		err = errors.Join(err, e)
	}
	return err
}
