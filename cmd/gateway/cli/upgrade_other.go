//go:build !linux

// This file is for the systems on which a process does not hand over to another version.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"sluice/cmd/gateway/config"
)

var errUpgrade = errors.New("upgrade")

func ignoreUpgrades() {}

type upgrades struct{}

func newUpgrades(*config.Config, *slog.Logger) *upgrades { return new(upgrades) }

func (*upgrades) await(ctx context.Context, _ []string) context.Context { return ctx }
func (*upgrades) started()                                              {}
func (*upgrades) failed(error)                                          {}

func succeed([]string) error { return errUpgrade }

func upgrade(_ context.Context, _ *config.Config, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "error: upgrade is for Linux alone: end the process, and start the new one")
	return exitUsage
}
