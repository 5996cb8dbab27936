//go:build unix

// This file tests what signals do.

package cli

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

func TestAwaitStop(t *testing.T) {
	// SIGHUP has a handler while none of the test's own has it: the tests may be run by nohup.
	c := make(chan os.Signal, 1)
	handle := func() { signal.Notify(c, syscall.SIGHUP) }
	handle()
	defer signal.Stop(c)
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			ctx, release := awaitStop(false)
			syscall.Kill(os.Getpid(), sig)
			<-ctx.Done()
			if !signal.Ignored(syscall.SIGHUP) { // a second signal may come as soon as something can be seen of the first
				t.Error("the signals have not their own effect again")
			}
			if !release() {
				t.Error("the signal is not reported")
			}
			handle()
		})
	}
	ctx, release := awaitStop(false)
	if release() || ctx.Err() == nil {
		t.Error("a signal is reported that has not come")
	}
	if signal.Ignored(syscall.SIGHUP) {
		t.Error("SIGHUP is ignored by what comes next")
	}
	signal.Ignore(syscall.SIGHUP)
	defer handle()
	_, release = awaitStop(false)
	defer release()
	if !signal.Ignored(syscall.SIGHUP) {
		t.Error("nohup has no effect")
	}
}
