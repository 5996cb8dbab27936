// This file handles the signals that end the process.

package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// stopSignals are the signals with which the process ends as it should. SIGHUP, with which a
// terminal goes away, is one: nothing is loaded anew, and an end without the drain would
// repeat or lose what waits.
func stopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// awaitStop returns a context that is done after the first signal. From then on a signal has its
// own effect again, so that a second one ends the process at once; but for SIGHUP, which a
// terminal and a shell may both send. release gives up waiting, and reports whether a signal came.
func awaitStop() (ctx context.Context, release func() bool) {
	signals := stopSignals()
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	came := make(chan os.Signal, 1)
	signal.Notify(came, signals...)
	context.AfterFunc(ctx, func() {
		signal.Stop(came)
		if len(came) > 0 {
			signal.Ignore(syscall.SIGHUP)
		}
		stop()
	})
	return ctx, func() bool {
		// Each Stop returns when what came before it is where it belongs.
		signal.Stop(came)
		stop()
		return len(came) > 0
	}
}
