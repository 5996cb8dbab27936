// This file tests what comes while READY is made.

package sim

import (
	"sync"
	"testing"
	"time"
)

// Heartbeats that come at the very moment of READY find a whole session.
func TestHeartbeatsAroundReady(t *testing.T) {
	const shards = 200
	srv, err := New(Options{Shards: shards, MaxConcurrency: shards, SendLimit: 1 << 20, ReadyDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	d := dialer{srv: srv}
	var wg sync.WaitGroup
	for shard := range shards {
		c := d.mustDial(t, srv.GatewayURL(), "v=10&encoding=json")
		wg.Go(func() {
			c.send(identify(shard, shards, 1))
			for range 300 {
				c.send(`{"op":1,"d":null}`)
			}
		})
	}
	wg.Wait()
	whole := func() bool {
		s := srv.Ledger().Summary()
		return s.Heartbeats == 300*shards && s.Alive == shards
	}
	for end := time.Now().Add(time.Minute); !whole(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(srv.Ledger().Summary())
		}
	}
}
