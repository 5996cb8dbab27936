// This file looks at what the page shows of a fleet.

package e2e

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"sluice/cmd/gateway/page"
	"sluice/cmd/gateway/page/pagetest"
	"sluice/cmd/gateway/status"
)

// The box is there in a fleet alone. It has the members, whatever they are called, and what is not well. The line of a
// resharding, of the fleet's as of that of one process, is there while it is at work.
func TestPageFleet(t *testing.T) {
	t.Parallel()
	var fleet atomic.Pointer[status.Fleet]
	source := pagetest.New(4, 1, time.Now(), slog.DiscardHandler)
	s := &shown{Source: source}
	s.serve(t, page.Options{Shards: source.Shards, Period: 20 * time.Millisecond, Summary: func() *status.Status {
		source.Step(time.Second)
		d := source.Summary()
		d.Fleet = fleet.Load()
		return d
	}})
	p := openTab(t, browser(t), s.url, desktop)
	const box = "#fleet"
	p.says("#more", "published")
	if !value[bool](p, "document.getElementById('fleet').hidden") {
		t.Error("there is a box without a fleet")
	}
	f := func() *status.Fleet {
		return &status.Fleet{
			Joined: true, Member: "pod-0", Incarnation: "AAAAAAAAAAAA", Confirmed: true, Plan: status.FleetPlan{Shards: 64},
			Members: []status.FleetMember{
				{Name: "<b>pod-1", Incarnation: "BBBBBBBBBBBB", State: "draining", Shards: 23, Beat: 7},
				{Name: "pod-0", Incarnation: "AAAAAAAAAAAA", State: "up", Shards: 41, Share: 64, Beat: 0.1},
			},
			Moves: []status.FleetMove{{Shard: 3, From: "BBBBBBBBBBBB", To: "AAAAAAAAAAAA"}}, Deaths: []status.FleetDeath{},
		}
	}
	fleet.Store(f())
	for _, text := range []string{"pod-0, confirmed", "41 of 64", "<b>pod-1", "draining", "23", "64.0"} {
		p.says(box, text)
	}
	if !value[bool](p, "document.getElementById('reshard').hidden") {
		t.Error("there is a line without a resharding")
	}
	r := status.Reshard{Stage: "comparing", From: 64, To: 128, Ready: 128, Failures: 1, Error: "<b>why", Fleet: &status.FleetReshard{Members: 2, Agreed: 1}}
	source.Reshard(&r)
	p.until("document.getElementById('reshard').checkVisibility()")
	p.says("#reshard", "Reshard "+r.Summary())
	p.shoot("fleet")
	source.Reshard(&status.Reshard{From: 64, To: 128, Failures: 6, Error: "called off"})
	p.until("document.getElementById('reshard').hidden")
	next := f()
	next.Confirmed, next.Error, next.Unowned, next.Draining = false, "dial: refused", 5, true
	next.Deaths = append(next.Deaths, status.FleetDeath{Incarnation: "CCCCCCCCCCCC", At: time.Now(), Shards: 21})
	fleet.Store(next)
	for _, text := range []string{"pod-0, not confirmed, draining", "dial: refused", "CCCCCCCC, ", " ago, with 21 shards"} {
		p.says(box, text)
	}
	p.until("document.querySelectorAll('#fleet dd.alarm').length == 2")
	fleet.Store(status.WaitingFleet("pod-0", "nobody listens"))
	p.says(box, "pod-0 has not joined yet: nobody listens")
	fleet.Store(nil)
	p.until("document.getElementById('fleet').hidden")
	p.quiet()
}
