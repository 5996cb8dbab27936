//go:build !linux

// This file is for the systems on which a process does not hand over to another version.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"sluice/cmd/gateway/config"
)

var errUpgrade = errors.New("upgrade")

func awaitUpgrade(ctx context.Context, _ []string, _ *config.Config, _ *slog.Logger) context.Context {
	return ctx
}

func succeed([]string) error { return errUpgrade }

func upgrade(_ *config.Config, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "error: upgrade is for Linux alone: end the process, and start the new one")
	return exitUsage
}
