// This file has the tests of notices.

package fleettest

import (
	"context"
	"fmt"
	"time"

	"sluice/fleet"
)

// noticed runs a step until somebody who watches is notified: a notice may be lost. Those of prepare, of
// which there may be some, are not taken for it.
func (k *kit) noticed(what string, told <-chan struct{}, some bool, prepare, step func()) {
	k.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		prepare()
		if some {
			select {
			case <-told:
			case <-time.After(time.Second):
			}
		}
		for quiet := false; !quiet; { // notices of what was before may come late
			select {
			case <-told:
			case <-time.After(20 * time.Millisecond):
				quiet = true
			}
		}
		step()
		select {
		case <-told:
			return
		case <-time.After(time.Second):
		}
	}
	k.Errorf("nobody is notified of %s", what)
}

var noticeTests = []test{
	{"Watch", func(k *kit) {
		ctx, cancel := context.WithCancel(k.ctx)
		var told [2]chan struct{}
		done := make(chan struct{})
		for i := range told {
			told[i] = make(chan struct{}, 1000)
			go func() {
				k.Watch(ctx, func() { told[i] <- struct{}{} })
				done <- struct{}{}
			}()
		}
		k.join("a", "b")
		var n int // of shards, each of which has one notice
		var owner, given fleet.Owner
		var leaves string
		acquire := func() { n++; owner = k.acquire("a", n) }
		give := func() { given = k.give(n, owner, "b") }
		join := func() { n++; leaves = fmt.Sprint("c", n); k.join(leaves); k.acquire(leaves, n) }
		k.noticed("a shard given", told[0], false, acquire, give)
		k.noticed("a shard given, to another who watches", told[1], false, acquire, give)
		k.noticed("a shard taken", told[0], true, func() { acquire(); give() }, func() { k.ok(k.Take(k.ctx, n, given)) })
		k.noticed("a shard taken back", told[0], true, func() { acquire(); give() }, func() { k.ok(err2(k.TakeBack(k.ctx, n, given, "a"))) })
		k.noticed("a shard freed", told[0], false, join, func() { k.ok(k.Leave(k.ctx, leaves)) })
		k.noticed("an owner deposed", told[1], false, join, func() { k.depose(leaves) })
		cancel()
		for range told {
			select {
			case <-done:
			case <-time.After(time.Minute):
				k.Fatal("Watch has not returned")
			}
		}
	}},
}
