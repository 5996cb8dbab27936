// This file tests what a service does under its manager.

package cli

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
)

// served is a service whose gateway and manager are the test.
type served struct {
	*testing.T
	m       *manager
	end     chan int // of the gateway
	code    chan int // of the service
	reports chan serviceReport
	orders  chan order
	ticks   chan time.Time
}

func serveTest(t *testing.T) *served {
	s := &served{t, nil, make(chan int), make(chan int), make(chan serviceReport), make(chan order), make(chan time.Time)}
	began := make(chan *manager)
	v := service{
		run:    func(m *manager) int { began <- m; return <-s.end },
		report: func(r serviceReport) { s.reports <- r },
		ticks:  s.ticks,
	}
	go func() { s.code <- v.serve(s.orders) }()
	s.reported(serviceStarts, 1)
	s.m = <-began
	return s
}

// reported takes the next report.
func (s *served) reported(state serviceState, step uint32) {
	s.Helper()
	within := serviceWithin
	if state == serviceRuns {
		within = 0
	}
	if got, want := <-s.reports, (serviceReport{state, step, within}); got != want {
		s.Errorf("reported %+v, want %+v", got, want)
	}
}

// ended ends the gateway, and the service with it.
func (s *served) ended(code int) {
	s.Helper()
	s.end <- code
	if got := <-s.code; got != code {
		s.Errorf("exit code %d, want %d", got, code)
	}
}

// A service says when it runs, reads its settings again when that is asked for, and drains when it is
// stopped, for as long as that takes.
func TestService(t *testing.T) {
	s := serveTest(t)
	s.ticks <- time.Time{}
	s.reported(serviceStarts, 2)
	s.m.ready()
	s.reported(serviceRuns, 0)
	s.ticks <- time.Time{}
	s.orders <- orderReport
	s.reported(serviceRuns, 0)
	for range 3 { // while nobody takes them
		s.orders <- orderReload
		s.reported(serviceRuns, 0)
	}
	if <-s.m.reloads; len(s.m.reloads) > 0 {
		t.Error("what was asked for before it is read is not one reload")
	}
	if s.m.ctx.Err() != nil {
		t.Error("it has been stopped")
	}
	s.orders <- orderStop
	s.reported(serviceStops, 1)
	<-s.m.ctx.Done()
	for step := range uint32(100) {
		s.ticks <- time.Time{}
		s.reported(serviceStops, 2+step)
	}
	s.orders <- orderStop // as a shutdown of the system after that
	s.reported(serviceStops, 101)
	s.ended(exitOK)
}

// A start that waits, as for a broker, counts as one in the end: before that nobody could stop it. What it
// says later changes nothing.
func TestServiceStartWaits(t *testing.T) {
	s := serveTest(t)
	most := uint32(startTimeout / serviceEvery)
	for step := uint32(2); step <= most; step++ {
		s.ticks <- time.Time{}
		s.reported(serviceStarts, step)
	}
	s.ticks <- time.Time{}
	s.reported(serviceRuns, 0)
	s.orders <- orderStop
	s.reported(serviceStops, 1)
	s.m.ready()
	s.orders <- orderReport
	s.reported(serviceStops, 1)
	s.ended(exitFailure)
}

// One that ends by itself has its exit code.
func TestServiceFails(t *testing.T) {
	serveTest(t).ended(exitUnauthorized)
}

// Under a service manager the program writes no signal off, and refuses to give events to nobody.
func TestServiceStdio(t *testing.T) {
	var out strings.Builder
	t.Chdir(t.TempDir())
	code := start(nil, []string{"DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS"}, &out, &out, &manager{ctx: t.Context(), ready: func() {}})
	const want = "error: broker.type: a service has no standard output for its events: set redis or amqp\n"
	if code != exitUsage || out.String() != want {
		t.Errorf("%d, %s", code, out.String())
	}
	if left, _ := os.ReadDir("."); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Each line goes to the log of the system with the level that it has in ours.
func TestRecords(t *testing.T) {
	var got []string
	w := records(func(level slog.Level, line string) { got = append(got, level.String()+" "+line) })
	for _, format := range []string{config.LogText, config.FormatJSON} {
		got = nil
		log := newLogger(config.LogConfig{Format: format, Level: slog.LevelDebug}, config.Secrets{}, w)
		log.Debug("a", "b", "level=ERROR error: ")
		log.Info("a", "b", `"level":"ERROR"`)
		log.Warn("a\nb")
		log.Error("a")
		var levels []string
		for _, line := range got {
			level, _, _ := strings.Cut(line, " ")
			levels = append(levels, level)
		}
		if want := []string{"INFO", "INFO", "WARN", "ERROR"}; !slices.Equal(levels, want) {
			t.Errorf("%s: %q", format, got)
		}
	}
	got = nil
	fmt.Fprintf(w, "gateway: unknown flag\r\nSee gateway help.\n\na.toml:1:2: error: b\na.toml:1:2: warning: b\n%s\n", strings.Repeat("a", 2*maxRecord))
	want := []string{"ERROR gateway: unknown flag", "INFO See gateway help.", "ERROR a.toml:1:2: error: b", "WARN a.toml:1:2: warning: b", "INFO " + strings.Repeat("a", maxRecord)}
	if !slices.Equal(got, want) {
		t.Errorf("%.300q", got)
	}
}
