// This file wires what is seen of a running gateway to what serves it.

package cli

import (
	"context"
	"log/slog"
	"time"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/metrics"
	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/status"
	"sluice/cmd/gateway/tap"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/spool"
)

// watch is what there is to be seen of a gateway.
type watch struct {
	e      *engine.Engine
	out    sinks.Sink     // the broker's
	spool  *spool.Sink    // before it; nil: there is none
	tap    *tap.Sink      // before both
	keeper *resume.Keeper // nil: nothing is stored
	member *membership    // nil: this process is in no fleet
	broker Broker
	counts *commands.Counts
	r      *reloader
	logs   *page.Logs
	began  time.Time
}

// parts returns what is served, until ctx is done.
func (w *watch) parts(ctx context.Context, cfg *config.Config) admin.Options {
	src := &status.Source{
		Engine: w.e, Live: func() error { return w.e.Live(time.Now()) },
		Title: w.broker.Title, Config: cfg, Version: version, Started: w.began,
		LogLevel: func() slog.Level { return w.r.level.Level() },
		Refused:  w.refused,
	}
	figures := metrics.Source{
		Version: version, Revision: builtFrom(), Broker: cfg.Broker.Type, Engine: w.e, PacketsMode: cfg.Prometheus.Packets,
		Refused: w.refused,
	}
	if w.broker.server != nil {
		src.Address = w.broker.addresses(cfg)
	}
	if reporter, ok := w.out.(sinks.Reporter); ok {
		src.Sink, figures.Sink = reporter, reporter.Status
	}
	if w.spool != nil {
		src.Sink, src.Spool = w.spool, status.SpoolOf(w.spool)
		figures.Spool = func() metrics.SpoolStatus {
			s := w.spool.Spool()
			return metrics.SpoolStatus{Active: s.Spooling, Bytes: s.Bytes, MaxBytes: s.MaxBytes, Oldest: s.Oldest, Events: s.Spooled,
				Failing: !s.Failing.IsZero(), Damaged: s.Damaged}
		}
	}
	if w.keeper != nil {
		src.Store, figures.Store = status.StoreOf(w.keeper), w.keeper.Status
	}
	var steer admin.Fleet
	if m := w.member; m != nil {
		with := memberEngine{w.e, m.queue}
		src.Engine, figures.Engine = with, with
		figures.Fleet = m.fleet.Snapshot
		src.Fleet, src.Epochs = status.FleetOf(m.fleet, m.queue, memberName(cfg)), m.fleet.Epochs
		src.Reshard = m.fleet.Resharding
		steer = m
	}
	p := page.New(page.Options{Summary: src.Summary, Shards: src.Shards, Logs: w.logs})
	go src.Run(ctx)
	go p.Run(ctx)
	return admin.Options{
		Metrics: metrics.New(figures), Status: src.Status, Checks: src.Checks, Page: p, Tap: w.tap, Actions: w.r, Fleet: steer,
	}
}

// refused counts the commands that were refused, by reason. What refuses one, the engine included, is counted by
// whoever has read it.
func (w *watch) refused() map[string]int64 {
	all := make(map[string]int64)
	for _, s := range w.counts.Status() {
		for reason, n := range s.Refused {
			all[reason] += n
		}
	}
	return all
}
