// This file has the conditions of /livez and /readyz.

package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/engine"
	"sluice/sinks"
)

// Values of Check.Of.
const (
	Livez  = "livez"
	Readyz = "readyz"
)

// resumeGrace is how long a shard whose connection has ended counts as one that resumes: Discord
// ends each connection now and then.
const resumeGrace = time.Minute

// holds reports whether the checks of a kind hold.
func holds(checks []Check, of string) bool {
	return !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK && c.Of == of })
}

// checks returns all of them, those of Livez first. What is not live is not ready.
func (s *Source) checks(now time.Time, e engine.Status, shards []engine.ShardStatus) []Check {
	f := s.fleet()
	if f != nil && !f.Joined {
		return f.waiting()
	}
	sink := s.sink()
	checks := []Check{s.engineCheck(), s.engineCheck(), shardsCheck(now, e, shards), s.brokerCheck(now, sink), s.storeCheck(), lostCheck(e, sink)}
	for i := range checks {
		checks[i].Of = Readyz
	}
	checks[0].Of = Livez
	if f != nil {
		checks = append(checks, f.check())
	}
	return checks
}

// engineCheck is about this process alone, whatever Discord and the broker do.
func (s *Source) engineCheck() Check {
	c := Check{Name: "engine", OK: true, Text: "readers and publisher make progress"}
	if s.Live != nil {
		if err := s.Live(); err != nil {
			c.OK, c.Text = false, s.redact(err.Error())
		}
	}
	return c
}

// resuming reports whether a shard without a connection, or with one that is not ready, will continue
// its session, as it seems: here or, when it is handed over, elsewhere.
func resuming(now time.Time, s *engine.ShardStatus) bool {
	switch s.State {
	case engine.Resuming, engine.Draining:
		return true
	case engine.Backoff, engine.Confirming, engine.Connecting, engine.Hello:
		heard := s.LastEvent
		if s.LastACK.After(heard) {
			heard = s.LastACK
		}
		return s.Session != "" && now.Sub(heard) < resumeGrace
	}
	return false
}

// shardsCheck summarizes the shards: of those that are not ready the main reason.
func shardsCheck(now time.Time, e engine.Status, shards []engine.ShardStatus) Check {
	c := Check{Name: "shards"}
	if e.Shards == 0 {
		c.Text = "the shard count is not known yet: Discord has not answered"
		return c
	}
	const shown = 5
	ready, resumes := 0, 0
	var ids []string
	w := newWaits(now, e.Identify, shards)
	reasons := make(map[string]int)
	for i := range shards {
		switch s := &shards[i]; {
		case s.State == engine.Ready:
			ready++
		case resuming(now, s):
			resumes++
		default:
			if len(ids) < shown {
				ids = append(ids, strconv.Itoa(s.ID))
			}
			reasons[w.kind(s)]++
		}
	}
	missing := len(shards) - ready - resumes
	switch {
	case len(shards) == 0:
		c.Text = "this process runs no shard"
	case missing == 0 && resumes == 0:
		c.Text = fmt.Sprintf("%s of %s ready", Count(ready), Count(len(shards)))
	case missing == 0:
		c.Text = fmt.Sprintf("%s of %s ready, %s resuming", Count(ready), Count(len(shards)), Count(resumes))
	default:
		if missing > len(ids) {
			ids = append(ids, "…")
		}
		c.Text = fmt.Sprintf("%s of %s not ready (%s): %s", Count(missing), Count(len(shards)), strings.Join(ids, ", "), w.main(e, reasons, missing))
	}
	c.OK = missing == 0
	return c
}

// main returns the most frequent reason.
func (w *waits) main(e engine.Status, reasons map[string]int, missing int) string {
	sorted := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b))
	})
	reason := sorted[0]
	text := reason
	if n := e.Identify.Waiting; reason == stateReasons[engine.IdentifyQueued] && n > 1 && !e.Identify.Permitted {
		text += ", the last of them about " + span(time.Duration(n/len(w.ahead))*identifyWindow)
	}
	if n := reasons[reason]; n < missing {
		text += fmt.Sprintf(" (%s of them)", Count(n))
	}
	return text
}

func (s *Source) brokerCheck(now time.Time, sink sinks.Status) Check {
	title := cmp.Or(s.Title, s.Config.Broker.Type)
	c := Check{Name: "broker", OK: sink.Available}
	changed := sink.Since
	if changed.IsZero() {
		changed = s.Started
	}
	lasted := span(now.Sub(changed))
	switch {
	case sink.Available:
		c.Text = fmt.Sprintf("%s available for %s", title, lasted)
	case sink.Since.IsZero() && sink.Error == "":
		c.Text = title + " not reached yet; buffering events"
	case sink.Blocked:
		c.Text = fmt.Sprintf("%s blocked for %s: it has an alarm for memory or disk; buffering events", title, lasted)
	default:
		c.Text = fmt.Sprintf("%s unavailable for %s; buffering events", title, lasted)
	}
	if sink.Error != "" && !sink.Available {
		c.Text += ": " + s.redact(sink.Error)
	}
	return c
}

// storeCheck never fails: events go on without the store, but for the first of a session.
func (s *Source) storeCheck() Check {
	d := s.store()
	c := Check{Name: "store", OK: true, Text: d.Type + " available"}
	switch {
	case !d.Available:
		c.Text = d.Type + " unavailable; after a crash, events since then are redelivered or lost"
		if d.Error != "" {
			c.Text += ": " + d.Error
		}
	case d.Checkpoint > 0:
		c.Text += ", last checkpoint " + span(time.Duration(d.Checkpoint*float64(time.Second))) + " ago"
	}
	return c
}

// lostCheck never fails either: no restart brings an event back.
func lostCheck(e engine.Status, sink sinks.Status) Check {
	return Check{Name: "events", OK: true, Text: fmt.Sprintf("%s known lost, %s dead-lettered, %s gaps", Count(lost(sink)), Count(deadLettered(sink)), Count(e.Counts.Gaps))}
}
