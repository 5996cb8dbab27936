//go:build !windows

// This file is for the systems whose service managers start programs as a shell does, and send signals.

package cli

import (
	"errors"
	"io"

	"sluice/cmd/gateway/config"
)

var errNoServices = errors.New("service is for Windows alone: deploy has a unit for systemd and an agent for launchd")

func asService(_, _ []string) (code int, is bool) { return 0, false }

func findServices() error { return errNoServices }

func installService(command, *config.Config, io.Writer) error { return errNoServices }

func removeService(string, io.Writer) error { return errNoServices }
