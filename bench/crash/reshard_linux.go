// This file kills a gateway while its bot gets another shard count.

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"sluice/bench/sim"
	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/status"
)

// reshardRun is such a run.
type reshardRun struct {
	*run
	o      ReshardOptions
	g      *gateway
	client *admin.Client
	res    ReshardResult
}

// RunReshard has a bot resharded, with kills, and returns what came of it.
func RunReshard(ctx context.Context, o ReshardOptions) (ReshardResult, error) {
	if o.Sink == "" {
		o.Sink = "redis"
	}
	if o.Store == "" {
		o.Store = "redis"
	}
	if o.Rate == 0 {
		o.Rate = 2000
	}
	if o.Members > 0 {
		return reshardFleet(ctx, o)
	}
	dir, err := os.MkdirTemp("", "gateway-reshard-")
	if err != nil {
		return ReshardResult{}, err
	}
	defer os.RemoveAll(dir)
	r := &reshardRun{run: &run{dir: dir, o: Options{Gateway: o.Gateway, Sink: o.Sink, Store: o.Store, Shards: o.From, Seed: o.Seed, Log: o.Log}, tune: o.tune}, o: o}
	if err := r.start(); err != nil {
		return r.res, fmt.Errorf("reshard: %w", err)
	}
	defer r.srv.Close()
	defer r.outlet.stop()
	defer func() {
		if r.g != nil {
			r.g.cmd.Process.Kill()
		}
	}()
	r.env = append(r.env, o.setting())
	if r.client, err = admin.NewClient(admin.ClientOptions{Socket: filepath.Join(dir, "state", admin.SocketName)}); err != nil {
		return r.res, err
	}
	defer r.client.Close()
	if err := r.all(ctx); err != nil {
		if r.g != nil {
			err = fmt.Errorf("%w\n%s", err, tail(r.g.stderr.Bytes()))
		}
		return r.res, fmt.Errorf("reshard: seed %d: %w", o.Seed, err)
	}
	return r.res, nil
}

// tune has the simulator make what all sessions of a guild have in common.
func (o *ReshardOptions) tune(so *sim.Options) {
	so.Common, so.Hold, so.CommonSkew = true, true, 50*time.Millisecond
	so.Rate, so.LoneSurrogates, so.Undocumented = o.Rate/float64(o.From), false, false
	so.MaxConcurrency, so.UnavailableEvery = max(o.From, o.To), -1
}

// setting is the shard count that gateways are started with.
func (o *ReshardOptions) setting() string { return fmt.Sprint("DISCORD_SHARD_COUNT=", o.From) }

// count returns the shard count in force, once all shards are ready.
func (r *reshardRun) count(ctx context.Context) (n int, err error) {
	err = r.wait(ctx, r.g, "the shards", func() bool {
		s, err := r.client.Status(ctx, status.Query{Limit: 1})
		if err != nil || s.Shards.Count == 0 || s.Shards.Ready < s.Shards.Count {
			return false
		}
		n = s.Shards.Count
		return true
	})
	return n, err
}

// reshardTook is about how long a resharding takes, of which a kill comes in the middle.
const reshardTook = 12 * time.Second

func (r *reshardRun) all(ctx context.Context) (err error) {
	rng := rand.New(rand.NewPCG(r.o.Seed, 0))
	from, to, kills := r.o.From, r.o.To, r.o.Kills
	if r.g, err = r.launch(r.point(rng, kills)); err != nil {
		return err
	}
	if _, err := r.count(ctx); err != nil {
		return err
	}
	r.srv.Play()
	for round := 0; round < max(r.o.Rounds, 1); {
		if _, err := r.client.Reshard(ctx, to, true); err != nil {
			return err
		}
		kill := kills > 0 && rng.IntN(3) < 2 || kills >= max(r.o.Rounds, 1)-round && kills > 0
		var at <-chan time.Time
		if kill {
			at = time.After(time.Duration(rng.Int64N(int64(reshardTook))))
		}
		killed, done, err := r.follow(ctx, to, at)
		if err != nil {
			return err
		}
		if killed {
			kills--
			r.res.Kills++
			if r.g, err = r.launch(r.point(rng, kills)); err != nil {
				return err
			}
			n, err := r.count(ctx)
			if err != nil {
				return err
			}
			done = n == to
			r.say("killed; after the restart %d shards are in force", n)
			if n != from && n != to {
				return fmt.Errorf("%d shards are in force, which is neither %d nor %d", n, from, to)
			}
		}
		if done {
			round++
			r.res.Reshards++
			r.say("%d shards in place of %d", to, from)
			from, to = to, from
		}
	}
	r.srv.Silence()
	if err := r.wait(ctx, r.g, "the last events", r.last()); err != nil {
		return err
	}
	r.g.cmd.Process.Signal(syscall.SIGTERM)
	_, err = r.g.finished(true)
	r.pauses()
	r.judge(&r.res)
	return err
}

// last returns what reports whether nothing comes any more: they may be fewer than have happened, which judge finds.
func (r *run) last() func() bool {
	arrived, since := -1, time.Now()
	return func() bool {
		n := 0
		r.outlet.look(func(a *arrivals) { n = len(a.events) })
		if n != arrived {
			arrived, since = n, time.Now()
		}
		still := time.Since(since)
		return still > 300*time.Millisecond && n >= len(r.srv.Ledger().Common()) || still > 5*time.Second
	}
}

// judge compares what happened with what has arrived.
func (r *run) judge(res *ReshardResult) {
	time.Sleep(200 * time.Millisecond) // for what comes twice
	r.outlet.look(func(a *arrivals) {
		res.compare(r.srv.Ledger().Common(), a.events)
		res.Gaps, res.Again = len(a.gaps), a.again
	})
	if deduplicates(r.o.Sink) {
		res.Repeated += res.Again
	}
	res.Identifies = r.srv.Ledger().Summary().Identifies
}

// point returns where the next process ends by itself, right at the switch; empty: nowhere.
func (r *reshardRun) point(rng *rand.Rand, kills int) string {
	points := []string{"store.replace:1", "store.replaced:1", "", ""}
	if at := points[rng.IntN(len(points))]; kills > 0 {
		return at
	}
	return ""
}

// follow waits until the count is in force, or the gateway is killed: at that time, or by itself.
func (r *reshardRun) follow(ctx context.Context, to int, at <-chan time.Time) (killed, done bool, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		select {
		case <-at:
			r.g.cmd.Process.Kill()
			_, err := r.g.finished(false)
			r.pauses()
			return true, false, err
		case e := <-r.g.ended:
			r.g.ended <- e
			_, err := r.g.finished(false)
			r.pauses()
			return true, false, err
		case <-ctx.Done():
			return false, false, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		s, err := r.client.Status(ctx, status.Query{Limit: 1})
		if err == nil && s.Shards.Count == to && s.Reshard != nil && s.Reshard.Stage == "" {
			r.say("after %.0f s: %d events shown by both, %d by the old shards alone, %d by the new ones alone, %d switches taken back", s.Reshard.Since, s.Reshard.Agreed, s.Reshard.OldAlone, s.Reshard.NewAlone, s.Reshard.Failures)
			return false, true, nil
		}
		if err == nil && s.Reshard != nil && s.Reshard.Stage == "" && s.Reshard.Error != "" {
			return false, false, errors.New(s.Reshard.Error)
		}
	}
	return false, false, fmt.Errorf("waited in vain for %d shards", to)
}

var switched = regexp.MustCompile(`resharding: switched".* pause=(\S+)`)

// pauses takes the pauses at the switch out of the log.
func (r *reshardRun) pauses() {
	for line := range bytes.Lines(r.g.stderr.Bytes()) {
		if bytes.Contains(line, []byte("resharding:")) {
			r.say("  %s", bytes.TrimSpace(line))
		}
		if d, is := pauseOf(line); is {
			r.res.Pauses = append(r.res.Pauses, d)
		}
	}
}

// pauseOf returns the pause at a switch, if a line of the log has one.
func pauseOf(line []byte) (d time.Duration, is bool) {
	m := switched.FindSubmatch(line)
	if m == nil {
		return 0, false
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(m[1])))
	return d, err == nil
}
