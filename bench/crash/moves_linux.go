// This file has shards move: members are restarted in an orderly way, and new ones come.

package crash

import (
	"context"
	"strings"
	"syscall"
	"time"

	"sluice/bench/sim"
)

// atRest is how long no shard has moved when the fleet is at rest: longer than FLEET_SETTLE.
const atRest = 4 * time.Second

// move has members come, and restarts them.
func (r *fleetRun) move(ctx context.Context, res *FleetResult) error {
	if r.o.Joins+r.o.Rolls == 0 {
		return nil
	}
	if err := r.quiet(ctx); err != nil {
		return err
	}
	if r.o.Joins > 0 {
		since := r.seen()
		if err := r.come(r.o.Joins); err != nil {
			return err
		}
		resumes, err := r.rested(ctx, since, res)
		if err != nil {
			return err
		}
		r.outlet.look(func(a *arrivals) {
			pauses, times := moves(resumes, a.still)
			res.Joined = times
			text, _ := timesText(times, r.o.Shards)
			r.say("%d new members at once: %s have moved; %s", r.o.Joins, text, pauseText(pauses))
		})
	}
	for range r.o.Rolls {
		for n, g := range r.members {
			since := r.seen()
			began := time.Now()
			g.cmd.Process.Signal(syscall.SIGTERM)
			if _, err := g.finished(true); err != nil {
				return err
			}
			took := time.Since(began)
			var err error
			if r.members[n], err = r.member(n); err != nil {
				return err
			}
			resumes, err := r.rested(ctx, since, res)
			if err != nil {
				return err
			}
			r.outlet.look(func(a *arrivals) {
				pauses, _ := moves(resumes, a.still)
				r.say("member %d stopped in %v, and another came: %d events, %d repeated; %s", n, took.Round(time.Millisecond), len(a.events), a.again, pauseText(pauses))
			})
		}
	}
	return nil
}

// before is what the server had seen before shards move.
type before struct{ resumes, identifies int }

// seen returns what the server has seen.
func (r *fleetRun) seen() before {
	return before{len(r.srv.Ledger().Resumes()), r.srv.Ledger().Summary().Identifies}
}

// rested waits until the fleet is at rest, and returns the Resumes since.
func (r *fleetRun) rested(ctx context.Context, since before, res *FleetResult) ([]sim.Resume, error) {
	if err := r.quiet(ctx); err != nil {
		return nil, err
	}
	if _, err := r.deliver(ctx, time.Now()); err != nil { // so that the pauses have been read
		return nil, err
	}
	resumes := r.srv.Ledger().Resumes()[since.resumes:]
	r.moved = append(r.moved, resumes...)
	res.Begun += r.srv.Ledger().Summary().Identifies - since.identifies
	return resumes, nil
}

// quiet waits until no shard has moved for a while, all are connected, and each member has one.
func (r *fleetRun) quiet(ctx context.Context) error {
	n, since := -1, time.Now()
	return r.until(ctx, "a fleet at rest", func() bool {
		if now := r.srv.Ledger().Summary().Connects; now != n {
			n, since = now, time.Now()
		}
		if time.Since(since) < atRest || r.srv.Connected() != r.o.Shards {
			return false
		}
		since = time.Now()
		return r.owners() >= min(len(r.members), r.o.Shards)
	})
}

// owners returns how many members have shards.
func (r *fleetRun) owners() int {
	if r.server == nil {
		return len(r.members) // a Sentinel knows where the table is
	}
	key, _ := r.server.TryCLI("--raw", "keys", "*:owners")
	rows, _ := r.server.TryCLI("--raw", "hvals", strings.TrimSpace(key))
	members := make(map[string]bool)
	for row := range strings.Lines(rows) {
		if f := strings.Fields(row); len(f) > 1 { // epoch and incarnation
			members[f[1]] = true
		}
	}
	return len(members)
}
