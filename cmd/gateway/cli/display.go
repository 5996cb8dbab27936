// This file decides what the demo shows where.

package cli

import (
	"fmt"
	"io"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/stdio"
)

// display is where the demo's events and log go.
type display struct {
	events sinks.Sink
	log    io.Writer
	screen *screen // nil: nothing stays in its place
}

// newDisplay returns a display on the outputs, each of which is a terminal or not. What is none gets
// every byte, as without a display. A status line is kept off a terminal to which others may write:
// those that read the other output through a pipe.
func newDisplay(stdout, stderr io.Writer) *display {
	d := &display{events: eventOutput(stdout, stdio.JSON), log: stderr}
	out, log := terminalOf(stdout), terminalOf(stderr)
	together := out != nil && log != nil && sameFile(stdout, stderr)
	switch {
	case log != nil && log.moves && !isPipe(stdout):
		d.screen = newScreen(log, together)
		d.log = d.screen
	case log == nil && out != nil && out.moves && !isPipe(stderr):
		d.screen = newScreen(out, false)
	}
	if d.screen != nil && (together || log == nil) {
		d.events = &eventRows{size: out.size, color: out.color, add: d.screen.addRows}
	}
	return d
}

// start shows the status line that status returns, if there is a place for it.
func (d *display) start(status func() string) {
	if d.screen != nil {
		d.screen.start(status)
	}
}

// close ends the status line.
func (d *display) close() {
	if d.screen != nil {
		d.screen.close()
	}
}

const (
	lostEvery = time.Second // how often at most the events are compared with those that were sent
	lostShare = 20          // and the share of the time, one in so many, that may take
	rateSpan  = 10          // statuses over which the rate is measured
)

// demoStatus returns what the demo's status line is made by.
func demoStatus(e *engine.Engine, sink *demoSink, srv *sim.Server, shards int, began time.Time) func() string {
	type sample struct {
		at     time.Time
		events int
	}
	samples := []sample{{began, 0}}
	lost, next := 0, began.Add(lostEvery)
	return func() string {
		now := time.Now()
		if now.After(next) {
			lost = lostOf(sink.report(srv))
			next = now.Add(max(lostEvery, lostShare*time.Since(now)))
		}
		last := sample{now, len(sink.all())}
		samples = append(samples, last)
		samples = samples[max(0, len(samples)-rateSpan):]
		rate := 0.0
		if first := samples[0]; now.After(first.at) {
			rate = float64(last.events-first.events) / now.Sub(first.at).Seconds()
		}
		status := e.Status()
		return fmt.Sprintf(" shards %d/%d ready  events %d, %.0f/s  faults %d  resumes %d  lost %d  %v ",
			status.Ready, shards, last.events, rate, srv.Ledger().Summary().Faults, status.Counts.Resumes, lost, now.Sub(began).Truncate(time.Second))
	}
}

// lostOf returns how many events are lost for good.
func lostOf(r sim.Report) int { return r.Lost + r.Unknown + r.Abandoned }
