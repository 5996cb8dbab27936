// This file chooses the subcommand.

// Command gateway-bench holds the tools that Sluice is measured and tested
// with. "gateway-bench help" lists them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// command is a subcommand. run returns when ctx is done or the work is.
type command struct {
	name  string
	short string // empty: not for people
	run   func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"sim", "run a simulated Discord that any bot can connect to", runSim},
		{"run", "measure the gateway, and others beside it", runRun},
		{"compare", "say what has changed between two results of run", runCompare},
		{"crash", "kill the gateway again and again, and compare what was sent with what arrived", runCrash},
		{"reshard", "have a bot get another shard count, kill the gateway meanwhile, and compare for each guild", runReshard},
		{"fleet", "kill, stop and restart gateways that share a bot, and compare what was sent with what arrived", runFleet},
		{"profile", "say where the gateway spends its time in a scenario", runProfile},
		{"simulator", "", runSimulator},
		{"redis-loop", "", runRedisLoop},
		{"amqp-loop", "", runAMQPLoop},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the subcommand of args and returns the exit code: 0, 1 for a
// failure, 2 for a mistake in the arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) == 1 {
			usage(stdout)
			return 0
		}
		args, stderr = []string{args[1], "-h"}, stdout
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		switch err := c.run(ctx, args[1:], stdout, stderr); {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, new(usageError)):
			fmt.Fprintf(stderr, "gateway-bench %s: %v\n", c.name, err)
			return 2
		default:
			fmt.Fprintf(stderr, "gateway-bench %s: %v\n", c.name, err)
			return 1
		}
	}
	fmt.Fprintf(stderr, "gateway-bench: no command %q\n", args[0])
	usage(stderr)
	return 2
}

// usageError is a mistake in the arguments.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: gateway-bench <command> [flags]")
	fmt.Fprintln(w)
	for _, c := range commands() {
		if c.short != "" {
			fmt.Fprintf(w, "  %-8s %s\n", c.name, c.short)
		}
	}
	fmt.Fprintf(w, "  %-8s %s\n", "help", "print this")
	fmt.Fprintln(w)
	fmt.Fprintln(w, "gateway-bench help <command> lists the flags of a command.")
}
