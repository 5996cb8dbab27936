// Package fleetsim runs a whole fleet in fake time, in a bubble of testing/synctest: several processes, each with
// an engine.Engine and a fleet.Fleet that are the real ones, the simulated Discord, a coordinator in
// memory and a broker in memory; faults come from a seed, and what fleets promise is
// checked while it runs and in the end.
package fleetsim

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/fleet"
	"sluice/fleet/memory"
	"sluice/internal/record"
)

// world is a bot, its fleet, and everything around them.
type world struct {
	t      *testing.T
	seed   uint64
	rand   *rand.Rand // of the one who makes the faults
	forget bool       // the coordinator forgets
	srv    *sim.Server
	net    *sim.Network
	table  *table
	stream *stream
	log    *slog.Logger
	lines  ring
	runs   sync.WaitGroup

	mu     sync.Mutex
	all    []*process
	air    weather
	cut    [ways]time.Time
	faults []string
	wrongs []string
	began  time.Time
	fair   bool          // the weather, for good
	over   bool          // the faults are
	ended  chan struct{} // closed when the run is over
}

// weather is how the ways from all processes are: parts of the calls.
type weather struct {
	slow, lose, loseAnswer float64
	slowest, latest        time.Duration
}

func (w *world) weather() weather {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.air
}

func (w *world) isCut(way int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.cut[way])
}

// since is the time of the run, for logs.
func (w *world) since() time.Duration { return time.Since(w.began).Round(time.Millisecond) }

// wrong notes that something is not as it must be.
func (w *world) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrongs) < 20 {
		w.wrongs = append(w.wrongs, fmt.Sprintf("%v: ", time.Since(w.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
		w.lines.keep()
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrongs) > 0
}

// fault notes what is done.
func (w *world) fault(format string, args ...any) {
	line := fmt.Sprintf("%v: ", w.since()) + fmt.Sprintf(format, args...)
	w.log.Info("fault: " + line)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, line)
}

// up returns the processes that run.
func (w *world) up() (up []*process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.all {
		if p.isUp() {
			up = append(up, p)
		}
	}
	return up
}

// table is the coordinator, which looks at the checkpoints that it is given.
type table struct {
	*memory.Coordinator
	w *world

	mu    sync.Mutex
	saved map[string]bool // sessions that were
}

// Save demands of checkpoints that are taken that the stream has all that they cover.
func (t *table) Save(ctx context.Context, incarnation string, records []fleet.Record) ([]int, error) {
	refused, err := t.Coordinator.Save(ctx, incarnation, records)
	if err != nil {
		return refused, err
	}
	isRefused := make(map[int]bool)
	for _, shard := range refused {
		isRefused[shard] = true
	}
	for _, r := range records {
		if len(r.Data) == 0 || isRefused[r.Shard] {
			continue
		}
		f := record.Fields{Rest: r.Data[1:]}
		session, _, seq := string(f.Text()), f.Text(), int64(f.Number())
		if session == "" {
			continue
		}
		t.mu.Lock()
		t.saved[session] = true
		t.mu.Unlock()
		if has := t.w.stream.reached(session); seq > has {
			t.w.wrong("shard %d: the checkpoint of session %.8s under epoch %d is %d, and the stream has %d", r.Shard, session, r.Epoch, seq, has)
		}
	}
	return refused, nil
}

func (t *table) wasSaved(session string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.saved[session]
}

// ring keeps the last lines of a log, and those around the first wrong.
type ring struct {
	mu    sync.Mutex
	lines [][]byte
	next  int      // the oldest
	first [][]byte // lines as of the first wrong
}

func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < 2000 || *logWhole {
		r.lines = append(r.lines, bytes.Clone(p))
	} else {
		r.lines[r.next] = append(r.lines[r.next][:0], p...)
		r.next = (r.next + 1) % len(r.lines)
	}
	return len(p), nil
}

// keep keeps the lines as they are now, as those of the first wrong.
func (r *ring) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = slices.Concat(r.lines[r.next:], r.lines[:r.next])
	}
}

// tail returns the last of the lines that were kept.
func (r *ring) tail(n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(bytes.Join(r.first[max(0, len(r.first)-n):], nil))
}
