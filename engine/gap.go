// This file reports to consumers which events they will never get.

package engine

import (
	"encoding/json"
	"time"

	"sluice/sinks"
)

// gap is a Gap of a shard that the sink does not have yet. It is published before the first event of
// whatever follows, and persisted until the sink has it.
type gap struct {
	sinks.Gap
	of       *session // that has ended; nil: it was in the store
	end      session  // takes the acknowledgement
	reported bool     // published; owned by the reader
}

// acknowledged reports whether the sink has the gap. Any goroutine may call it.
func (g *gap) acknowledged() bool { return g.end.acked.Load() >= 0 }

// snapshot returns the gap as it is persisted: it begins where the sink stands. Any goroutine may
// call it.
func (g *gap) snapshot() sinks.Gap {
	now := g.Gap
	if g.of != nil {
		now.Seq = g.of.checkpoint()
	}
	return now
}

// lose notes that a session, of if it is not one of the store's, has ended without a successor.
// If nothing of it was published, a gap before it covers it as well. So there are three at most
// that are not reported: two of the store, and that of the session that was stored with them.
func (s *shard) lose(g sinks.Gap, of *session) {
	if !s.env.opts.Gaps {
		return
	}
	if s.unreported && of != nil && !of.seen {
		return
	}
	next := &gap{Gap: g, of: of}
	next.end.shard.Store(s)
	next.end.acked.Store(-1)
	gaps := []*gap{next}
	if all := s.gaps.Load(); all != nil {
		for _, before := range *all {
			if !before.acknowledged() {
				gaps = append(gaps[:len(gaps)-1], before, next)
			}
		}
	}
	s.unreported = true
	s.gaps.Store(&gaps)
}

// reportGaps publishes the events about the gaps.
func (s *shard) reportGaps() {
	s.unreported = false
	for _, g := range *s.gaps.Load() {
		if !g.reported {
			g.reported = true
			s.reportGap(g)
		}
	}
}

// reportGap publishes the event about one.
func (s *shard) reportGap(g *gap) {
	s.counters.gaps.Add(1)
	data, _ := json.Marshal(struct { // of strings and numbers: it does not fail
		Shard   int    `json:"shard"`
		Shards  int    `json:"shards"`
		Session string `json:"session"`
		Seq     int64  `json:"seq"`
		At      string `json:"at"`
		Reason  string `json:"reason"`
	}{s.id, s.gen.shards, g.Session, g.Seq, time.UnixMilli(g.At).UTC().Format("2006-01-02T15:04:05.000Z"), g.Reason})
	ev := sinks.Event{Shard: s.id, Session: g.Session, Seq: g.Seq, Epoch: s.epoch, Gap: true, Generation: s.gen.number}
	if g.of != nil {
		ev.Began = g.of.began
	}
	s.push(ev, &g.end, []byte(sinks.GapEvent), data)
}
