// This file makes the process a member of a fleet, if the settings ask for one.

package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/identify"
	"sluice/cmd/gateway/status"
	"sluice/engine"
	"sluice/fleet"
	fleetredis "sluice/fleet/redis"
	"sluice/resume"
	"sluice/sinks"
	"sluice/sinks/redis"
	"sluice/wire"
)

// membership is this process as a member of a fleet.
type membership struct {
	fleet  *fleet.Fleet
	queue  *fleet.Queue
	others *fleet.Queue // for identify.address
	turns  fleet.Turns
	shards int    // of the fleet
	owner  string // under which shards are claimed at the sink
	keeper *resume.Keeper
	cfg    *config.Config
	api    *wire.API
	log    *slog.Logger

	leave context.CancelFunc
	done  sync.WaitGroup
}

// newMembership returns what makes this process a member; nil: the settings ask for no fleet.
func newMembership(cfg *config.Config, api *wire.API, log *slog.Logger) *membership {
	if !cfg.Shards.Auto {
		return nil
	}
	return &membership{owner: rand.Text(), cfg: cfg, api: api, log: log}
}

// join joins the fleet, whose events go to the sink, and returns how many shards it has.
func (m *membership) join(ctx context.Context, broker Broker, sink sinks.Sink) (shards int, err error) {
	client, err := redisClient(m.cfg)
	if err != nil {
		return 0, err
	}
	coordinator := &fleetredis.Coordinator{
		Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, client) },
		Prefix:  m.cfg.ShardStore.Prefix, Bot: strconv.FormatUint(sessionsOf(m.cfg), 16), Log: m.log,
	}
	host, _ := os.Hostname()
	claimer, _ := sink.(sinks.Claimer)
	f := &m.cfg.Fleet
	m.fleet = fleet.New(fleet.Options{
		Coordinator: coordinator,
		Member: fleet.Member{
			Name: cmp.Or(f.Member, host), Zone: f.Zone, Weight: f.Weight, Address: m.cfg.HTTP.Address, Version: version,
		},
		Plan: fleet.Plan{
			Shards: m.cfg.Shards.Count, Intents: uint64(m.cfg.Intents), Format: broker.Name + " " + broker.format(m.cfg),
		},
		Recommended: m.recommended,
		Session:     func(shard int, c resume.Checkpoint) resume.Session { return m.keeper.Resumes(shard, c) },
		Sink:        claimer,
		Delivers:    delivers(sink),
		Death:       f.Death,
		Rules:       fleet.Rules{Moves: f.Moves, Settle: f.Settle, Return: f.Return},
		Log:         m.log,
	})
	m.turns = coordinator
	m.queue, m.others = m.fleet.Queue(), m.fleet.QueueForOthers(identify.Travel)
	m.keeper = &resume.Keeper{Store: m.fleet.Store(), Bot: sessionsOf(m.cfg), OldBot: oldSessionsOf(m.cfg), Intents: m.cfg.Intents, Log: m.log}
	return m.insist(ctx)
}

// insist joins, for as long as it takes. Meanwhile health is served: the process lives, and is not ready.
func (m *membership) insist(ctx context.Context) (shards int, err error) {
	var waiting *admin.Server
	defer func() {
		if waiting != nil {
			waiting.Close()
		}
	}()
	var why atomic.Pointer[string]
	for {
		plan, err := m.fleet.Join(ctx)
		switch {
		case err == nil:
			m.shards = plan.Shards
			return plan.Shards, nil
		case errors.As(err, new(*fleet.MisfitError)):
			return 0, settingError{err}
		case errors.As(err, new(*redis.ConfigError)):
			return 0, settingError{fmt.Errorf("redis.urls: %w", err)}
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
		text := m.cfg.KnownSecrets().Redact(explain(err))
		why.Store(&text)
		if waiting == nil {
			m.log.Warn("fleet: cannot join yet; trying again", "error", err)
			if waiting, err = serveAdmin(m.cfg, admin.Options{Checks: func() []status.Check { return joining(*why.Load()) }}, m.log); err != nil {
				return 0, err
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// joining are the conditions of a process that has not joined its fleet yet.
func joining(why string) []status.Check {
	return []status.Check{
		{Name: "fleet", Of: status.Livez, OK: true, Text: "this process waits to join"},
		{Name: "fleet", Of: status.Readyz, Text: "not joined yet: " + why},
	}
}

// delivers returns what reports whether a sink takes events.
func delivers(sink sinks.Sink) func() bool {
	r, ok := sink.(sinks.Reporter)
	if !ok {
		return nil
	}
	return func() bool { st := r.Status(); return st.Available || st.Since.IsZero() }
}

// hold returns a sink before the broker's, if that cannot refuse what this process still has of shards that it
// has lost. Nothing is published before join.
func (m *membership) hold(sink sinks.Sink) sinks.Sink {
	if _, refuses := sink.(sinks.Claimer); refuses {
		return sink
	}
	trusted := func() bool { return m.fleet.Trusted() }
	owned := func(shard int, epoch int64) bool { return m.fleet.Owns(shard, epoch) }
	return fleet.Hold(sink, trusted, owned, m.log)
}

// recommended asks Discord how many shards the bot should have.
func (m *membership) recommended(ctx context.Context) (int, error) {
	if m.api == nil {
		return 0, settingError{errors.New("shards.count is not set, and the API is not asked: set it")}
	}
	bot, err := m.api.GatewayBot(ctx)
	return bot.Shards, err
}

// options adds to an engine's options what a member has.
func (m *membership) options(o *engine.Options, shards int) {
	o.Shards, o.IDs = shards, []int{}
	o.Checkpoints = m.keeper
	o.Confirm, o.Trusted, o.Identify = m.fleet.Confirm, m.fleet.Trusted, m.queue
	o.SuspectAfter = m.cfg.Fleet.Death * 2 / 3
}

// run takes part in the fleet, and returns a context for the engine: it ends when ctx is done and the
// shards are handed over, as far as others take them, or with the fleet's error as its cause.
func (m *membership) run(ctx context.Context, e *engine.Engine) context.Context {
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	member, leave := context.WithCancel(context.WithoutCancel(ctx))
	m.leave = leave
	m.done.Go(func() {
		if err := m.fleet.Run(member, e); err != nil {
			stop(err)
		}
	})
	m.done.Go(func() { m.queue.Run(member) })
	m.done.Go(func() { m.watchBudget(member) })
	context.AfterFunc(ctx, func() {
		if m.cfg.Fleet.Return > 0 { // the next process of this name resumes them
			stop(ctx.Err())
			return
		}
		soon, cancel := context.WithTimeout(working, m.cfg.ShutdownTimeout)
		defer cancel()
		m.fleet.Drain(soon)
		stop(ctx.Err())
	})
	return working
}

// end leaves the fleet, once the engine has stopped. It returns what has ended the fleet, if that was an error.
func (m *membership) end(working context.Context) error {
	m.leave()
	m.done.Wait()
	if err := context.Cause(working); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// askAgain is how long the budget is not asked for again, unless its day is over.
const askAgain = time.Minute

// watchBudget tells the fleet what Discord says of the day's Identifies: at the start, when its day is
// over, and when nothing is left by the fleet's own count.
func (m *membership) watchBudget(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var asked time.Time
	for ; ctx.Err() == nil; wait(ctx, tick.C) {
		b, known, waiting := m.queue.Budget()
		if seen, ok, more := m.others.Budget(); more > 0 {
			b, known, waiting = seen, ok, waiting+more
		}
		now := time.Now()
		over := known && !b.Reset.After(now)
		spent := known && waiting > 0 && b.Remaining <= b.Reserve
		if now.Sub(asked) < askAgain || known && !over && !spent {
			continue
		}
		at := m.fleet.Time()
		asked = now
		l := wire.AssumedStartLimit(m.shards)
		if m.api != nil {
			bot, err := m.api.GatewayBot(ctx)
			if err != nil {
				m.log.Warn("fleet: Discord does not say how many session starts are left", "error", err)
				continue
			}
			l = bot.Limit
		} else if spent && !over {
			continue
		}
		reserve := min(m.cfg.Shards.IdentifyReserve, l.Total/10)
		err := m.turns.Budget(ctx, fleet.Budget{Total: l.Total, Remaining: l.Remaining, Reserve: reserve, Reset: now.Add(l.ResetAfter), Concurrency: max(1, l.MaxConcurrency)}, at)
		if err != nil {
			asked = time.Time{}
			continue
		}
		m.queue.Refresh() // or its day would seem to be over until a shard waits
	}
}

func wait(ctx context.Context, c <-chan time.Time) {
	select {
	case <-c:
	case <-ctx.Done():
	}
}
