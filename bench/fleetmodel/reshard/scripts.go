// This file has the steps of the coordinator, as fleet/memory has them.

package reshard

// Calls that may be late.
const (
	noCall = iota
	report
	agree
	toSwitch
	prepare
	commit
	abort
	callOff
)

var calls = [...]string{"", "reports", "agrees", "switches", "prepares", "commits", "aborts", "calls off"}

// set changes a row.
func (r *redis) set(id int, z row) {
	r.Revision++
	r.Rows[id] = z
}

// epoch is one that follows the time, above another.
func (g *steps) epoch(t *state, above uint8) uint8 {
	e := above + 1
	if g.Epochs {
		e = max(e, t.Clock+1)
	}
	t.Clock = max(t.Clock, e)
	return e
}

// number is that of the next attempt.
func (g *steps) number(t *state) uint8 {
	n := t.Redis.Attempt + 1
	if g.Time {
		n = max(n, t.Attempts+1)
	}
	t.Attempts = max(t.Attempts, n)
	return n
}

// none ends the reshard that is pending.
func (r *redis) none() {
	r.Stage, r.Switch = noReshard, 0
	r.Voices, r.Next = [maxLives]voice{}, [maxShards]prepared{}
}

func (g *steps) propose(t *state) {
	r := &t.Redis
	r.none()
	r.Stage, r.Failures = pending, 0
	r.Attempt = g.number(t)
}

// heard reports whether all who live have said something.
func (g *steps) heard(r *redis) bool {
	for i := range r.State {
		if r.State[i] == 1 && r.Voices[i].Said == 0 && g.Heard {
			return false
		}
	}
	return true
}

// shards reports whether all shards are of members whose voice is as demanded; alive: and that are not deposed.
func (g *steps) shards(r *redis, alive bool, demand func(v voice) bool) bool {
	for id := range g.From {
		z := &r.Rows[id]
		if z.Owner == 0 || alive && r.State[z.Owner-1] != 1 || !demand(r.Voices[z.Owner-1]) {
			return false
		}
	}
	return true
}

// do makes a call of the coordinator, and reports whether it is done.
func (g *steps) do(t *state, l *late) bool {
	r := &t.Redis
	who := l.Who - 1
	lives := r.State[who] == 1
	v := &r.Voices[who]
	at := r.Generation == 0 && r.Attempt == l.Attempt
	switch l.Kind {
	case report:
		if !lives || !at || r.Stage == noReshard || r.Stage == switching && v.Revision != 0 {
			return false
		}
		*v = voice{Said: 1}
	case agree:
		if !lives || r.Stage != pending || g.AgreeAttempt && !at || g.AgreeRevision && l.Revision != r.Revision {
			return false
		}
		for id := range g.From {
			z := &r.Rows[id]
			is := z.Owner == l.Who && z.Giver == 0
			if g.AgreeShards && (is != (l.Epochs[id] != 0) || z.Owner == l.Who && z.Epoch != l.Epochs[id]) {
				return false
			}
		}
		*v = voice{Said: 1, Revision: l.Revision}
	case toSwitch:
		if at && r.Stage == switching {
			return true // done before
		}
		if !at || r.Stage != pending || !g.heard(r) {
			return false
		}
		if g.SwitchAll && !g.shards(r, true, func(v voice) bool { return v.Revision == r.Revision || !g.SwitchNow && v.Revision != 0 }) {
			return false
		}
		r.Stage, r.Switch = switching, r.Revision
	case prepare:
		if !lives || !at || r.Stage != switching || g.PrepareTable && (r.Revision != r.Switch || v.Revision != r.Switch) {
			return false
		}
		for id, n := range l.Next {
			if n.By != 0 && (g.PrepareEpoch && n.Epoch <= r.Rows[id].Epoch || r.Next[id].By != 0 && r.Next[id].By != n.By) {
				return false
			}
		}
		for id, n := range l.Next {
			if n.By != 0 {
				r.Next[id] = n
			}
		}
		v.Prepared = 1
	case commit:
		return g.commit(t, at)
	case abort:
		switch {
		case r.Attempt < l.Attempt || r.Generation > 0:
			return false
		case r.Attempt > l.Attempt || r.Stage == noReshard:
			return true // done before, or called off
		}
		if r.Failures++; r.Failures >= maxFailures {
			r.none()
			return true
		}
		if g.Forgets {
			r.none()
		}
		r.Stage = pending
		if g.Number {
			r.Attempt = g.number(t)
		}
	case callOff:
		if g.CallOff && r.Attempt != l.Attempt || r.Generation > 0 {
			return false
		}
		r.none()
	}
	return true
}

func (g *steps) commit(t *state, at bool) bool {
	r := &t.Redis
	if r.Stage == noReshard && r.Generation == 1 {
		return true // done before
	}
	if g.CommitAttempt && (!at || r.Stage != switching) || r.Stage == noReshard || g.CommitTable && r.Revision != r.Switch || !g.heard(r) {
		return false
	}
	n := 0
	for id := range g.To {
		if r.Next[id].By != 0 {
			n++
		}
	}
	if n == 0 || g.CommitAll && (n != g.To || !g.shards(r, g.CommitLives, func(v voice) bool { return v.Prepared == 1 })) {
		return false
	}
	was := r.Next
	r.none()
	r.Generation = 1
	r.Rows, r.Records = [maxShards]row{}, [maxShards]record{}
	for id := range g.To {
		r.set(id, row{Owner: was[id].By, Epoch: was[id].Epoch})
		r.Records[id] = was[id].Record
	}
	return true
}
