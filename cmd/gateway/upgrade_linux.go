// This file hands over to another version of the program.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"sluice/cmd/gateway/config"
	"sluice/resume"
)

// errUpgrade is the cause of the end of a process that hands over.
var errUpgrade = errors.New("upgrade")

// awaitUpgrade returns a context that ends with errUpgrade after SIGUSR2, if the program that
// then lies where this one was started from takes the settings.
func awaitUpgrade(ctx context.Context, args []string, cfg *config.Config, log *slog.Logger) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	go func() {
		defer signal.Stop(asked)
		for {
			select {
			case <-asked:
			case <-ctx.Done():
				return
			}
			if err := checkSuccessor(ctx, args, cfg); err != nil {
				log.Error("upgrade: this process goes on", "error", err)
				continue
			}
			log.Info("upgrade: the sessions are handed over")
			end(errUpgrade)
			return
		}
	}()
	return ctx
}

// checkSuccessor finds out whether the program, as it is on the disk now, would start.
func checkSuccessor(ctx context.Context, args []string, cfg *config.Config) error {
	if cfg.ShardStore.Type == config.StoreMemory {
		return errors.New("shard_store.type is memory, which the next process cannot read; it must be file or redis")
	}
	name, err := os.Executable()
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, name, append([]string{"check"}, args...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not take the settings: %w: %s", name, err, config.Redact(string(out)))
	}
	return nil
}

// succeed puts the program that is on the disk now in the place of this one, with the same
// process id, arguments and environment. It returns only with an error.
func succeed(environ []string) error {
	name, err := os.Executable()
	if err == nil {
		err = syscall.Exec(name, os.Args, environ)
	}
	return fmt.Errorf("upgrade: %w", err)
}

// upgrade is `gateway upgrade`: it asks the process that has the state directory to hand over.
func upgrade(cfg *config.Config, stdout, stderr io.Writer) int {
	if cfg.ShardStore.Type != config.StoreFile {
		fmt.Fprintf(stderr, "error: shard_store.type: with %q it is not known which process to ask; send it SIGUSR2\n", cfg.ShardStore.Type)
		return exitUsage
	}
	pid, err := resume.Owner(cfg.ShardStore.Directory)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGUSR2)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: shard_store.directory: %v\n", err)
		return exitFailure
	}
	fmt.Fprintf(stdout, "process %d hands over; its log says how it goes\n", pid)
	return exitOK
}
