//go:build unix

// This file tests what signals do.

package cli

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// heed undoes signal.Ignore.
func heed(sig os.Signal) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, sig)
	signal.Stop(c)
}

func TestAwaitStop(t *testing.T) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP) // the tests may be run by nohup
	defer signal.Stop(c)
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Cleanup(func() { heed(syscall.SIGHUP) })
			ctx, release := awaitStop()
			syscall.Kill(os.Getpid(), sig)
			<-ctx.Done()
			if !release() {
				t.Error("the signal is not reported")
			}
		})
	}
	ctx, release := awaitStop()
	if release() || ctx.Err() == nil {
		t.Error("a signal is reported that has not come")
	}
	if signal.Ignored(syscall.SIGHUP) {
		t.Error("SIGHUP is ignored by what comes next")
	}
	signal.Ignore(syscall.SIGHUP)
	defer heed(syscall.SIGHUP)
	_, release = awaitStop()
	defer release()
	if !signal.Ignored(syscall.SIGHUP) {
		t.Error("nohup has no effect")
	}
}
