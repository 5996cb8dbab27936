// This file checks what must hold once the faults are over, and in the end.

package fleetsim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/fleet"
)

// states returns the shards that a process runs.
func (p *process) states() map[int]engine.ShardStatus {
	out := make(map[int]engine.ShardStatus)
	for _, s := range p.engine.AppendShards(nil) {
		out[s.ID] = s
	}
	return out
}

// owned demands that each shard is run by one process alone, which owns it, at some moment of the time.
func (w *world) owned(within time.Duration) {
	seen := make(map[int]bool)
	for end := time.Now().Add(within); len(seen) < shards; time.Sleep(50 * time.Millisecond) {
		v, _ := w.table.Look(context.Background(), 0)
		names := make(map[string]string)
		for _, m := range v.Members {
			names[m.Incarnation] = m.Name
		}
		runs := make(map[int][]string)
		for _, p := range w.up() {
			for id, s := range p.states() {
				if s.State != engine.Stopped {
					runs[id] = append(runs[id], p.name)
				}
			}
		}
		rows := make(map[int]fleet.Shard)
		for _, row := range v.Shards {
			rows[row.ID] = row
			if r := runs[row.ID]; len(r) == 1 && names[row.Owner.Incarnation] == r[0] && row.Giver == "" {
				seen[row.ID] = true
			}
		}
		if time.Now().After(end) {
			for id := range shards {
				if row := rows[id]; !seen[id] {
					w.wrong("%v after the faults shard %d is run by %q, and owned by %s, %+v", within, id, runs[id], names[row.Owner.Incarnation], row)
				}
			}
			return
		}
	}
}

// wait waits until something holds.
func (w *world) wait(what string, most time.Duration, holds func() bool) bool {
	for end := time.Now().Add(most); !holds(); time.Sleep(250 * time.Millisecond) {
		if time.Now().After(end) {
			w.wrong("not within %v: %s", most, what)
			return false
		}
	}
	return true
}

// ready reports whether all shards are, each once.
func (w *world) ready() bool {
	ready, running := 0, 0
	for _, p := range w.up() {
		s := p.engine.Status()
		ready, running = ready+s.Ready, running+s.Running
	}
	return ready == shards && running == shards
}

// balanced reports whether each process runs as many shards as the others, but for what moves nothing.
func (w *world) balanced() bool {
	up := w.up()
	share := shards / float64(len(up))
	for _, p := range up {
		if has := float64(p.engine.Status().Running); math.Abs(has-share) >= max(2, 1+share/10) {
			return false
		}
	}
	return true
}

// settle ends the faults and waits for what must follow.
func (w *world) settle() {
	w.fault("the faults are over")
	w.calm()
	if !slices.ContainsFunc(w.up(), (*process).stays) {
		w.start("last")
	}
	w.owned(9 * time.Second) // the time of death, and three seconds
	if !w.wait("all shards are ready", 15*time.Minute, w.ready) {
		for _, p := range w.up() {
			for id, s := range p.states() {
				if s.State != engine.Ready {
					w.wrong("%s: shard %d is %v since %v", p.name, id, s.State, s.Since.Sub(w.began))
				}
			}
		}
	}
	w.wait("each has its share", 3*time.Minute, w.balanced)
	w.srv.Silence()
	w.wait("everything has arrived, and all shards are connected", 10*time.Minute, func() bool {
		return w.ready() && w.srv.Connected() >= shards && w.srv.Ledger().Check(w.stream.received()).Pending == 0
	})
}

// verdict checks the whole of it.
func (w *world) verdict() {
	ledger := w.srv.Ledger()
	report := ledger.Check(w.stream.received())
	if report.Repeated+report.OutOfOrder+report.Unknown+report.Pending > 0 {
		w.wrong("events: %v", report)
	}
	told := w.told()
	for _, s := range report.Sessions {
		t := w.stream.sessions[s.ID]
		// Of a session whose checkpoint was forgotten, its end is reported, if the stream has anything of it.
		forgotten := w.forget && (t == nil || t.gaps > 0)
		over := forgotten || s.End != sim.EndNone && s.End != sim.EndShutdown && s.End != sim.EndExpired || s.SessionInfo.Refused || told(s.SessionInfo, time.Now())
		switch {
		case s.End == sim.EndClient:
			w.wrong("shard %d: session %.8s was closed with a code that ends it", s.Shard, s.ID)
		case s.End == sim.EndBadSeq || s.End == sim.EndBadCommand || s.End == sim.EndToken:
			w.wrong("shard %d: session %.8s was ended: %s", s.Shard, s.ID, s.End)
		case s.Abandoned > 0 && !over:
			w.wrong("shard %d: session %.8s was left with %d events: %s", s.Shard, s.ID, s.Abandoned, describe(s.SessionInfo, w.began))
		case s.Lost > 0 && (!over || t != nil && t.seq > 0 && t.after == t.epoch):
			// Of a session that is over, what a process had received it may have had with it when it ended.
			w.wrong("shard %d: of session %.8s %d events are lost: %s, in the stream %+v", s.Shard, s.ID, s.Lost, describe(s.SessionInfo, w.began), t)
		}
	}
	w.identified(report.Sessions, told)
}

// told returns a function that says whether the simulator may have told a client that a session is over which
// goes on: on a connection that is not the session's any more, or while it has another.
func (w *world) told() func(s sim.SessionInfo, before time.Time) bool {
	refused := make(map[string]bool)
	for _, r := range w.srv.Ledger().Resumes() {
		if strings.HasPrefix(r.Outcome, "op 9") {
			refused[r.Session] = true
		}
	}
	faults := make(map[int][]sim.Fault)
	for _, f := range w.srv.Ledger().Faults() {
		if f.Kind == sim.OldInvalid || f.Kind == sim.InvalidSession || f.Kind == sim.CloseFrame {
			faults[f.Shard] = append(faults[f.Shard], f)
		}
	}
	return func(s sim.SessionInfo, before time.Time) bool {
		return refused[s.ID] || slices.ContainsFunc(faults[s.Shard], func(f sim.Fault) bool {
			return !f.Time.Before(s.Created) && !f.Time.After(before)
		})
	}
}

// describe is a session in a line.
func describe(s sim.SessionInfo, began time.Time) string {
	return fmt.Sprintf("%v to %v, end %q, last %d, claimed %d, refused %t at %d, resumed %d and %d times", s.Created.Sub(began), s.Ended.Sub(began), s.End,
		s.Last, s.Claimed, s.Refused, s.RefusedSeq, s.Resumes, s.CutResumes)
}

// identified checks that nobody identified too early, or without a need.
func (w *world) identified(sessions []sim.SessionReport, told func(sim.SessionInfo, time.Time) bool) {
	if w.forget { // a turn that is forgotten may be given again, and so is a session
		return
	}
	last := make(map[int]sim.Identify)
	for _, i := range w.srv.Ledger().Identifies() {
		if before, ok := last[i.Bucket]; ok && i.Time.Sub(before.Time) < 5*time.Second || i.Outcome == "bucket" {
			w.wrong("shard %d identifies at %v, %v after shard %d of its bucket: %s", i.Shard, i.Time.Sub(w.began), i.Time.Sub(before.Time), before.Shard, i.Outcome)
		}
		last[i.Bucket] = i
		if i.Outcome != "ready" && i.Outcome != "fault" {
			w.wrong("shard %d: Identify: %s", i.Shard, i.Outcome)
		}
		for _, s := range sessions {
			if s.Shard != i.Shard || !s.Created.Before(i.Time) || s.SessionInfo.Refused || !w.table.wasSaved(s.ID) || told(s.SessionInfo, i.Time) {
				continue
			}
			if s.End == sim.EndNone || s.End == sim.EndShutdown || s.End == sim.EndExpired || s.Ended.After(i.Time) {
				w.wrong("shard %d identifies at %v, and had session %.8s, which nobody refused: end %q at %v", i.Shard, i.Time.Sub(w.began), s.ID, s.End, s.Ended.Sub(w.began))
			}
		}
	}
}

// tell returns what happened.
func (w *world) tell() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events in the stream\n%v\n%v\nfaults:\n%s\nwrong:\n%s\n", len(w.stream.entries), w.srv.Ledger().Summary(),
		w.srv.Ledger().Check(w.stream.received()), strings.Join(w.faults, "\n"), strings.Join(w.wrongs, "\n"))
	return b.String()
}
