// This file reshards fleets to which anything happens.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/fleet"
	"sluice/fleet/fleettest"
)

// Whatever is lost and whoever dies, in the end one count is run by those that live.
func TestReshardRandom(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	done := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			var mu sync.Mutex
			chance := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
			resharding(t, 16, 4, func(t *team) {
				ills := []int{0, 20, 50}[chance(3)] // in a thousand
				faulty := func(string) fleettest.Fault {
					switch n := chance(1000); {
					case n < ills:
						return fleettest.Fault{Lose: true}
					case n < 2*ills:
						return fleettest.Fault{LoseAnswer: true}
					case n < 3*ills:
						return fleettest.Fault{LoseAnswer: true, Late: time.Duration(chance(3000)) * time.Millisecond}
					case n < 5*ills:
						return fleettest.Fault{Delay: time.Duration(chance(700)) * time.Millisecond}
					}
					return fleettest.Fault{}
				}
				for _, n := range t.nodes {
					n.set(faulty)
					n.engine.lingers = time.Duration(chance(4000)) * time.Millisecond
				}
				to := []int{32, 24, 20, 8, 48}[chance(5)]
				for range 5 {
					if t.nodes[0].Reshard(context.Background(), to) == nil {
						break
					}
				}
				for range 3 + chance(5) {
					time.Sleep(time.Duration(chance(4000)) * time.Millisecond)
					n := t.nodes[chance(len(t.nodes))]
					switch chance(8) {
					case 0, 1:
						if len(t.nodes) > 2 {
							t.dies(n)
						}
					case 2:
						n.set(lost) // and is back, deposed or not
						time.Sleep(time.Duration(chance(10_000)) * time.Millisecond)
						n.set(faulty)
					case 3:
						t.add(fmt.Sprint("x", chance(1000))).set(faulty)
					case 4:
						if chance(3) == 0 {
							_ = n.CallOff(context.Background())
						}
					case 5:
						fails := 1 + chance(2)
						n.engine.mu.Lock()
						n.engine.fails = func() error {
							if fails--; fails >= 0 {
								return errors.New("no such luck")
							}
							return nil
						}
						n.engine.mu.Unlock()
					}
				}
				for _, n := range t.nodes {
					n.set(nil)
				}
				for i := 0; t.view().Reshard.Stage != fleet.ReshardNone; i++ {
					if time.Sleep(time.Second); i == 600 {
						t.Fatalf("no end: %+v", t.view().Reshard)
					}
				}
				time.Sleep(90 * time.Second)
				if t.view().Plan.Shards == to {
					done++
				}
				t.check(t.view().Plan.Shards)
			})
		})
	}
	t.Logf("%d of %d have come to another count", done, seeds)
	if done < seeds/3 {
		t.Errorf("%d of %d have come to another count", done, seeds)
	}
}
