// This file compares what was sent with what has arrived.

package crash

import (
	"encoding/json"
	"fmt"
	"time"

	"sluice/bench/sim"
)

// arrivals is what has arrived behind the broker, in order.
type arrivals struct {
	events []sim.Received // each for the first time
	again  int
	former int // of former owners, dropped as a consumer in a fleet does
	older  int // of events: of a session that had ended, since a newer one's had come
	gaps   []gap
	torn   int
	seen   map[eventID]bool
	at     time.Time         // when what is added was published, if the broker says so; zero: now
	last   map[int]time.Time // when the last event of each shard was
	pause  time.Duration     // longest between two of them
	latest time.Time         // when the last of any shard was
	lull   time.Duration     // longest between two of any
	still  map[int][]span    // each that is no shorter than leastPause

	epochs  map[int]int64 // the highest of each shard
	session map[int]string
	ended   map[string]bool // sessions
}

type eventID struct {
	session string
	seq     int64
}

// gap is an event GATEWAY_GAP.
type gap struct {
	Session string
	Seq     int64
	Reason  string
}

// follow notes an event of a fleet, under its owner's epoch, unless it is of a former owner. All shards' events
// come in one queue, in which what is redelivered was before.
func (a *arrivals) follow(epoch int64, redelivered bool, shard int, session string, seq int64, name string, data []byte) {
	if epoch < a.epochs[shard] && !redelivered {
		a.former++
		return
	}
	if a.epochs == nil {
		a.epochs = make(map[int]int64)
	}
	a.epochs[shard] = max(epoch, a.epochs[shard])
	a.add(shard, session, seq, name, data)
}

// add notes an event.
func (a *arrivals) add(shard int, session string, seq int64, name string, data []byte) {
	if name == "GATEWAY_GAP" {
		var g gap
		if json.Unmarshal(data, &g) != nil {
			g.Reason = string(data) // of no session
		}
		a.gaps = append(a.gaps, g)
		return
	}
	if a.seen == nil {
		a.seen = make(map[eventID]bool)
	}
	id := eventID{session, seq}
	if a.seen[id] {
		a.again++
		return
	}
	a.seen[id] = true
	if a.session == nil {
		a.session, a.ended = make(map[int]string), make(map[string]bool)
	}
	if a.ended[session] {
		a.older++
	} else if last := a.session[shard]; last != session {
		a.ended[last] = last != ""
		a.session[shard] = session
	}
	now := a.at
	if now.IsZero() {
		now = time.Now()
	}
	if !a.latest.IsZero() {
		a.lull = max(a.lull, now.Sub(a.latest))
	}
	a.latest = now
	if last, ok := a.last[shard]; ok {
		a.pause = max(a.pause, now.Sub(last))
		if now.Sub(last) >= leastPause {
			a.still[shard] = append(a.still[shard], span{last, now})
		}
	} else if a.last == nil {
		a.last, a.still = make(map[int]time.Time), make(map[int][]span)
	}
	a.last[shard] = now
	a.events = append(a.events, sim.Received{Shard: shard, Session: session, Seq: seq, Type: name, Hash: sim.Hash(data)})
}

// compare returns what came of a run. once: nothing may come twice, gaps included.
func compare(l *sim.Ledger, a *arrivals, once bool) Result {
	report, summary := l.Check(a.events), l.Summary()
	r := Result{
		Events: len(a.events), Lost: report.Lost, Repeated: a.again, OutOfOrder: report.OutOfOrder,
		Former: a.former, Unknown: report.Unknown, Gaps: len(a.gaps), Sessions: summary.Sessions, Identifies: summary.Identifies, Torn: a.torn,
	}
	told := make(map[string][]gap)
	for _, g := range a.gaps {
		told[g.Session] = append(told[g.Session], g)
	}
	// What is after the seq of a gap is told as lost.
	for _, lost := range report.Gaps {
		if gaps := told[lost.Session]; len(gaps) > 0 {
			if n := lost.To - max(lost.From-1, gaps[0].Seq); n > 0 {
				r.Lost -= int(n)
				r.Told += int(n)
			}
		}
	}
	wrong := func(format string, args ...any) {
		if len(r.Wrong) < 20 {
			r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
		}
	}
	last := make(map[int]string) // session of each shard
	for _, s := range report.Sessions {
		last[s.Shard] = s.ID
	}
	known := make(map[string]bool)
	for _, s := range report.Sessions {
		known[s.ID] = true
		ended := s.End != sim.EndNone && s.End != sim.EndShutdown
		gaps := len(told[s.ID])
		if ended {
			r.Refused++
		}
		switch {
		case s.Received == 0 && last[s.Shard] != s.ID:
			r.Unseen++
			if gaps > 1 && once {
				wrong("session %s of shard %d has %d gaps", s.ID, s.Shard, gaps)
			}
		case last[s.Shard] == s.ID:
			if gaps > 0 && !ended {
				wrong("session %s of shard %d goes on, and has %d gaps", s.ID, s.Shard, gaps)
			}
			if s.Pending > 0 {
				wrong("%d events of session %s of shard %d have not arrived", s.Pending, s.ID, s.Shard)
			}
		case !ended:
			wrong("session %s of shard %d was left with %d events received", s.ID, s.Shard, s.Received)
		case gaps == 0:
			wrong("session %s of shard %d has ended (%s) and no gap says so", s.ID, s.Shard, s.End)
		case gaps > 1 && once:
			wrong("session %s of shard %d has %d gaps", s.ID, s.Shard, gaps)
		}
		r.Told += s.Refused
		r.Lost += s.Abandoned
	}
	if a.older > 0 {
		wrong("%d events are of sessions that had ended", a.older)
	}
	for session, gaps := range told {
		if !known[session] {
			wrong("a gap of session %q, which there is not: %s", session, gaps[0].Reason)
		}
	}
	return r
}
