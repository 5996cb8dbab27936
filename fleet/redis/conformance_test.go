//go:build unix

// This file holds the coordinator to the contract, and to the one in memory.

package redis

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sluice/fleet/fleettest"
	"sluice/fleet/memory"
	"sluice/sinks/sinktest/redistest"
)

func TestCoordinator(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	var bots atomic.Int64
	fleettest.Test(t, func(t *testing.T) fleettest.Subject {
		return subject(t, srv, fmt.Sprint("bot", bots.Add(1)))
	})
}

// subject is a coordinator whose clock can be advanced.
func subject(t testing.TB, srv *redistest.Server, bot string) fleettest.Subject {
	c := open(t, srv.Addr, bot)
	return fleettest.Subject{
		Coordinator: c,
		Advance:     func(d time.Duration) { c.skew.Add(d.Milliseconds()) },
		Forget: func(incarnation string) {
			srv.CLI("HDEL", c.key("members"), incarnation)
			srv.CLI("ZREM", c.key("deposed"), incarnation)
		},
	}
}

// The scripts do what the code in memory does.
func TestRandom(t *testing.T) {
	t.Parallel()
	random(t, 20_000, 1)
}

// random compares the coordinators by so many steps.
func random(t *testing.T, steps int, seed uint64) {
	c := open(t, redistest.Start(t).Addr, "bot")
	c.still.Store(time.Now().UnixMilli())
	m := memory.New(func() time.Time { return time.UnixMilli(c.still.Load()) })
	fleettest.Random(t, m, c, func(d time.Duration) { c.still.Add(d.Milliseconds()) }, steps, seed)
}
