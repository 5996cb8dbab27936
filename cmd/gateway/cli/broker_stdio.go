// This file is the broker stdio: standard output and input.

package cli

import (
	"context"
	"io"
	"log/slog"
	"os"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/stdio"
)

func stdioBroker() Broker {
	return Broker{
		Name: config.BrokerStdio, Title: "standard output",
		sink: func(cfg *config.Config, _ *membership, _ *slog.Logger) (sinks.Opener, error) {
			if cfg.Stdio.Format == config.FormatMsgpack {
				return eventOutput(os.Stdout, stdio.MsgPack), nil
			}
			return eventOutput(os.Stdout, stdio.JSON), nil
		},
		commands: func(ctx context.Context, _ *config.Config, _ *membership, _ sinks.Opener, e *engine.Engine, counts *commands.Counts, log *slog.Logger) {
			go readCommands(ctx, os.Stdin, e, counts, log) // a read cannot be called off
		},
		format: func(cfg *config.Config) string { return cfg.Stdio.Format },
	}
}

// readCommands gives the commands on r to the engine. It returns at the end of r,
// or not before the process ends.
func readCommands(ctx context.Context, r io.Reader, e *engine.Engine, counts *commands.Counts, log *slog.Logger) {
	send := func(c sinks.Command) error { return e.Send(ctx, c) }
	if err := stdio.ReadCommands(r, send, counts, log); err != nil {
		log.Warn("commands are no longer read from standard input", "error", err)
	}
}
