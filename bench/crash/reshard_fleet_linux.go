// This file has the members of a fleet reshard their bot, and has happen to them what can while they do.

package crash

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/status"
)

// fleetReshard is such a run.
type fleetReshard struct {
	*fleetRun
	o     ReshardOptions
	rng   *rand.Rand
	table *fleetTable
	read  []int  // of each member's log, bytes
	armed []bool // members that are to end at a failpoint: nothing else happens to them
	res   ReshardResult
}

// reshardFleet is RunReshard with members.
func reshardFleet(ctx context.Context, o ReshardOptions) (ReshardResult, error) {
	f, err := startFleet(FleetOptions{Gateway: o.Gateway, Sink: o.Sink, Members: o.Members, Shards: o.From, Seed: o.Seed, Log: o.Log}, o.tune)
	if err != nil {
		return ReshardResult{}, fmt.Errorf("reshard: %w", err)
	}
	defer f.stop()
	f.env = append(f.env, o.setting())
	r := &fleetReshard{fleetRun: f, o: o, rng: rand.New(rand.NewPCG(o.Seed, 0)), read: make([]int, o.Members), armed: make([]bool, o.Members)}
	r.res.Members, r.fallen = true, r.revive
	if r.table, err = newFleetTable(r.redis); err != nil {
		return r.res, fmt.Errorf("reshard: %w", err)
	}
	defer r.table.close()
	if err := r.all(ctx); err != nil {
		for n := range r.members {
			r.hear(n)
		}
		return r.res, fmt.Errorf("reshard: seed %d: %w", o.Seed, err)
	}
	return r.res, nil
}

// trouble is what happens in the middle of a resharding.
type trouble struct {
	name  string
	stage reshardStage
	after time.Duration // since the stage was entered
	do    func(ctx context.Context, member int) error
}

// troubles returns all that are to come, of each kind in each stage by turns.
func (r *fleetReshard) troubles() (all []trouble) {
	add := func(count int, name string, stages []reshardStage, do func(ctx context.Context, member int) error) {
		order := r.rng.Perm(len(stages))
		for k := range count {
			t := trouble{name: name, stage: stages[order[k%len(order)]], do: do}
			t.after = time.Duration(r.rng.Int64N(int64(t.stage.lasts())))
			all = append(all, t)
		}
	}
	any, before := []reshardStage{connecting, comparing, switching, committed}, []reshardStage{connecting, comparing, switching}
	add((r.o.Kills+1)/2, "killed", any, r.kill)
	points := r.rng.Perm(len(reshardPoints))
	for k := range r.o.Kills / 2 {
		point := reshardPoints[points[k%len(points)]]
		add(1, "restarted to end at "+point, any[:1], func(_ context.Context, n int) error { return r.arm(n, point) })
	}
	add(r.o.Drains, "ended with SIGTERM", any, r.drain)
	add(r.o.Stops, "stopped for a while", any, r.pause)
	add(r.o.Cuts, "cut off from Redis for a while", any, r.cut)
	add(r.o.Cancels, "asked to call it off", before, r.cancel)
	r.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// reshardPoints are the failpoints of a member's part, if the program has them.
var reshardPoints = []string{"reshard.prepared", "reshard.commit", "reshard.committed", "reshard.open", "reshard.opened"}

// again starts another in a member's place, to end at a failpoint, if any.
func (r *fleetReshard) again(n int, point string) (err error) {
	r.hear(n)
	time.Sleep(time.Duration(r.rng.Int64N(int64(3 * time.Second))))
	r.members[n], err = r.memberTo(n, point)
	r.read[n], r.armed[n] = 0, point != ""
	return err
}

// revive starts another in place of one that has ended at a failpoint.
func (r *fleetReshard) revive(n int) error {
	if _, err := r.members[n].finished(false); err != nil {
		return err
	}
	r.res.Kills++
	r.say("member %d has ended at a failpoint", n)
	return r.again(n, "")
}

// arm has another in a member's place end at a failpoint.
func (r *fleetReshard) arm(n int, point string) error {
	r.members[n].cmd.Process.Signal(syscall.SIGTERM)
	if _, err := r.members[n].finished(true); err != nil {
		return err
	}
	return r.again(n, point)
}

func (r *fleetReshard) kill(_ context.Context, n int) error {
	r.res.Kills++
	r.members[n].cmd.Process.Kill()
	<-r.members[n].ended
	return r.again(n, "")
}

func (r *fleetReshard) drain(_ context.Context, n int) error {
	r.res.Drains++
	return r.arm(n, "")
}

// aWhile is long enough to be deposed, or not.
func (r *fleetReshard) aWhile() {
	time.Sleep(2*time.Second + time.Duration(r.rng.Int64N(int64(13*time.Second))))
}

func (r *fleetReshard) pause(_ context.Context, n int) error {
	r.res.Stops++
	r.members[n].cmd.Process.Signal(syscall.SIGSTOP)
	r.aWhile()
	r.members[n].cmd.Process.Signal(syscall.SIGCONT)
	return nil
}

func (r *fleetReshard) cut(_ context.Context, n int) error {
	r.res.Cuts++
	r.ways[n].cut()
	r.aWhile()
	r.ways[n].mend()
	return nil
}

// cancel has a member call it off. What comes of it, the table says: it may have been committed just now.
func (r *fleetReshard) cancel(ctx context.Context, n int) error {
	err := r.admin(n, func(c *admin.Client) error { return c.CallOff(ctx) })
	if err != nil {
		r.say("member %d does not call it off: %v", n, err)
		return nil
	}
	s, err := r.table.look(ctx)
	if err == nil && s.stage != idle {
		err = fmt.Errorf("called off, and %v all the same", s)
	}
	r.res.CalledOff++
	return err
}

// admin asks a member.
func (r *fleetReshard) admin(n int, ask func(c *admin.Client) error) error {
	c, err := admin.NewClient(admin.ClientOptions{Socket: filepath.Join(r.state(n), admin.SocketName)})
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(c)
}

// all reshards to and fro, restarts all, and compares.
func (r *fleetReshard) all(ctx context.Context) error {
	if err := r.come(r.o.Members); err != nil {
		return err
	}
	if err := r.inForce(ctx, r.o.From); err != nil {
		return err
	}
	r.srv.Play()
	r.outlet.look(func(a *arrivals) { a.latest = time.Time{} })
	from, to, left := r.o.From, r.o.To, r.troubles()
	for round, rounds := 0, max(r.o.Rounds, 1); round < rounds; round++ {
		n := (len(left) + rounds - round - 1) / (rounds - round)
		slices.SortStableFunc(left[:n], func(a, b trouble) int { return cmp.Compare(a.stage, b.stage) })
		if err := r.round(ctx, to, left[:n]); err != nil {
			return fmt.Errorf("from %d to %d shards: %w", from, to, err)
		}
		left = left[n:]
		r.res.Reshards++
		from, to = to, from
	}
	r.outlet.look(func(a *arrivals) { r.res.Lull = a.lull })
	if err := r.restart(ctx, from); err != nil {
		return err
	}
	r.srv.Silence()
	if err := r.until(ctx, "the last events", r.last()); err != nil {
		return err
	}
	err := r.leave()
	for n := range r.members {
		r.hear(n)
	}
	r.judge(&r.res)
	return err
}

// restart ends all members and starts them again: the shard count stays, and so do the sessions.
func (r *fleetReshard) restart(ctx context.Context, shards int) error {
	before := r.srv.Ledger().Summary().Identifies
	if err := r.leave(); err != nil {
		return err
	}
	for n := range r.members {
		r.hear(n)
		r.read[n], r.armed[n] = 0, false
	}
	r.members = nil
	if err := r.come(r.o.Members); err != nil {
		return err
	}
	err := r.inForce(ctx, shards)
	r.res.Restarted = r.srv.Ledger().Summary().Identifies - before
	return err
}

const (
	// reshardPatience bounds one resharding: six attempts at a switch may fail, and there are pauses between them.
	reshardPatience = 5 * time.Minute
	// reshardLook lies between two looks at the table while something is to happen at a stage, which may be short.
	reshardLook = 2 * time.Millisecond
	// maxAsked is how often a round is begun anew.
	maxAsked = 5
)

// round has the bot resharded, asking again if that is called off.
func (r *fleetReshard) round(ctx context.Context, to int, left []trouble) error {
	for asked := 0; ; {
		before, err := r.table.look(ctx)
		if err != nil {
			return err
		}
		cancels, began := r.res.CalledOff, time.Now()
		if err := r.ask(ctx, to); err != nil {
			return err
		}
		s, rest, err := r.follow(ctx, before.generation, left)
		if err != nil {
			return err
		}
		left = rest
		if s.generation > before.generation {
			r.res.Aborted += s.failures
			if err := r.inForce(ctx, to); err != nil {
				return err
			}
			r.say("%d shards in place of %d after %v, with %d attempts aborted; pause %v", to, before.shards, time.Since(began).Round(time.Millisecond), s.failures, r.heard())
			return nil
		}
		r.heard()
		if r.res.CalledOff > cancels {
			r.say("called off, as it was asked for")
			continue
		}
		r.res.GivenUp++
		r.say("called off after %v by itself: %s", time.Since(began).Round(time.Millisecond), s.failure)
		if asked++; asked == maxAsked {
			return fmt.Errorf("called off %d times; the last time: %s", asked, s.failure)
		}
	}
}

// ask asks one of the members.
func (r *fleetReshard) ask(ctx context.Context, to int) error {
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		n := r.rng.IntN(len(r.members))
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		err = r.admin(n, func(c *admin.Client) error {
			_, err := c.Reshard(call, to, true)
			return err
		})
		cancel()
		if err == nil {
			r.say("member %d: %d shards are asked for", n, to)
			return nil
		}
	}
	return fmt.Errorf("nobody begins: %w", err)
}

// follow lets things happen until it is committed, and they have, or it is called off. It returns those that have not.
func (r *fleetReshard) follow(ctx context.Context, generation int, left []trouble) (s tableState, rest []trouble, err error) {
	for end := time.Now().Add(reshardPatience); time.Now().Before(end); {
		if s, err = r.table.look(ctx); err != nil {
			return s, left, err
		}
		stage := s.stage
		if s.generation > generation {
			stage = committed
		}
		switch {
		case stage == idle || stage == committed && len(left) == 0:
			return s, left, nil
		case len(left) > 0 && stage >= left[0].stage:
			t, n := left[0], r.rng.IntN(len(r.members))
			for r.armed[n] && slices.Contains(r.armed, false) {
				n = (n + 1) % len(r.members)
			}
			left = left[1:]
			time.Sleep(t.after)
			r.say("member %d is %s, %v after %v", n, t.name, t.after.Round(time.Millisecond), stage)
			if err := t.do(ctx, n); err != nil {
				return s, left, err
			}
		}
		if err := r.running(); err != nil {
			return s, left, err
		}
		look := reshardLook
		if len(left) == 0 {
			look *= 10
		}
		select {
		case <-ctx.Done():
			return s, left, ctx.Err()
		case <-time.After(look):
		}
	}
	return s, left, fmt.Errorf("waited in vain: %v", s)
}

// inForce waits until all members have that shard count, most have shards, and all shards are connected.
func (r *fleetReshard) inForce(ctx context.Context, shards int) error {
	has := func(n int) bool {
		count := 0
		err := r.admin(n, func(c *admin.Client) error {
			s, err := c.Status(ctx, status.Query{Limit: 1})
			if err == nil {
				count = s.Shards.Count
			}
			return err
		})
		return err == nil && count == shards
	}
	next := time.Now()
	return r.until(ctx, fmt.Sprintf("%d shards", shards), func() bool {
		if r.srv.Connected() != shards || time.Now().Before(next) {
			return false
		}
		next = time.Now().Add(200 * time.Millisecond)
		for n := range r.members {
			if !has(n) {
				return false
			}
		}
		return r.owners() >= min(len(r.members), shards)
	})
}

// hear prints what a member has logged of it since the last time, and returns the longest pause at a switch.
func (r *fleetReshard) hear(n int) (pause time.Duration) {
	text := r.members[n].stderr.Bytes()
	for line := range bytes.Lines(text[r.read[n]:]) {
		for _, what := range []string{"reshard", "fleet:", "level=WARN", "level=ERROR"} {
			if bytes.Contains(line, []byte(what)) {
				r.say("  m%d: %s", n, bytes.TrimSpace(line))
				break
			}
		}
		if d, is := pauseOf(line); is {
			pause = max(pause, d)
		}
	}
	r.read[n] = len(text)
	return pause
}

// heard does so for all, and notes the pause.
func (r *fleetReshard) heard() (pause time.Duration) {
	for n := range r.members {
		pause = max(pause, r.hear(n))
	}
	if pause > 0 {
		r.res.Pauses = append(r.res.Pauses, pause)
	}
	return pause
}
