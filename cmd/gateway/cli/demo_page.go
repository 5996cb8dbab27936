// This file serves the page of the demo.

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/tap"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/commands"
)

// demoPage is what the demo's listener needs, which is that of a gateway without settings.
type demoPage struct {
	address string // empty: off
	level   *slog.LevelVar
	logs    *page.Logs
}

// serve listens until the result is closed, which is nil without an address.
func (p *demoPage) serve(ctx context.Context, e *engine.Engine, out sinks.Sink, tapped *tap.Sink, log *slog.Logger) (*admin.Server, error) {
	if p.address == "" {
		return nil, nil
	}
	// No file, no variable of the environment: neither is of the demo. There is no token for actions, and no
	// control socket: a gateway beside it may have that.
	sources := config.Sources{File: os.DevNull}
	cfg, _ := config.Load(sources)
	counts := commands.NewCounts()
	w := watch{
		e: e, out: out, tap: tapped, broker: registry(Brokers()).of(cfg), counts: counts, logs: p.logs, began: time.Now(),
		r: newReloader(sources, cfg, p.level, log),
	}
	parts := w.parts(ctx, cfg)
	parts.Address, parts.Log = p.address, log
	served, err := admin.Listen(parts)
	if err != nil {
		return nil, fmt.Errorf("-address: %w", err)
	}
	return served, nil
}
