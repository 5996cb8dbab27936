// This file tests that nothing is stored that would not be read.

package storetest

import (
	"strings"
	"testing"
	"time"

	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// hostile returns checkpoints of a peer that means harm, by name, and what is kept of each.
func hostile() map[string][2]resume.Checkpoint {
	long := strings.Repeat("x", 5_000)
	gap := sinks.Gap{Session: "older", Seq: 3, At: 1_795_000_000_000, Reason: "closed by Discord"}
	of := func(change func(c *resume.Checkpoint)) resume.Checkpoint {
		c := Checkpoint("a", 7)
		c.Gaps[0] = gap
		change(&c)
		return c
	}
	alone := of(func(c *resume.Checkpoint) { c.Session = resume.Session{Gaps: c.Gaps} })
	whole := of(func(*resume.Checkpoint) {})
	gaps := func(a, b sinks.Gap) func(c *resume.Checkpoint) {
		return func(c *resume.Checkpoint) { c.Gaps = [2]sinks.Gap{a, b} }
	}
	with := func(change func(g *sinks.Gap)) sinks.Gap { g := gap; change(&g); return g }
	return map[string][2]resume.Checkpoint{
		"nothing wrong":       {whole, whole},
		"a long session id":   {of(func(c *resume.Checkpoint) { c.ID = long }), alone},
		"a long address":      {of(func(c *resume.Checkpoint) { c.ResumeURL = "wss://" + long }), of(func(c *resume.Checkpoint) { c.ResumeURL = "" })},
		"a negative seq":      {of(func(c *resume.Checkpoint) { c.Seq = -1 }), alone},
		"a seq of 0":          {of(func(c *resume.Checkpoint) { c.Seq = 0 }), of(func(c *resume.Checkpoint) { c.Seq = 0 })},
		"the lowest seq":      {of(func(c *resume.Checkpoint) { c.Seq = -1 << 63 }), alone},
		"the highest seq":     {of(func(c *resume.Checkpoint) { c.Seq = 1 << 53 }), of(func(c *resume.Checkpoint) { c.Seq = 1 << 53 })},
		"a seq beyond":        {of(func(c *resume.Checkpoint) { c.Seq = 1<<53 + 1 }), alone},
		"a seq of 9e18":       {of(func(c *resume.Checkpoint) { c.Seq = 9e18 }), alone},
		"an id with a space":  {of(func(c *resume.Checkpoint) { c.ID = "a b" }), alone},
		"an id with a line":   {of(func(c *resume.Checkpoint) { c.ID = "a\nb" }), alone},
		"an id not of ASCII":  {of(func(c *resume.Checkpoint) { c.ID = "é" }), alone},
		"an id too long by 1": {of(func(c *resume.Checkpoint) { c.ID = long[:wire.MaxSessionID+1] }), alone},
		"a gap of such an id": {of(gaps(with(func(g *sinks.Gap) { g.Session = "a b" }), gap)), of(gaps(gap, sinks.Gap{}))},
		"a gap at 9e18":       {of(gaps(gap, with(func(g *sinks.Gap) { g.Seq = 9e18 }))), of(gaps(gap, sinks.Gap{}))},
		"a gap after 9999":    {of(gaps(gap, with(func(g *sinks.Gap) { g.At = 253402300800000 }))), of(gaps(gap, sinks.Gap{}))},
		"a negative count":    {of(func(c *resume.Checkpoint) { c.Shards = -1 }), alone},
		"a count too high":    {of(func(c *resume.Checkpoint) { c.Shards = 1 << 40 }), alone},
		"a shard beyond":      {of(func(c *resume.Checkpoint) { c.Shards = 3 }), alone},
		"no time":             {of(func(c *resume.Checkpoint) { c.At = time.Time{} }), of(func(c *resume.Checkpoint) { c.At = time.Time{} })},
		"a time before 1970":  {of(func(c *resume.Checkpoint) { c.At = time.UnixMilli(-1) }), of(func(c *resume.Checkpoint) { c.At = time.Time{} })},
		"a long gap":          {of(gaps(with(func(g *sinks.Gap) { g.Session = long }), gap)), of(gaps(gap, sinks.Gap{}))},
		"a gap of no session": {of(gaps(with(func(g *sinks.Gap) { g.Session = "" }), gap)), of(gaps(gap, sinks.Gap{}))},
		"a negative gap":      {of(gaps(gap, with(func(g *sinks.Gap) { g.Seq = -1 }))), of(gaps(gap, sinks.Gap{}))},
		"a gap before 1970":   {of(gaps(gap, with(func(g *sinks.Gap) { g.At = -1 }))), of(gaps(gap, sinks.Gap{}))},
		"a long reason": {
			of(gaps(with(func(g *sinks.Gap) { g.Reason = "a" + strings.Repeat("é", 5_000) }), gap)),
			of(gaps(with(func(g *sinks.Gap) { g.Reason = "a" + strings.Repeat("é", 255) }), gap)),
		},
		"all at their bounds": {
			of(func(c *resume.Checkpoint) {
				c.ID, c.ResumeURL = long[:wire.MaxSessionID], long[:1024]
				c.Gaps[1] = gap
				c.Gaps[0].Session, c.Gaps[1].Session, c.Gaps[0].Reason, c.Gaps[1].Reason = long[:wire.MaxSessionID], long[:wire.MaxSessionID], long[:512], long[:512]
			}),
			of(func(c *resume.Checkpoint) {
				c.ID, c.ResumeURL = long[:wire.MaxSessionID], long[:1024]
				c.Gaps[1] = gap
				c.Gaps[0].Session, c.Gaps[1].Session, c.Gaps[0].Reason, c.Gaps[1].Reason = long[:wire.MaxSessionID], long[:wire.MaxSessionID], long[:512], long[:512]
			}),
		},
		"all too much": {of(func(c *resume.Checkpoint) {
			c.ID, c.Seq, c.Gaps = long, -5, [2]sinks.Gap{{Session: long, Seq: -1, At: -1, Reason: long}, {Reason: long}}
		}), {}},
	}
}

// Hostile checks that a store which open opens, each time anew over what was there, takes
// anything, and that what it cannot keep costs its shard alone.
func Hostile(t *testing.T, open func(t *testing.T) resume.Store) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			save := func(changes map[int]resume.Checkpoint, starts resume.Starts) {
				t.Helper()
				if err := s.Save(t.Context(), resume.State{Checkpoints: changes, Starts: starts}); err != nil {
					t.Fatal(err)
				}
			}
			starts := resume.Starts{Count: 3, Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)}
			save(map[int]resume.Checkpoint{3: Checkpoint("before", 100), 4: Checkpoint("b", 8)}, starts)
			save(map[int]resume.Checkpoint{3: c[0], -1: Checkpoint("c", 1), 1 << 16: Checkpoint("d", 1)}, resume.Starts{Count: -1, Until: starts.Until})
			save(map[int]resume.Checkpoint{5: Checkpoint("e", 9)}, resume.Starts{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			want := resume.State{Checkpoints: map[int]resume.Checkpoint{3: c[1], 4: Checkpoint("b", 8), 5: Checkpoint("e", 9)}, Starts: starts}
			if kept := c[1]; kept.Empty() {
				delete(want.Checkpoints, 3)
			}
			s = open(t)
			defer s.Close()
			got, err := s.Load(t.Context())
			if err != nil || !Same(got, want) || len(got.Unreadable) > 0 {
				t.Errorf("loaded\n%+v, %v, want\n%+v", got, err, want)
			}
		})
	}
}
