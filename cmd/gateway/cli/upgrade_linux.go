// This file hands over to another version of the program.

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/resume/file"
)

// errUpgrade is the cause of the end of a process that hands over.
var errUpgrade = errors.New("upgrade")

// checkTimeout bounds how long the new program may take to check the settings.
const checkTimeout = 30 * time.Second

// ignoreUpgrades drops SIGUSR2, which would kill the process. It lasts over exec.
func ignoreUpgrades() { signal.Ignore(syscall.SIGUSR2) }

// upgrades hands the process over when it is asked to, and reports the outcome.
type upgrades struct {
	cfg *config.Config
	log *slog.Logger
	// attempt is the one that is in progress: one that this process has begun, or at first
	// the one that has put it in the place of another program; nil: there is none.
	attempt atomic.Pointer[report]
	first   *report
}

// newUpgrades returns the upgrades of a process that is about to start.
func newUpgrades(cfg *config.Config, log *slog.Logger) *upgrades {
	u := &upgrades{cfg: cfg, log: log}
	if r, err := readReport(cfg.ShardStore.Directory); err == nil && cfg.ShardStore.Type == config.StoreFile && r.PID == os.Getpid() && r.State == stateDraining {
		u.first = &r
		u.attempt.Store(u.first)
	}
	return u
}

// await returns a context that ends with errUpgrade after SIGUSR2, if the program that
// then lies where this one was started from takes the settings. While an upgrade is in
// progress, another signal asks for nothing more.
func (u *upgrades) await(ctx context.Context, args []string) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	go func() {
		for {
			select {
			case <-asked:
			case <-ctx.Done():
				return
			}
			r := report{ID: time.Now().UnixNano(), PID: os.Getpid(), State: stateChecking}
			u.attempt.Store(&r)
			u.report(r)
			err := checkSuccessor(ctx, args, u.cfg)
			if ctx.Err() != nil {
				u.failed(nil)
				return
			}
			if err != nil {
				u.log.Error("upgrade: this process goes on", "error", err)
				u.end(stateRefused, err)
				continue
			}
			r.State = stateDraining
			u.report(r)
			u.log.Info("upgrade: the sessions are handed over")
			end(errUpgrade)
			return
		}
	}()
	return ctx
}

// started reports that the program runs in the place of another one.
func (u *upgrades) started() {
	if u.first != nil && u.attempt.Load() == u.first { // or another one has begun already
		u.end(stateDone, nil)
	}
}

// failed reports that an upgrade has ended the process.
func (u *upgrades) failed(err error) {
	if err == nil {
		err = errors.New("the process was ended")
	}
	u.end(stateFailed, err)
}

// end reports the outcome of the upgrade that is in progress, if there is one.
func (u *upgrades) end(state string, err error) {
	attempt := u.attempt.Swap(nil)
	if attempt == nil {
		return
	}
	r := report{ID: attempt.ID, PID: attempt.PID, State: state}
	if err != nil {
		r.Error = u.cfg.KnownSecrets().Redact(explain(err))
	}
	u.report(r)
}

// report leaves word for `gateway upgrade`. It is of no use to the process itself.
func (u *upgrades) report(r report) {
	if u.cfg.ShardStore.Type != config.StoreFile {
		return // nobody can ask but by a signal
	}
	if err := writeReport(u.cfg.ShardStore.Directory, r); err != nil {
		u.log.Warn("upgrade: the outcome is not reported to who asks for it", "state", r.State, "error", err)
	}
}

// checkSuccessor finds out whether the program, as it is on the disk now, would start.
func checkSuccessor(ctx context.Context, args []string, cfg *config.Config) error {
	inFleet := cfg.Shards.Auto // the next process resumes what the fleet has
	if !inFleet && cfg.ShardStore.Type == config.StoreMemory {
		return errors.New("shard_store.type is memory, which the next process cannot read; it must be file or redis")
	}
	if !inFleet && cfg.ShardStore.Type == config.StoreFile {
		if pid, err := file.Owner(cfg.ShardStore.Directory); err != nil || pid != os.Getpid() {
			return errors.New("shard_store.directory cannot be written: the sessions are in memory, which the next process cannot read")
		}
	}
	name, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"check"}, args...)...)
	cmd.Env = append(os.Environ(), heldAddresses(cfg)...)
	cmd.WaitDelay = time.Second // one of its own children may hold its output
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return fmt.Errorf("%s has not checked the settings within %v", name, checkTimeout)
	case err != nil:
		return fmt.Errorf("%s would not start: %w: %s", name, err, cfg.Secrets().Redact(string(out)))
	}
	return nil
}

// succeed puts the program that is on the disk now in the place of this one, with the same
// process id, arguments and environment. It returns only with an error.
func succeed(environ []string) error {
	// The next program has no handler from its first moment.
	ignoreUpgrades()
	name, err := os.Executable()
	if err == nil {
		err = syscall.Exec(name, os.Args, environ)
	}
	return fmt.Errorf("upgrade: %w", err)
}
