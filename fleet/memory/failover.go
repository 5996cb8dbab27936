// This file forgets, as a replica does that was promoted before it had all.

package memory

import (
	"maps"
	"slices"
)

// Remember keeps what is needed to forget up to so many steps.
func (c *Coordinator) Remember(steps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep = steps
}

// Forget undoes the last steps that may have written, and returns how many: as many as it was told
// to remember, at most.
func (c *Coordinator) Forget(steps int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	steps = min(steps, len(c.past))
	if steps > 0 {
		i := len(c.past) - steps
		c.state, c.past = c.past[i], c.past[:i]
	}
	return steps
}

// remember keeps the state as it is before a step.
func (c *Coordinator) remember() {
	if c.keep == 0 {
		return
	}
	if len(c.past) >= c.keep {
		c.past = slices.Delete(c.past, 0, len(c.past)-c.keep+1)
	}
	s := c.state
	s.members, s.rows, s.records = maps.Clone(s.members), maps.Clone(s.rows), maps.Clone(s.records)
	s.turns.asked, s.turns.given = maps.Clone(s.turns.asked), slices.Clone(s.turns.given)
	c.past = append(c.past, s)
}
