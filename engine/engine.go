// This file starts and stops the shards.

package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/engine/overlap"
	"sluice/internal/failpoint"
	"sluice/internal/proxy"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// Engine runs shards. Its methods may be called by any goroutine.
type Engine struct {
	opts    Options
	proxy   *proxy.Dialer
	running atomic.Pointer[shardSet]
	counts  *engineCounts
	reshard atomic.Pointer[resharding] // at work; nil: none is

	resharded atomic.Pointer[ReshardStatus] // the last that has ended; nil: none has
	started   chan struct{}                 // closed when running is set
	ended     chan struct{}                 // closed when Run returns
}

// New returns an Engine for the options, or an error that names the one that
// is missing or wrong.
func New(o Options) (*Engine, error) {
	switch {
	case o.Token == "":
		return nil, errors.New("engine: Options.Token is empty")
	case o.Sink == nil:
		return nil, errors.New("engine: Options.Sink is nil")
	case o.API == nil && (o.GatewayURL == "" || o.Shards == 0):
		return nil, errors.New("engine: Options.API is nil, and GatewayURL and Shards are not both set")
	case o.Identify != nil && o.Permit != nil:
		return nil, errors.New("engine: Options.Permit is of no use with Options.Identify")
	case o.Shards < 0 || o.Generation < 0:
		return nil, fmt.Errorf("engine: Options.Shards is %d and Generation %d", o.Shards, o.Generation)
	}
	e := &Engine{opts: o.withDefaults(), counts: newEngineCounts(), started: make(chan struct{}), ended: make(chan struct{})}
	e.proxy = &proxy.Dialer{
		Proxy: e.opts.Proxy, DialContext: e.opts.DialContext, TLS: e.opts.TLS, UserAgent: e.opts.UserAgent, Timeout: e.opts.ConnectTimeout,
	}
	return e, nil
}

// Run connects the shards and hands their events to the sink until ctx is done
// or a failure ends it. It then closes the connections so that the sessions
// live on, lets the sink take what has been received, closes the sink, has the last snapshots
// persisted and returns: nil after ctx was done, a *FatalError for an
// answer of Discord that trying again cannot mend, the sink's error, or ErrDrain
// if the sink did not take everything within Options.ShutdownTimeout, in which
// case it is not closed. Run is called once.
func (e *Engine) Run(ctx context.Context) (err error) {
	defer close(e.ended)
	var keeping *saver
	if e.opts.Checkpoints != nil {
		keeping = newSaver(e.opts.Checkpoints)
		defer func() {
			if err := keeping.close(); err != nil {
				e.opts.Log.Error("the last snapshots of the sessions are not persisted", "error", err)
			}
		}()
	}
	var info wire.GatewayBot
	var u *url.URL
	var fatal atomic.Pointer[FatalError] // the first
	defer func() {
		if f := fatal.Load(); f != nil {
			err = f // whatever else went wrong: this is what to do something about
		}
	}()
	if e.opts.GatewayURL == "" || e.opts.Shards == 0 {
		info, u, err = e.askGateway(ctx, nil)
	} else {
		u, err = e.mainURL(info)
	}
	var count int
	var ids []int
	if err == nil {
		count, ids, err = e.shardIDs(info)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = nil
		}
		return errors.Join(err, e.opts.Sink.Close())
	}

	failed := make(chan error, 1) // the first failure
	dialing, stopDialing := context.WithCancel(context.Background())
	defer stopDialing()
	reader, err := e.newReader(dialing, u)
	if err != nil {
		return errors.Join(err, e.opts.Sink.Close())
	}
	env := &environment{
		opts:     &e.opts,
		first:    newGeneration(int32(e.opts.Generation%maxGenerations), count),
		identify: newIdentifyQueue(min(info.Limit.MaxConcurrency, wire.MaxShards)),
		turns:    e.opts.Identify,
		gateway:  &gatewayAddress{main: u},
		saver:    keeping,
		counts:   e.counts,
		fail: func(err error) {
			var f *FatalError
			if errors.As(err, &f) {
				fatal.CompareAndSwap(nil, f)
			}
			select {
			case failed <- err:
			default:
			}
		},
	}
	env.inForce.Store(env.first)
	env.overlap = overlap.New(e.opts.Sink)
	var asking sync.WaitGroup
	arriving := e.opts.MaxMessage
	if e.opts.Compression != wire.CompressionNone {
		arriving = compressedBound(arriving)
	}
	env.packets = e.opts.PacketCounts && (e.opts.PacketShards == 0 || len(ids) <= e.opts.PacketShards)
	env.arriving = wire.NewBudget(arriving, len(ids))
	env.bounds = wire.Bounds{
		Turns:    wire.NewTurns(max(e.opts.Readers, runtime.GOMAXPROCS(0))),
		Arriving: env.arriving,
		Windows:  wire.NewBudget(4<<20, 0),
	}
	if env.turns == nil {
		env.turns = env.identify
	}
	// A close code after which Discord wants no reconnect ends them all: it would be that of the others.
	env.fatal = func(err *FatalError) { env.fail(err) }
	env.identify.onEmpty = func(until time.Time) {
		e.opts.Log.Warn("Identify budget used up; shards wait to identify",
			"until", until.Format(time.RFC3339), "reserve", e.opts.StartReserve)
	}
	env.identify.reserve = e.opts.StartReserve
	if e.opts.Permit != nil {
		env.identify.permits = &permits{ask: e.opts.Permit, ctx: dialing, run: asking.Go}
	}
	if keeping != nil {
		env.identify.starts = e.opts.Checkpoints.Starts()
	}
	if e.opts.API != nil {
		ask := func() { asking.Go(func() { e.refreshGateway(dialing, env) }) }
		env.gateway.ask, env.identify.onReset = ask, ask
	}
	if info.URL != "" {
		env.limit(info.Limit)
	} else {
		env.identify.assume(count, time.Now())
	}

	if p, err := e.proxy.For(u); err == nil && p != nil {
		e.opts.Log.Info("connecting through a proxy", "proxy", p.Scheme+"://"+p.Host)
	}
	e.opts.Log.Info("starting", "shards", len(ids), "of", count, "max_concurrency", len(env.identify.buckets))
	var all []*shard
	for _, id := range ids {
		var from resume.Session
		if e.opts.Checkpoints != nil {
			from = e.opts.Checkpoints.Session(id)
			from.Epoch = 0 // that is of a fleet, which adds its shards
		}
		all = append(all, newShard(id, env.first, env, from))
	}
	publisher := newPublisher(env.overlap, max(e.opts.Linger, 0))
	reader.start(publisher)
	f := &shardSet{env: env, publisher: publisher, reader: reader, leaving: make(map[int]*shard), tasks: &asking, stopping: dialing}
	env.drop = f.drop
	env.pulse.after, env.pulse.began = e.opts.SuspectAfter, time.Now()
	if e.opts.Confirm != nil || e.opts.Trusted != nil {
		asking.Go(func() { env.pulse.run(dialing) })
	}
	publishing, stopPublishing := context.WithCancel(context.Background())
	defer stopPublishing()
	f.publishing = publishing
	f.start(all)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if err := publisher.run(publishing); err != nil {
			env.fail(fmt.Errorf("engine: sink: %w", err))
		}
	}()
	asking.Go(func() { e.watch(dialing, f) })
	e.running.Store(f)
	if keeping != nil {
		keeping.run(f, e.opts.CheckpointEvery)
	}
	close(e.started)

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	deadline := time.NewTimer(e.opts.ShutdownTimeout)
	defer deadline.Stop()

	stopDialing()
	env.identify.close()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f.close()
		reader.wait()
		failpoint.Hit("drain")
		asking.Wait()
		publisher.close()
	}()
	select {
	case <-stopped:
	case <-deadline.C:
		return errors.Join(err, ErrDrain)
	}
	select {
	case <-drained:
		select {
		case late := <-failed: // the sink, while it was drained
			err = errors.Join(err, late)
		default:
		}
		err = errors.Join(err, e.opts.Sink.Close())
	case <-deadline.C:
		err = errors.Join(err, ErrDrain) // Publish still runs: the sink can't be closed
	}
	return err
}

// shardIDs returns the shard count and the shards to run.
func (e *Engine) shardIDs(info wire.GatewayBot) (count int, ids []int, err error) {
	count = e.opts.Shards
	if count == 0 {
		count = info.Shards
	}
	// Discord recommends one shard for about 1,000 guilds and refuses (4011)
	// more than 2,500 on one.
	if info.Shards > 0 && count*5 < info.Shards*2 {
		e.opts.Log.Warn("Discord will probably refuse this shard count (4011): more than 2,500 guilds on a shard",
			"shards", count, "recommended", info.Shards)
	}
	if e.opts.IDs == nil {
		ids = make([]int, count)
		for i := range ids {
			ids[i] = i
		}
		return count, ids, nil
	}
	ids = slices.Clone(e.opts.IDs)
	slices.Sort(ids)
	for _, id := range ids {
		if id < 0 || id >= count {
			return 0, nil, &ShardIDError{ID: id, Shards: count}
		}
	}
	return count, slices.Compact(ids), nil
}

// Send gives a command to its shard. It is sent in its turn: after the shard is
// ready, in order with the shard's other commands, within Discord's limits; one that
// is equal to a pending one, or makes it obsolete, is merged with it. Send waits
// until Run has its shards, or ctx is done, and for no shard. The error says why
// a command is refused: with ErrQueueFull it may be sent again later. Send does not keep
// c.Packet.
func (e *Engine) Send(ctx context.Context, c sinks.Command) error {
	f, err := e.wait(ctx)
	if err != nil {
		if errors.Is(err, sinks.ErrStopped) {
			return e.refuse(refusedStopped, err)
		}
		return err
	}
	now := f.current.Load()
	id, count := c.Shard, now.gen.shards
	if c.Guild != 0 {
		id = wire.ShardOf(c.Guild, count)
	}
	s := now.find(id)
	if s != nil && s.gen.replaced.Load() {
		return e.refuse(refusedByQueue(sinks.ErrQueueFull), fmt.Errorf("%w: the bot is being resharded", sinks.ErrQueueFull))
	}
	recounted := now.gen != f.env.first || e.opts.Generation > 1
	noShard := func() error {
		return e.refuse(refusedNoShard, fmt.Errorf("shard %d does not exist with %d shards", id, count))
	}
	switch {
	case id >= count && recounted: // it may be of the count before
	case id < 0 || id >= count:
		return noShard()
	case s == nil || s.leaving.Load():
		return e.refuse(refusedNotLocal, &sinks.NotLocalError{Shard: id})
	}
	parsed, err := wire.ParseCommand(c.Packet)
	if err != nil {
		return e.refuse(refusedInvalid, err)
	}
	if parsed.AllMembers && f.env.opts.Intents&wire.IntentGuildMembers == 0 {
		// Discord ends the session over it.
		return e.refuse(refusedIntent, errors.New("all members of a guild are given only to a bot with the intent GUILD_MEMBERS"))
	}
	if s == nil && parsed.Guild == 0 && len(parsed.Guilds) == 0 {
		return noShard()
	}
	if err := checkRoute(parsed, id, count); err != nil {
		if !recounted {
			return e.refuse(refusedGuild, err)
		}
		// Whoever has sent it goes by the count before.
		w := waitingCommand{Command: parsed}
		id = w.shard(id, count)
		if s = now.find(id); s == nil || s.leaving.Load() {
			return e.refuse(refusedNotLocal, &sinks.NotLocalError{Shard: id})
		}
	}
	if err := s.commands.add(parsed, append([]byte(nil), c.Packet...), fate{c.Sent, c.Dropped}); err != nil {
		return e.refuse(refusedByQueue(err), fmt.Errorf("shard %d: %w", id, err))
	}
	s.wake(wakeCommands)
	return nil
}

// checkRoute returns an error for a command about guilds that its shard does not serve.
// Of several guilds one must be the shard's: Discord does not answer for the others.
func checkRoute(c wire.Command, id, shards int) error {
	guilds := c.Guilds
	if c.Guild != 0 {
		guilds = []uint64{c.Guild}
	}
	served := func(guild uint64) bool { return wire.ShardOf(guild, shards) == id }
	if len(guilds) == 0 || slices.ContainsFunc(guilds, served) {
		return nil
	}
	return fmt.Errorf("op %d: the packet goes to shard %d, and guild %d in it belongs to shard %d",
		c.Op, id, guilds[0], wire.ShardOf(guilds[0], shards))
}

// Shards returns the shard count and the ids of the shards that this engine runs now, in
// ascending order. It waits until Run has them, or ctx is done.
func (e *Engine) Shards(ctx context.Context) (count int, ids []int, err error) {
	f, err := e.wait(ctx)
	if err != nil {
		return 0, nil, err
	}
	now := f.current.Load()
	for _, s := range now.all {
		ids = append(ids, s.id)
	}
	return now.gen.shards, ids, nil
}

// Full reports whether the events that wait for the sink have reached Options.QueueBytes, so
// that shards wait until it takes some.
func (e *Engine) Full() bool {
	f := e.running.Load()
	return f != nil && slices.ContainsFunc(f.publisher.queues, func(o *queue) bool { return o.waits.Load() })
}

// Done is closed when Run has returned: no command is sent any more.
func (e *Engine) Done() <-chan struct{} { return e.ended }
