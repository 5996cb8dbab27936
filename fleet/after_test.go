// This file tests how a shard goes on from its checkpoint, in view of where the sink stands.

package fleet

import (
	"testing"

	"sluice/resume"
	"sluice/sinks"
)

func TestAfter(t *testing.T) {
	at := func(session string, seq, began int64, gaps ...sinks.Gap) resume.Checkpoint {
		c := resume.Checkpoint{Session: resume.Session{ID: session, Seq: seq, Began: began}}
		for _, g := range gaps {
			c.AddGap(g)
		}
		return c
	}
	gap := func(session string, seq int64) sinks.Gap { return sinks.Gap{Session: session, Seq: seq} }
	for _, test := range []struct {
		name string
		c    resume.Checkpoint
		p    sinks.Position
		want resume.Checkpoint
	}{
		{"nothing", at("", 0, 0), sinks.Position{}, at("", 0, 0)},
		{"nothing is written", at("a", 5, 1), sinks.Position{}, at("a", 5, 1)},
		{"the same session", at("a", 5, 1), sinks.Position{Session: "a", Seq: 9, Began: 1}, at("a", 5, 1)},
		{"which has ended", at("a", 5, 1), sinks.Position{Session: "a", Ended: true, Began: 1}, at("", 0, 1)},
		{"an older one", at("b", 0, 2), sinks.Position{Session: "a", Seq: 9, Began: 1}, at("b", 0, 2)},
		{"a newer one", at("a", 5, 1), sinks.Position{Session: "b", Seq: 3, Began: 2}, at("", 0, 2, gap("b", 3))},
		{"a newer one, which has ended", at("a", 5, 1), sinks.Position{Session: "b", Ended: true, Began: 2}, at("", 0, 2)},
		{"the checkpoint is forgotten", at("", 0, 0), sinks.Position{Session: "b", Seq: 3, Began: 2}, at("", 0, 2, gap("b", 3))},
		{"the gap is stored", at("", 0, 0, gap("b", 3)), sinks.Position{Session: "b", Seq: 3, Began: 2}, at("", 0, 2, gap("b", 3))},
		{"that of one before", at("", 0, 0, gap("a", 8)), sinks.Position{Session: "b", Seq: 3, Began: 2}, at("", 0, 2, gap("a", 8), gap("b", 3))},
	} {
		got := after(test.c, test.p)
		for i := range got.Gaps {
			got.Gaps[i].At, got.Gaps[i].Reason = 0, ""
		}
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
