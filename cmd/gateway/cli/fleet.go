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
	"sluice/cmd/gateway/metrics"
	"sluice/cmd/gateway/status"
	"sluice/engine"
	"sluice/fleet"
	fleetredis "sluice/fleet/redis"
	"sluice/internal/fleetengine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/sinks/redis"
	"sluice/wire"
)

// membership is this process as a member of a fleet.
type membership struct {
	fleet       *fleet.Fleet
	queue       *fleet.Queue
	others      *fleet.Queue      // for identify.address
	coordinator fleet.Coordinator // nil: join has not been called
	shards      int               // of the fleet when it was joined; 0: not joined
	out         sinks.Reporter    // the broker's; nil: it says nothing of itself
	owner       string            // under which shards are claimed at the sink
	keeper      *resume.Keeper
	cfg         *config.Config
	api         *wire.API
	log         *slog.Logger
	broker      Broker
	began       time.Time // the process

	leave context.CancelFunc // nil: run has not been called
	done  sync.WaitGroup
}

// newMembership returns what makes this process a member; nil: the settings ask for no fleet.
func newMembership(cfg *config.Config, api *wire.API, log *slog.Logger) *membership {
	if !cfg.Shards.Auto {
		return nil
	}
	return &membership{owner: rand.Text(), cfg: cfg, api: api, log: log, began: time.Now()}
}

// join joins the fleet, whose events go to the sink, and returns what all members have in common.
func (m *membership) join(ctx context.Context, broker Broker, sink sinks.Sink) (plan fleet.Plan, err error) {
	m.broker = broker
	coordinator, err := newCoordinator(m.cfg, m.log)
	if err != nil {
		return plan, err
	}
	m.out, _ = sink.(sinks.Reporter)
	claimer, _ := sink.(sinks.Claimer)
	f := &m.cfg.Fleet
	m.fleet = fleet.New(fleet.Options{
		Coordinator: coordinator,
		Member: fleet.Member{
			Name: memberName(m.cfg), Zone: f.Zone, Weight: f.Weight, Address: m.cfg.HTTP.Address, Version: version,
		},
		Plan:        fleetPlan(m.cfg, broker),
		Recommended: m.recommended,
		Session:     func(shard int, c resume.Checkpoint) resume.Session { return m.keeper.Resumes(shard, c) },
		Checkpoint:  func(shard int, s resume.Session) resume.Checkpoint { return m.keeper.Checkpoint(shard, s) },
		Sink:        claimer,
		Delivers:    delivers(sink),
		Death:       f.Death,
		Rules:       fleet.Rules{Moves: f.Moves, Settle: f.Settle, Return: f.Return},
		Log:         m.log,
	})
	m.coordinator = coordinator
	m.queue, m.others = m.fleet.Queue(), m.fleet.QueueForOthers(identify.Travel)
	m.keeper = &resume.Keeper{Store: m.fleet.Store(), Bot: sessionsOf(m.cfg), OldBot: oldSessionsOf(m.cfg), Intents: m.cfg.Intents, Log: m.log}
	return m.insist(ctx)
}

// newCoordinator returns what the members of the bot's fleet have together in Redis.
func newCoordinator(cfg *config.Config, log *slog.Logger) (*fleetredis.Coordinator, error) {
	client, err := redisClient(cfg)
	if err != nil {
		return nil, err
	}
	return &fleetredis.Coordinator{
		Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, client) },
		Prefix:  cfg.ShardStore.Prefix, Bot: strconv.FormatUint(sessionsOf(cfg), 16), Log: log,
	}, nil
}

// memberName returns what this process is called in its fleet.
func memberName(cfg *config.Config) string {
	host, _ := os.Hostname()
	return cmp.Or(cfg.Fleet.Member, host)
}

// insist joins, for as long as it takes. Meanwhile health is served: the process lives, and is not ready.
func (m *membership) insist(ctx context.Context) (plan fleet.Plan, err error) {
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
			return plan, nil
		case errors.As(err, new(*fleet.MisfitError)):
			return plan, settingError{misfit(err)}
		case errors.As(err, new(*redis.ConfigError)):
			return plan, settingError{fmt.Errorf("redis.urls: %w", err)}
		case ctx.Err() != nil:
			return plan, ctx.Err()
		}
		text := m.cfg.KnownSecrets().Redact(explain(err))
		why.Store(&text)
		if waiting == nil {
			m.log.Warn("fleet: cannot join yet; trying again", "error", err)
			if waiting, err = serveAdmin(m.cfg, m.waiting(func() string { return *why.Load() }), m.log); err != nil {
				return plan, err
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// waiting returns what is served of a process that has not joined its fleet yet.
func (m *membership) waiting(why func() string) admin.Options {
	src := &status.Source{
		Engine: idle{}, Sink: m.out, Title: m.broker.Title, Config: m.cfg, Version: version, Started: m.began,
		Fleet: func() *status.Fleet { return status.WaitingFleet(memberName(m.cfg), why()) },
	}
	if m.broker.server != nil {
		src.Address = m.broker.addresses(m.cfg)
	}
	figures := metrics.New(metrics.Source{Version: version, Revision: builtFrom(), Broker: m.cfg.Broker.Type, Fleet: m.fleet.Snapshot})
	return admin.Options{Status: src.Status, Checks: src.Checks, Metrics: figures}
}

// idle is an engine that does not run yet.
type idle struct{}

func (idle) Status() engine.Status                                      { return engine.Status{} }
func (idle) AppendShards(dst []engine.ShardStatus) []engine.ShardStatus { return dst }

// memberEngine is the engine of a member, as it is shown: the budget of session starts is the fleet's.
type memberEngine struct {
	*engine.Engine
	queue *fleet.Queue
}

// Status is the engine's, with what it does not know of the budget.
func (m memberEngine) Status() engine.Status {
	s := m.Engine.Status()
	q := m.queue.Snapshot()
	if i := &s.Identify; !i.Known && q.Known {
		b := q.Budget
		i.Known, i.MaxConcurrency, i.Total, i.Left, i.Reserve, i.Reset = true, b.Concurrency, b.Total, b.Remaining, b.Reserve, b.Reset
		i.Exhausted = i.Waiting > 0 && b.Remaining <= b.Reserve
	}
	return s
}

// Drain implements admin.Fleet.
func (m *membership) Drain() error {
	if !m.fleet.Draining() {
		m.log.Info("fleet: this member was asked to drain: it gives its shards to others, and takes none until the process is restarted")
	}
	m.fleet.BeginDrain()
	return nil
}

// Rebalance implements admin.Fleet.
func (m *membership) Rebalance() error {
	if m.fleet.Draining() {
		return errors.New("this member drains: it gives all of its shards")
	}
	if m.fleet.Resharding().Stage != fleet.ReshardNone {
		return errResharded
	}
	m.fleet.Rebalance()
	return nil
}

// errResharded is why a member does not rebalance, of the command and of the member.
var errResharded = errors.New("the bot is being resharded: until that has ended nothing moves to balance the fleet")

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
func (m *membership) options(o *engine.Options, plan fleet.Plan) {
	o.Shards, o.Generation, o.IDs = plan.Shards, plan.Generation, []int{}
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
		if err := m.fleet.Run(member, fleetengine.Engine{Engine: e}); err != nil {
			stop(err)
		}
	})
	m.done.Go(func() { m.queue.Run(member) })
	m.done.Go(func() { m.watchBudget(member) })
	context.AfterFunc(ctx, func() {
		if m.cfg.Fleet.Return > 0 && !m.fleet.Draining() { // the next process of this name resumes them
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

// leaveTimeout bounds how long a process that cannot start takes to leave.
const leaveTimeout = 2 * time.Second

// close leaves a fleet that was joined, and in which run has not taken part, and lets go of the coordinator.
func (m *membership) close() {
	if m.coordinator == nil {
		return
	}
	if m.shards > 0 && m.leave == nil {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		if err := m.fleet.Leave(ctx); err != nil {
			m.log.Warn("this member could not leave its fleet; the others find out that it is gone", "error", err)
		}
	}
	m.coordinator.Close()
}

// refreshBudget is how often a member in which nobody waits looks at what is left of the fleet's budget, which status and
// metrics show.
const refreshBudget = 10 * time.Second

// askAgain is how long the budget is not asked for again, unless its day is over.
const askAgain = time.Minute

// watchBudget tells the fleet what Discord says of the day's Identifies: at the start, when its day is
// over, and when nothing is left by the fleet's own count.
func (m *membership) watchBudget(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var asked, refreshed time.Time
	for ; ctx.Err() == nil; wait(ctx, tick.C) {
		if time.Since(refreshed) >= refreshBudget {
			m.queue.Refresh()
			refreshed = time.Now()
		}
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
		if at.IsZero() { // or all turns that were ever given would count as given since
			continue
		}
		asked = now
		l := wire.AssumedStartLimit(max(m.shards, m.fleet.Snapshot().Plan.Shards)) // a reshard may have made them more
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
		err := m.coordinator.Budget(ctx, fleet.Budget{Total: l.Total, Remaining: l.Remaining, Reserve: reserve, Reset: now.Add(l.ResetAfter), Concurrency: max(1, l.MaxConcurrency)}, at)
		if err != nil {
			asked = time.Time{}
			continue
		}
		refreshed = time.Time{} // or the queue's day would seem to be over until then
	}
}

func wait(ctx context.Context, c <-chan time.Time) {
	select {
	case <-c:
	case <-ctx.Done():
	}
}
