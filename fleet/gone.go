// This file knows which incarnations are gone.

package fleet

import "time"

// Gone reports whether an incarnation is known to do nothing any more: it was seen deposed, or is not found in the
// table for the time of death, which begins when it is asked for first: it may have been forgotten there, or have joined
// since the last look. While this member is not confirmed nothing is known.
func (f *Fleet) Gone(incarnation string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	return f.gone.since(incarnation, now, f.o.Death) && f.pulse.Trusted(now)
}

// gone are the incarnations that are gone, or may be.
type gone struct {
	members []Member             // of the last view
	from    map[string]time.Time // when it is known
}

// maxGone bounds what is remembered: what is forgotten is found out again.
const maxGone = 10_000

// update takes the members of a view.
func (g *gone) update(members []Member, now time.Time) {
	g.members = members
	if g.from == nil || len(g.from) > maxGone {
		g.from = make(map[string]time.Time)
	}
	for _, m := range members {
		if m.State == Deposed {
			g.from[m.Incarnation] = now
		} else {
			delete(g.from, m.Incarnation)
		}
	}
}

// since reports whether an incarnation has been gone for long enough.
func (g *gone) since(incarnation string, now time.Time, death time.Duration) bool {
	for _, m := range g.members {
		if m.Incarnation == incarnation {
			return m.State == Deposed
		}
	}
	if g.from == nil {
		return false // nothing was seen yet
	}
	from, known := g.from[incarnation]
	if !known {
		from = now.Add(death)
		g.from[incarnation] = from
	}
	return !now.Before(from)
}
