// This file compares what a client received with what it was sent.

package sim

import (
	"fmt"
	"strings"
)

// Received is an event as a client handed it on. Session may be empty: then
// the events of a shard belong to the session whose READY came last in it,
// which needs Hash. A Hash of 0 and an empty Type are not compared.
type Received struct {
	Shard   int
	Session string
	Seq     int64
	Type    string
	Hash    uint64 // Hash of d
}

// Report is what a client did with its events. A client that keeps every
// promise has all but Received, Unseen, Refused and Pending at 0, and Pending at
// 0 as well once traffic is quiet.
type Report struct {
	Received   int
	Lost       int // sent or replayable, and never received though something later was, or was claimed
	Repeated   int // received again
	OutOfOrder int // received after a later one
	Unknown    int // never sent, or with another type or content
	Abandoned  int // replayable, but the client closed with 1000, identified anew or did not come back
	Unseen     int // in sessions of which nothing was received, READY included, and that nobody asked for
	Refused    int // after the last received, in sessions that the simulator ended or would not replay
	Pending    int // after the last received, in sessions that can still be resumed
	Gaps       []Gap
	Sessions   []SessionReport
}

// Gap is a run of events that were lost.
type Gap struct {
	Session  string
	Shard    int
	From, To int64 // both lost
}

// SessionReport is a Report's part of one session.
type SessionReport struct {
	SessionInfo
	Received, Lost, Repeated, OutOfOrder, Unknown, Abandoned, Unseen, Refused, Pending int
}

// maxGaps bounds Report.Gaps.
const maxGaps = 1000

// Check compares what was received, in order of arrival, with the ledger. It
// counts as lost only what the simulator had not itself refused to replay.
func (l *Ledger) Check(received []Received) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	var (
		report  Report
		seen    = make(map[string][]uint8) // by session, how often each seq came
		highest = make(map[string]int64)
		sums    = make(map[string]*SessionReport)
		current = make(map[int]string) // session of a shard, for events without one
		readies = make(map[uint64]string)
	)
	for _, log := range l.sessions {
		id := log.info.ID
		seen[id] = make([]uint8, len(log.events))
		sums[id] = &SessionReport{SessionInfo: log.info}
		if log.first == 1 && len(log.events) > 0 {
			readies[log.events[0].hash] = id
		}
	}
	for _, r := range received {
		report.Received++
		if r.Session == "" {
			if id, ok := readies[r.Hash]; ok && r.Seq == 1 {
				current[r.Shard] = id
			}
			r.Session = current[r.Shard]
		}
		log := l.byID[r.Session]
		if log == nil {
			report.Unknown++
			continue
		}
		sum := sums[r.Session]
		sum.Received++
		i := r.Seq - log.first
		if i < 0 && r.Seq > 0 {
			continue // older than what the ledger keeps
		}
		if i < 0 || i >= int64(len(log.events)) {
			sum.Unknown++
			continue
		}
		e := log.events[i]
		if r.Hash != 0 && r.Hash != e.hash || r.Type != "" && r.Type != l.typeNames[e.typ] || r.Shard != log.info.Shard {
			sum.Unknown++
		}
		switch n := &seen[r.Session][i]; {
		case *n > 0:
			sum.Repeated++
		case r.Seq < highest[r.Session]:
			*n = 1
			sum.OutOfOrder++
		default:
			*n = 1
		}
		highest[r.Session] = max(highest[r.Session], r.Seq)
	}
	for _, log := range l.sessions {
		sum := sums[log.info.ID]
		l.checkSession(log, seen[log.info.ID], highest[log.info.ID], sum, &report)
		report.Lost += sum.Lost
		report.Repeated += sum.Repeated
		report.OutOfOrder += sum.OutOfOrder
		report.Unknown += sum.Unknown
		report.Abandoned += sum.Abandoned
		report.Unseen += sum.Unseen
		report.Refused += sum.Refused
		report.Pending += sum.Pending
		report.Sessions = append(report.Sessions, *sum)
	}
	return report
}

// checkSession sorts the events that did not arrive.
func (l *Ledger) checkSession(log *sessionLog, seen []uint8, highest int64, sum *SessionReport, report *Report) {
	info := &log.info
	// What the client said it had, it had to publish.
	had := max(highest, info.Claimed)
	if info.Refused {
		had = max(had, min(info.RefusedSeq, info.Last))
	}
	for i, n := range seen {
		if n > 0 {
			continue
		}
		seq := log.first + int64(i)
		switch {
		case seq <= had:
			sum.Lost++
			if g := len(report.Gaps) - 1; g >= 0 && report.Gaps[g].Session == info.ID && report.Gaps[g].To == seq-1 {
				report.Gaps[g].To = seq
			} else if len(report.Gaps) < maxGaps {
				report.Gaps = append(report.Gaps, Gap{info.ID, info.Shard, seq, seq})
			}
		case info.Refused:
			sum.Refused++
		case had == 0 && (info.End != EndNone || l.replaced(log)):
			sum.Unseen++
		case (info.End == EndNone || info.End == EndShutdown) && l.replaced(log), info.End == EndClient, info.End == EndExpired:
			sum.Abandoned++
		case info.End == EndNone, info.End == EndShutdown:
			sum.Pending++
		default:
			sum.Refused++
		}
	}
}

// replaced reports whether the client began another session of the same shard
// later, so that it won't come back to this one.
func (l *Ledger) replaced(log *sessionLog) bool {
	for _, other := range l.sessions {
		if other.info.Shard == log.info.Shard && other.info.Count == log.info.Count && other.info.Created.After(log.info.Created) {
			return true
		}
	}
	return false
}

// String returns the report in a line, and its gaps.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "received %d, lost %d, repeated %d, out of order %d, unknown %d, abandoned %d, unseen %d, refused %d, pending %d",
		r.Received, r.Lost, r.Repeated, r.OutOfOrder, r.Unknown, r.Abandoned, r.Unseen, r.Refused, r.Pending)
	for _, g := range r.Gaps {
		fmt.Fprintf(&b, "\nlost: shard %d session %s seq %d to %d", g.Shard, g.Session, g.From, g.To)
	}
	return b.String()
}
