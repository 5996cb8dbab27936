// This file tests what is seen of a fleet, and how it is steered.

package fleet_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
)

// of returns a member in a snapshot.
func of(t *testing.T, s fleet.Snapshot, name string) fleet.MemberStatus {
	t.Helper()
	for _, m := range s.Members {
		if m.Name == name {
			return m
		}
	}
	t.Errorf("there is no member %s in %+v", name, s.Members)
	return fleet.MemberStatus{}
}

// A snapshot has members with their shards and shares, and what was moved.
func TestSnapshot(t *testing.T) {
	run(t, func(p *party) {
		early := fleet.New(p.options("early", p.c))
		if s := early.Snapshot(); s.Incarnation != early.Incarnation() || s.Confirmed || !s.At.IsZero() {
			t.Errorf("before the first look: %+v", s)
		}
		a := p.add("a")
		time.Sleep(5 * time.Second)
		b := p.add("b")
		time.Sleep(20500 * time.Millisecond)
		for _, m := range []*member{a, b} {
			s := m.Snapshot()
			if !s.Confirmed || time.Since(s.Beaten) > time.Second || time.Since(s.At) > time.Second || s.Draining || !s.Cut.IsZero() || s.Err != nil || s.Revision == 0 {
				t.Errorf("%+v", s)
			}
			if since := time.Since(s.Changed); since < 19*time.Second || since > 21*time.Second {
				t.Errorf("the members are the same for %v", since)
			}
			if s.Plan.Shards != shards || s.Plan.Generation != 1 || s.Plan.Format != "redis" {
				t.Errorf("plan %+v", s.Plan)
			}
			for _, name := range []string{"a", "b"} {
				is := of(t, s, name)
				if is.Shards != 32 || is.Share != 32 || time.Since(is.Beaten) > 2*time.Second || is.State != fleet.Up {
					t.Errorf("%+v", is)
				}
			}
			if len(s.Members) != 2 || len(s.Moves)+s.Unowned+s.Starting+len(s.Deaths) != 0 {
				t.Errorf("%+v", s)
			}
			if !maps.Equal(m.Epochs(), m.engine.runs) {
				t.Errorf("epochs %v, and it runs %v", m.Epochs(), m.engine.runs)
			}
		}
		if a, b := a.Snapshot().Counts, b.Snapshot().Counts; a != (fleet.Counts{Given: 32}) || b != (fleet.Counts{Taken: 32}) {
			t.Errorf("counts %+v and %+v", a, b)
		}
	})
}

// The death of a member is seen by all, with what it had. Who leaves has not died.
func TestSnapshotOfDeaths(t *testing.T) {
	for _, back := range []time.Duration{0, 30 * time.Second} {
		run(t, func(p *party) {
			p.rules.Return = back
			a, b, c, d := p.add("a"), p.add("b"), p.add("c"), p.add("d")
			time.Sleep(20500 * time.Millisecond)
			d.stop()
			if err := <-d.ended; err != nil {
				t.Error(err)
			}
			p.members = []*member{a, b, c}
			time.Sleep(back + 3*time.Second)
			had := b.engine.count()
			b.way.set(true)
			b.stop()
			time.Sleep(5 * time.Second)
			if s := a.Snapshot(); len(s.Deaths) > 0 || time.Since(of(t, s, "b").Beaten) < 4*time.Second {
				t.Errorf("5 s after its last beat: %+v", s)
			}
			time.Sleep(2700 * time.Millisecond)
			own := 0
			for _, m := range []*member{a, c} {
				s := m.Snapshot()
				if len(s.Deaths) != 1 || s.Counts.Deaths != 1 || s.Deaths[0].Member.Name != "b" || s.Deaths[0].Shards != had || time.Since(s.Deaths[0].At) > 3*time.Second {
					t.Errorf("return %v: deaths %+v, want one of b with %d shards", back, s.Deaths, had)
				} else if s.Deaths[0].Own {
					own++
				}
				if back > 0 && s.Unowned != had || back == 0 && s.Unowned != 0 {
					t.Errorf("return %v: %d shards have no owner", back, s.Unowned)
				}
			}
			if own == 0 || own > 2 {
				t.Errorf("%d members have deposed it", own)
			}
			time.Sleep(back)
			want := int64(had)
			if back > 0 { // those of d waited for it, too
				want += 16 - b.Snapshot().Counts.Takeovers
			}
			if took := a.Snapshot().Counts.Takeovers + c.Snapshot().Counts.Takeovers; took != want {
				t.Errorf("return %v: %d shards were taken over, want %d", back, took, want)
			}
			c.way.set(true)
			c.stop()
			time.Sleep(8 * time.Second)
			if s := a.Snapshot(); len(s.Deaths) != 2 || s.Deaths[0].Member.Name != "c" || !s.Deaths[0].Own {
				t.Errorf("after the next death: %+v", s.Deaths)
			}
		})
	}
}

// A member that is cut off says since when and why; one that was deposed says that, too.
func TestSnapshotOfACut(t *testing.T) {
	run(t, func(p *party) {
		a, b := p.add("a"), p.add("b")
		time.Sleep(19500 * time.Millisecond)
		first := b.Incarnation()
		b.way.set(true)
		time.Sleep(5 * time.Second)
		if s := b.Snapshot(); s.Confirmed || time.Since(s.Beaten) < 4*time.Second || time.Since(s.Cut) < 3*time.Second || !errors.Is(s.Err, errCut) {
			t.Errorf("cut off: %+v", s)
		}
		time.Sleep(5 * time.Second)
		b.way.set(false)
		time.Sleep(2 * time.Second)
		s := b.Snapshot()
		if s.Incarnation == first || !s.Confirmed || !s.Cut.IsZero() || s.Err != nil {
			t.Errorf("back: %+v", s)
		}
		if len(s.Deaths) != 1 || s.Deaths[0].Member.Incarnation != first || s.Deaths[0].Shards != 32 || s.Deaths[0].Own {
			t.Errorf("it says of its own death: %+v", s.Deaths)
		}
		if s := a.Snapshot(); len(s.Deaths) != 1 || s.Deaths[0].Member.Incarnation != first || !s.Deaths[0].Own {
			t.Errorf("the other: %+v", s.Deaths)
		}
	})
}

// Moves are seen while they are under way: by who gives before the table has them, and by others from then on.
func TestSnapshotOfMoves(t *testing.T) {
	run(t, func(p *party) {
		a := p.add("a")
		a.engine.stuck = true
		time.Sleep(5 * time.Second)
		b := p.add("b")
		time.Sleep(13 * time.Second)
		s := a.Snapshot()
		if len(s.Moves) != 16 {
			t.Errorf("%d moves, want 16: %+v", len(s.Moves), s.Moves)
		}
		for _, m := range s.Moves {
			if m.From != a.Incarnation() || m.To != b.Incarnation() || time.Since(m.Since) > 5*time.Second || time.Since(m.Since) < time.Second {
				t.Errorf("%+v", m)
			}
		}
		a.engine.mu.Lock()
		a.engine.stuck = false
		a.engine.mu.Unlock()
		if _, err := p.c.Give(context.Background(), 40, fleet.Owner{Incarnation: a.Incarnation(), Epoch: a.engine.runs[40]}, "nobody"); err == nil {
			t.Error("a shard was given to nobody")
		}
	})
}

// Who drains gives everything, takes nothing, and goes on; when others come later they get it all the same, and
// Drain waits for that then.
func TestDrainsAndStays(t *testing.T) {
	run(t, func(p *party) {
		a := p.add("a")
		time.Sleep(5 * time.Second)
		a.Drain(context.Background()) // there is nobody
		if n := a.engine.count(); n != shards || !a.Snapshot().Draining {
			t.Errorf("alone it has %d shards", n)
		}
		time.Sleep(2 * time.Second)
		if m := of(t, a.Snapshot(), "a"); m.State != fleet.Draining || m.Share != 0 || m.Shards != shards {
			t.Errorf("alone: %+v", m)
		}
		b := p.add("b")
		time.Sleep(time.Millisecond)
		a.Drain(context.Background())
		p.check("drained", b)
		if n := a.engine.count(); n > 0 {
			t.Errorf("Drain has returned with %d shards here", n)
		}
		time.Sleep(time.Minute)
		p.check("a minute later", b)
		if m := of(t, b.Snapshot(), "a"); m.State != fleet.Draining || m.Shards != 0 || a.Snapshot().Counts.Given != shards {
			t.Errorf("a minute later: %+v", m)
		}
	})
}

// A member that is to rebalance does not wait until the fleet has settled, and leaves no slack.
func TestRebalances(t *testing.T) {
	run(t, func(p *party) {
		p.rules.Settle, p.rules.Slack = time.Hour, 2
		a := p.add("a")
		time.Sleep(5 * time.Second)
		b := p.add("b")
		time.Sleep(20 * time.Second)
		if n := b.engine.count(); n != 0 {
			t.Fatalf("%d shards were moved before", n)
		}
		a.Rebalance()
		time.Sleep(3 * time.Second)
		p.check("rebalanced", a, b)
		if n := b.engine.count(); n != 32 {
			t.Errorf("the other has %d shards", n)
		}
		if since := time.Since(a.Snapshot().Changed); since > 25*time.Second {
			t.Errorf("the members are the same for %v, and the second joined 23 s ago", since)
		}
		c := p.add("c")
		time.Sleep(20 * time.Second)
		if n := c.engine.count(); n != 0 {
			t.Errorf("one command has moved %d shards twice", n)
		}
		synctest.Wait()
	})
}
