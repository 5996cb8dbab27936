// This file shares turns to identify with processes that are no members of a fleet.

package cli

import (
	"context"
	"log/slog"

	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/identify"
	"sluice/engine"
)

// permission returns what asks identify.queue before each Identify; nil: nothing is asked.
func permission(cfg *config.Config, log *slog.Logger) func(ctx context.Context, shard int) error {
	if cfg.Identify.Queue == "" {
		return nil
	}
	return identify.NewClient(cfg.Identify.Queue, log).Permit
}

// serveIdentify listens at identify.address, if there is one, and returns what gives the turns there of the fleet, or
// else of the engine, until ctx is done.
func serveIdentify(cfg *config.Config, member *membership, e *engine.Engine, log *slog.Logger) (serve func(ctx context.Context), err error) {
	if cfg.Identify.Address == "" {
		return func(context.Context) {}, nil
	}
	s, err := identify.Listen(identify.Options{Address: cfg.Identify.Address, Hosts: cfg.HTTP.Hosts, Log: log})
	if err != nil {
		return nil, settingError{err}
	}
	return func(ctx context.Context) {
		defer s.Close()
		if member != nil {
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			go member.others.Run(ctx)
			s.Serve(ctx, member.others)
			return
		}
		if q, err := e.QueueForOthers(ctx, identify.Travel); err == nil {
			s.Serve(ctx, q)
		}
	}, nil
}
