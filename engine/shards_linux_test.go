// This file counts the file descriptors of shards that come and go.

package engine_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/wire"
)

// On real sockets, too, shards that were removed or deposed leave nothing open.
func TestNoDescriptorLeft(t *testing.T) {
	for _, kind := range []engine.ReaderKind{engine.ReaderGoroutine, engine.ReaderEpoll} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			srv, err := sim.New(sim.Options{ReadyDelay: time.Millisecond, ReplayLimit: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			e, err := engine.New(engine.Options{
				Token: simToken, GatewayURL: srv.GatewayURL(), Shards: 1, IDs: none, Intents: wire.AllIntents, Reader: kind, Sink: new(recorder),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			wait := func(what string, holds func() bool) {
				t.Helper()
				for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("no %s: %+v", what, e.Status())
					}
				}
			}
			open := func() int {
				files, err := os.ReadDir("/proc/self/fd")
				if err != nil {
					t.Fatal(err)
				}
				return len(files)
			}
			var session resume.Session
			before := 0
			for i := range 60 {
				if err := e.Add(ctx, 0, session); err != nil {
					t.Fatal(err)
				}
				wait("readiness", func() bool { return e.Status().Ready == 1 })
				if i%3 == 0 {
					for _, s := range e.Snapshots() {
						session = s
					}
					e.Depose(0)
				} else if session, err = e.Remove(ctx, 0); err != nil {
					t.Fatal(err)
				}
				wait("end of the connection", func() bool { return srv.Connected() == 0 })
				if i == 3 {
					before = open()
				}
			}
			wait("descriptors of before", func() bool { return open() <= before+3 }) // the runtime's come and go
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
