// This file handles the signals that end the process.

package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// hangupReloads reports whether SIGHUP has the settings read again. A process that began in a terminal gets
// it when that goes away, and ends; one that began without is a service. Under nohup it is ignored.
func hangupReloads() bool { return !signal.Ignored(syscall.SIGHUP) && !hasTerminal() }

// awaitHangups returns where SIGHUP arrives, for a process that reads its settings again then.
func awaitHangups() <-chan os.Signal {
	came := make(chan os.Signal, 1) // one that waits is for all
	signal.Notify(came, syscall.SIGHUP)
	return came
}

// stopSignals are the signals with which the process ends as it should. SIGHUP is one unless it has the
// settings read again: an end without the drain would repeat or lose what waits.
func stopSignals(reloads bool) []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !reloads && !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// awaitSignals returns a context that is done when the process is to stop, and where a reload is asked for if
// it runs the gateway: by signals, or by the service manager, which takes their place. For release see
// awaitStop.
func awaitSignals(runs bool, m *manager) (ctx context.Context, hangups <-chan os.Signal, release func() bool) {
	if m != nil {
		return m.ctx, m.reloads, func() bool { return false }
	}
	reloads := runs && hangupReloads()
	if reloads {
		hangups = awaitHangups()
	}
	ctx, release = awaitStop(reloads)
	return ctx, hangups, release
}

// awaitStop returns a context that is done after the first signal. From then on a signal has its
// own effect again, so that a second one ends the process at once; but for SIGHUP, which a
// terminal and a shell may both send, or a supervisor for a reload. release gives up waiting, and reports whether a signal came.
func awaitStop(reloads bool) (ctx context.Context, release func() bool) {
	came := make(chan os.Signal, 1)
	signal.Notify(came, stopSignals(reloads)...)
	ctx, cancel := context.WithCancel(context.Background())
	done, stopped := make(chan struct{}), false
	go func() {
		defer close(done)
		select {
		case <-came:
			stopped = true
			// Before anything can be seen of it: a second one may come at once.
			signal.Ignore(syscall.SIGHUP)
			signal.Stop(came)
			cancel()
		case <-ctx.Done(): // released
			signal.Stop(came) // returns when what came before it is where it belongs
			stopped = len(came) > 0
		}
	}()
	return ctx, func() bool {
		cancel()
		<-done
		return stopped
	}
}
