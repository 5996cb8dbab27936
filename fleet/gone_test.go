package fleet_test

import (
	"testing"
	"time"
)

// Who was seen deposed is gone, and who is not found only after the time of death; without the coordinator nobody is.
func TestGone(t *testing.T) {
	run(t, func(p *party) {
		a, b, c := p.add("a"), p.add("b"), p.add("c")
		time.Sleep(20 * time.Second)
		dead, left := b.Incarnation(), c.Incarnation()
		if a.Gone(a.Incarnation()) || a.Gone(dead) || a.Gone(left) {
			t.Error("one that lives is gone")
		}
		if a.Gone("nobody") {
			t.Error("one that has not been seen is gone at once")
		}
		time.Sleep(5900 * time.Millisecond)
		if a.Gone("nobody") {
			t.Error("one that has not been seen is gone before the time of death")
		}
		time.Sleep(200 * time.Millisecond)
		if !a.Gone("nobody") {
			t.Error("one that has not been seen for the time of death is not gone")
		}
		b.way.set(true)
		c.stop()
		time.Sleep(8 * time.Second)
		if !a.Gone(dead) {
			t.Error("one that was deposed is not gone")
		}
		if a.Gone(left) {
			t.Error("one that has left is gone at once")
		}
		a.way.set(true)
		time.Sleep(5 * time.Second)
		if a.Gone(dead) || a.Gone("nobody") {
			t.Error("without the coordinator one is gone")
		}
		a.way.set(false)
		b.way.set(false)
		time.Sleep(30 * time.Second)
		if !a.Gone(left) {
			t.Error("one that has left is not gone")
		}
		if b.Incarnation() == dead || a.Gone(b.Incarnation()) {
			t.Error("who joins again is gone")
		}
	})
}
