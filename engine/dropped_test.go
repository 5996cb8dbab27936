// This file tests what becomes of the commands that wait for a shard which goes.

package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
)

// Of a shard that is removed or deposed each command that was not sent is given back, once and in order, those
// that were merged too, and no other; when the engine stops none is.
func TestDropped(t *testing.T) {
	for _, how := range []string{"removed", "deposed", "not confirmed", "stopped"} {
		t.Run(how, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				o := newOwners(true)
				w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 10_000}, engine.Options{IDs: none, Confirm: o.confirm})
				w.add(0, resume.Session{Epoch: 1})
				w.add(1, resume.Session{Epoch: 1})
				w.ready(2)
				var mu sync.Mutex
				var sent, dropped []int
				note := func(of *[]int, i int) func() {
					return func() {
						mu.Lock()
						defer mu.Unlock()
						*of = append(*of, i)
					}
				}
				// The one for all members of a guild is sent once in 30 s, and one that is equal goes with it.
				send := func(i, shard, nonce int) {
					packet := fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","query":"","limit":0,"nonce":"%d"}}`, (shard+2)<<22, nonce)
					if err := w.engine.Send(t.Context(), sinks.Command{Shard: shard, Packet: []byte(packet), Sent: note(&sent, i), Dropped: note(&dropped, i)}); err != nil {
						t.Error(err)
					}
				}
				send(0, 0, 0)
				send(10, 1, 0)
				time.Sleep(time.Second)
				for i, nonce := range []int{1, 2, 2, 3} {
					send(i+1, 0, nonce)
				}
				send(11, 1, 1)
				time.Sleep(time.Second)
				switch how {
				case "removed":
					w.remove(0)
				case "deposed":
					w.engine.Depose(0)
				case "not confirmed":
					o.mu.Lock()
					o.auto = false
					o.mu.Unlock()
					w.srv.Cut(0, true)
					w.wait("the question", func() bool { return w.shard(0).State == engine.Confirming })
					o.answer(false)
				}
				want := []int{1, 2, 3, 4}
				if how == "stopped" {
					w.end()
					want = nil
				} else {
					time.Sleep(2 * time.Minute)
				}
				mu.Lock()
				if !slices.Equal(dropped, want) {
					t.Errorf("dropped %v, want %v", dropped, want)
				}
				slices.Sort(sent) // of two shards
				if how != "stopped" && !slices.Equal(sent, []int{0, 10, 11}) {
					t.Errorf("sent %v", sent)
				}
				mu.Unlock()
				if how != "stopped" {
					w.end()
				}
			})
		})
	}
}
