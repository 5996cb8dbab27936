package fleet

import (
	"slices"
	"testing"
	"time"
	"unsafe"
)

// observing is an observer at some second of its clock, which the coordinator's shares unless a test differs.
type observing struct {
	t *testing.T
	o Observer
	// what it sees
	members []Member
	shards  []Shard
	ahead   time.Duration // of the coordinator's clock
}

func (o *observing) at(seconds float64) []string {
	now := time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	var dead []string
	for _, d := range o.o.Observe("me", o.members, o.shards, now.Add(o.ahead), now) {
		dead = append(dead, d.Incarnation)
		i := slices.IndexFunc(o.members, func(m Member) bool { return m.Incarnation == d.Incarnation })
		if i >= 0 && o.members[i].Beat != d.Beat || i < 0 && d.Beat != 0 {
			o.t.Errorf("at %v s: %v, of members %v", seconds, d, o.members)
		}
	}
	slices.Sort(dead)
	return dead
}

// beats lets those of the members beat, and returns who is found dead, second by second.
func (o *observing) beats(from, to int, who ...int) (dead []string) {
	for s := from; s <= to; s++ {
		for _, i := range who {
			o.members[i].Beat++
		}
		dead = o.at(float64(s))
	}
	return dead
}

func (o *observing) want(what string, got []string, want ...string) {
	o.t.Helper()
	if !slices.Equal(got, want) {
		o.t.Errorf("%s: dead are %v, want %v", what, got, want)
	}
}

func newObserving(t *testing.T) *observing {
	return &observing{t: t, members: []Member{{Incarnation: "a", Beat: 7}, {Incarnation: "b", Beat: 7}, {Incarnation: "me", Beat: 7}}}
}

func TestObserverDeath(t *testing.T) {
	o := newObserving(t)
	o.want("watched for 5 s", o.beats(0, 5, 0))
	o.want("watched for 6 s", o.beats(6, 6, 0), "b")
	o.want("not deposed yet", o.beats(7, 7, 0), "b")
	o.members[1].State = Deposed
	o.want("deposed", o.beats(8, 12, 0))

	o = newObserving(t)
	o.beats(0, 5, 0)
	o.members[1].Beat = 3 // the coordinator has forgotten some
	o.want("another beat, though lower", o.beats(6, 11, 0))
	o.want("which does not change", o.beats(12, 12, 0), "b")
}

// TestObserverNobody: incarnations that own shards and have no record.
func TestObserverNobody(t *testing.T) {
	o := newObserving(t)
	o.shards = []Shard{{ID: 0, Owner: Owner{"ghost", 4}}, {ID: 1, Owner: Owner{"a", 4}}, {ID: 2, Owner: Owner{"ghost", 5}}, {ID: 3, Owner: Owner{"me", 5}}, {ID: 4}}
	o.want("5 s", o.beats(0, 5, 0, 1))
	o.want("6 s", o.beats(6, 6, 0, 1), "ghost")
	o.members = append(o.members, Member{Incarnation: "ghost", Beat: 40})
	o.want("it wrote its record again", o.beats(7, 12, 0, 1))
}

// TestObserverGap: who was stopped, or cut off, watches for the whole time of death again.
func TestObserverGap(t *testing.T) {
	o := newObserving(t)
	o.beats(0, 4, 0)
	o.want("a minute later", o.beats(60, 65, 0))
	o.want("6 s after that", o.beats(66, 66, 0), "b")

	o = newObserving(t)
	o.beats(0, 4, 0)
	o.ahead = -time.Hour
	o.want("a minute later, by another clock of the coordinator", o.beats(60, 65, 0))

	o = newObserving(t)
	o.beats(0, 4, 0)
	o.want("a gap that is too short", o.beats(6, 6, 0), "b")

	o = newObserving(t)
	o.beats(0, 4, 0)
	o.ahead = time.Minute // its own clock stood still
	o.want("suspended", o.beats(5, 10, 0))
	o.want("6 s after that", o.beats(11, 11, 0), "b")

	o = newObserving(t)
	o.beats(0, 4, 0)
	o.ahead = -time.Minute // a replica's clock
	o.want("the coordinator's clock is set back", o.beats(5, 6, 0), "b")
}

func TestObserverSilent(t *testing.T) {
	o := newObserving(t)
	o.beats(0, 2, 0)
	if s := o.o.Silent(time.Unix(1002, 0)); len(s) != 0 {
		t.Errorf("2 s: %v", s)
	}
	o.beats(3, 3, 0)
	if s := o.o.Silent(time.Unix(1003, 0)); len(s) != 1 || !s["b"] {
		t.Errorf("3 s: %v, want b", s)
	}
}

func TestPulse(t *testing.T) {
	at := func(seconds float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	trusted := func(p *Pulse, seconds float64, want bool) {
		t.Helper()
		if p.Trusted(at(seconds)) != want {
			t.Errorf("at %v s: trusted %v, want %v", seconds, !want, want)
		}
	}
	var p Pulse
	trusted(&p, 0, false)
	p.Confirm(at(0), at(1.5), at(1)) // the answer took its time
	trusted(&p, 3.9, true)
	trusted(&p, 4, false)
	p.Confirm(at(4.5), at(4.6), at(4.55))
	trusted(&p, 4.6, true)
	p.Confirm(at(3), at(4.7), at(4.65)) // an earlier beat, whose answer comes late
	trusted(&p, 8.4, true)
	trusted(&p, 8.5, false)

	// For a minute the machine was suspended, and its clock stood still.
	p = Pulse{}
	p.Confirm(at(0), at(0.1), at(0.1))
	trusted(&p, 1, true)
	if still := p.Confirm(at(1), at(1.1), at(61.1)); still < 59*time.Second {
		t.Errorf("the clock stood still for %v, want a minute", still)
	}
	trusted(&p, 1.1, false)
	p.Confirm(at(1.05), at(1.2), at(61.2)) // sent before that was known
	trusted(&p, 1.2, false)
	p.Confirm(at(2), at(2.1), at(62.1))
	trusted(&p, 2.1, true)

	// Slow answers, and a coordinator whose clock is set back, are no such thing.
	p = Pulse{}
	p.Confirm(at(0), at(0.1), at(0.05))
	for i, ahead := range []float64{0, -60, -60} {
		sent := float64(3 * (i + 1))
		if still := p.Confirm(at(sent), at(sent+2.9), at(sent+ahead+2.8)); still != 0 {
			t.Errorf("the clock stood still for %v, want 0", still)
		}
		trusted(&p, sent+2.9, true)
	}

	p = Pulse{}
	p.Confirm(at(0), at(2.9), at(0.05))
	if still := p.Confirm(at(3), at(3.2), at(3.1)); still != 0 {
		t.Errorf("the clock stood still for %v, want 0: the answer before was slow", still)
	}

	// Its wall clock shows it as soon as it wakes. No function of package time sets one forward alone.
	p = Pulse{}
	now := time.Now()
	p.Confirm(now, now, now)
	woken := now.Add(time.Second)
	if !p.Trusted(woken) {
		t.Error("not trusted a second later")
	}
	*(*uint64)(unsafe.Pointer(&woken)) += 60 << 30 // seconds of the wall clock
	if woken.Sub(now) != time.Second || woken.Round(0).Sub(now.Round(0)) != 61*time.Second {
		t.Fatal("the layout of time.Time has changed")
	}
	if p.Trusted(woken) {
		t.Error("trusted though the wall clock has gone on by a minute")
	}
}
