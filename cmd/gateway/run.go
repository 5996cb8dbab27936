// This file runs the gateway with its settings.

package main

import (
	"context"
	"errors"
	"log/slog"

	"sluice/cmd/gateway/config"
)

// run runs the gateway until ctx is done or Discord refuses the bot for good.
func run(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	return errors.New("gateway: the engine is not wired in yet")
}
