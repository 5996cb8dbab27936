// This file runs the gateway with its settings: it wires the engine to its broker.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/metrics"
	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/tap"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/spool"
	"sluice/sinks/stdio"
)

// startTimeout is how long a start may wait for Discord before it counts as one all the same.
const startTimeout = 10 * time.Second

// run runs the gateway until ctx is done, Discord refuses the bot for good, or
// nobody reads the events any more. It calls started once everything has been opened and
// the shards are known, or Discord has not said for a while how many there are. From then on r may change
// settings.
func run(ctx context.Context, cfg *config.Config, brokers registry, log *slog.Logger, r *reloader, logs *page.Logs, started func()) error {
	began := time.Now()
	tls, err := cfg.TLS()
	if err != nil {
		return err
	}
	api, err := newAPI(cfg, tls)
	if err != nil {
		return err
	}
	if api != nil {
		defer api.Client.CloseIdleConnections()
	}
	member := newMembership(cfg, api, log)
	if member != nil {
		defer member.close()
	}
	keeper, err := newKeeper(ctx, cfg, log)
	if err != nil {
		return err
	}
	var checkpoints engine.Checkpoints
	if keeper != nil {
		checkpoints = keeper
	}
	var sink sinks.Sink
	running := false
	defer func() {
		if running {
			return // the engine closes the sink and the store
		}
		if sink != nil {
			sink.Close()
		}
		if keeper != nil {
			keeper.Store.Close()
		}
	}()
	broker := brokers.of(cfg)
	out, err := broker.open(ctx, cfg, member, log)
	if err != nil {
		return err
	}
	var full atomic.Pointer[engine.Engine]
	if sink = out; broker.server != nil {
		if sink, err = withSpool(ctx, cfg, out, &full, log); err != nil {
			return err
		}
	}
	spooled, _ := sink.(*spool.Sink)
	if member != nil {
		sink = member.hold(sink)
	}
	tapped := tap.New(sink)
	sink = tapped
	reader := engine.ReaderGoroutine
	if cfg.Reader.Type == config.ReaderEpoll {
		reader = engine.ReaderEpoll
	}
	o := engine.Options{
		Token:           cfg.Token.Reveal(),
		API:             api,
		GatewayURL:      cfg.Gateway.URL,
		GatewayHosts:    cfg.Gateway.Hosts,
		UserAgent:       userAgent(),
		Version:         cfg.GatewayVersion,
		Compression:     cfg.Compression,
		MaxMessage:      cfg.MaxMessage,
		Intents:         cfg.Intents,
		LargeThreshold:  cfg.LargeThreshold,
		Presence:        cfg.Presence,
		FollowPresence:  cfg.PresenceFollow,
		Shards:          cfg.Shards.Count,
		IDs:             cfg.Shards.IDs,
		Events:          eventSet(cfg.Events),
		Sink:            sink,
		Checkpoints:     checkpoints,
		CheckpointEvery: cfg.ShardStore.Interval,
		Gaps:            cfg.Broker.Gaps,
		StartReserve:    cfg.Shards.IdentifyReserve,
		Permit:          permission(cfg, log),
		QueueBytes:      cfg.Broker.Buffer,
		ReadyTimeout:    cfg.ReadyTimeout,
		ShutdownTimeout: cfg.ShutdownTimeout,
		Reader:          reader,
		Readers:         cfg.Reader.Count,
		PollInterval:    unlessZero(cfg.Reader.PollInterval),
		Linger:          unlessZero(cfg.Broker.Linger),
		Proxy:           cfg.ProxyFunc(),
		TLS:             tls,
		PacketCounts:    cfg.Prometheus.Packets != config.PacketsOff,
		PacketShards:    packetShards(cfg.Prometheus.Packets),
		Log:             log,
	}
	if keeper != nil {
		if o.Shards = keeper.Shards(); o.Shards != cfg.Shards.Count {
			log.Info("the bot was resharded: that shard count is in force, and not that of the settings", "shards", o.Shards, "shards.count", cfg.Shards.Count)
		}
	}
	if member != nil {
		plan, err := member.join(ctx, broker, out)
		if ctx.Err() != nil {
			return nil // it is stopped before it has joined
		} else if err != nil {
			return err
		}
		if n := cfg.Shards.Count; n > 0 && n != plan.Shards {
			log.Info("fleet: the bot was resharded: that shard count is in force, and not that of the settings", "shards", plan.Shards, "shards.count", n)
		}
		member.options(&o, plan)
		keeper = member.keeper
	}
	e, err := engine.New(o)
	if err != nil {
		return err
	}
	full.Store(e)
	if err := r.begin(e, member); err != nil {
		return err
	}
	// Without this a write to a pipe that nobody reads would kill the process
	// before it could close its connections.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	if cfg.Debug.Address != "" {
		if err := serveDebug(ctx, cfg.Debug.Address, log); err != nil {
			return err
		}
	}
	counts := commands.NewCounts()
	watched := watch{e: e, out: out, spool: spooled, tap: tapped, keeper: keeper, member: member, broker: broker, counts: counts, r: r, logs: logs, began: began}
	served, err := serveAdmin(cfg, watched.parts(ctx, cfg), log)
	if err != nil {
		return err
	}
	defer served.Close() // last: until then it is said how the shutdown goes
	context.AfterFunc(ctx, served.Drain)
	giveTurns, err := serveIdentify(cfg, member, e, log)
	if err != nil {
		return err
	}
	limitMemory(log)
	go trimMemory(ctx, e)
	var reading sync.WaitGroup
	working := ctx
	if member != nil {
		working = member.run(ctx, e)
	}
	reading.Go(func() { broker.commands(working, cfg, member, out, e, counts, log) })
	reading.Go(func() { giveTurns(ctx) })
	switch {
	case !cfg.Shards.Reshard || api == nil:
	case member != nil:
		i := itself{member, e}
		go reshardByItself(working, i, i.recommended, log)
	default:
		go reshardByItself(working, e, func(ctx context.Context) (int, error) {
			bot, err := api.GatewayBot(ctx)
			return bot.Shards, err
		}, log)
	}
	running = true
	go func() {
		soon, stop := context.WithTimeout(ctx, startTimeout)
		defer stop()
		if _, _, err := e.Shards(soon); err == nil || soon.Err() == context.DeadlineExceeded {
			started()
		}
	}()
	err = e.Run(working)
	if member != nil {
		err = cmp.Or(member.end(working), err)
	}
	stopReading()
	reading.Wait() // what has been sent is acknowledged
	if stdio.IsClosedPipe(err) {
		return errReaderGone
	}
	totals := e.Status().Counts
	if id := (*engine.ShardIDError)(nil); errors.As(err, &id) {
		return settingError{fmt.Errorf("shards.ids: %w", id)} // nothing was started
	}
	if errors.Is(err, engine.ErrDrain) {
		err = fmt.Errorf("%s did not accept every event within shutdown_timeout (%v): make it available, or raise shutdown_timeout", broker.Title, cfg.ShutdownTimeout)
	}
	figures := []any{"received", totals.Events}
	if broker, ok := out.(sinks.Reporter); ok {
		figures = append(figures, "delivered", broker.Status().Published)
	}
	log.Info("stopped", append(figures, "repeated", totals.Repeated, "resumes", totals.Resumes)...)
	return err
}

// errReaderGone is the end of whoever read the events. It is no orderly one: what supervises
// the two must see it.
var errReaderGone = errors.New("standard output was closed by its reader, and nobody takes the events; the sessions are kept as shard_store says")

// unlessZero turns a setting into the engine's option, whose zero is the default.
func unlessZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// packetShards returns with how many shards payloads are counted, as prometheus.packets says; 0: with any number.
func packetShards(mode string) int {
	if mode == config.PacketsAuto {
		return metrics.MaxPacketShards
	}
	return 0
}

// eventSet returns the names as a set; nil stays nil, which is all events.
func eventSet(names []string) map[string]struct{} {
	if names == nil {
		return nil
	}
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		set[name] = struct{}{}
	}
	return set
}
