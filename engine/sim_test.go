// This file runs the engine against the simulated Discord on fake time, over a
// network in memory.

package engine_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

const simToken = "sim-token"

// recorder is a sink that remembers what it was given.
type recorder struct {
	mu       sync.Mutex
	received []sim.Received
	began    map[string]int64 // Event.Began of the last event of each session
	gaps     []toldGap
	gate     chan struct{} // if set, Publish waits for it to be closed
	closed   bool
}

func (r *recorder) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range batch {
		if r.began == nil {
			r.began = make(map[string]int64)
		}
		r.began[ev.Session] = ev.Began
		if ev.Gap {
			r.gaps = append(r.gaps, toldGap{string(ev.Type), string(ev.Data), ev.Session, len(r.received)})
			continue
		}
		r.received = append(r.received, sim.Received{
			Shard: ev.Shard, Session: ev.Session, Seq: ev.Seq, Type: string(ev.Type), Hash: sim.Hash(ev.Data),
		})
	}
	acked(len(batch))
	return nil
}

func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

// hold makes Publish wait for gate to be closed.
func (r *recorder) hold(gate chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = gate
}

// count returns how many events of the type came; all if it is empty.
func (r *recorder) count(typ string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.received {
		if typ == "" || ev.Type == typ {
			n++
		}
	}
	return n
}

// world is a simulated Discord and an engine that runs against it, on the fake
// time of the test's bubble.
type world struct {
	t      *testing.T
	reader engine.ReaderKind
	srv    *sim.Server
	net    *sim.Network
	sink   *recorder
	engine *engine.Engine
	stop   context.CancelFunc
	ended  chan error
	runs   sync.WaitGroup

	stalled atomic.Bool // writes of the engine wait
	twice   bool        // several shards have one id

	mu      sync.Mutex
	states  map[int][]engine.State
	onState func(shard int, to engine.State)
	dials   []string // host:port of each connection tried, REST apart
}

// readers are those that tests run with.
var readers = []struct {
	name string
	kind engine.ReaderKind
}{{"goroutine", engine.ReaderGoroutine}, {"epoll", engine.ReaderEpoll}}

// onReaders runs a test on fake time with each reader.
func onReaders(t *testing.T, f func(t *testing.T, reader engine.ReaderKind)) {
	t.Helper()
	for n := range readers {
		onReader(t, n, f)
	}
}

func onReader(t *testing.T, n int, f func(t *testing.T, reader engine.ReaderKind)) {
	t.Helper()
	t.Run(readers[n].name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, readers[n].kind) })
	})
}

// byTurns is onReaders for a test that is costly, and the same for each reader, or the nth of many: it runs with
// one, the next with the other. With everyReader it runs with each.
func byTurns(t *testing.T, n int, f func(t *testing.T, reader engine.ReaderKind)) {
	t.Helper()
	if everyReader {
		onReaders(t, f)
		return
	}
	onReader(t, n%len(readers), f)
}

// newWorld starts both. The options need only what the test is about. Both are
// stopped by end, or at the end of the test.
func newWorld(t *testing.T, reader engine.ReaderKind, so sim.Options, eo engine.Options) *world {
	t.Helper()
	w := &world{t: t, reader: reader, net: new(sim.Network), sink: new(recorder), ended: make(chan error, 4)}
	if so.Listen == nil {
		so.Listen = w.net.Listen
	}
	if so.LargeEvery == 0 {
		so.LargeEvery = -1
	}
	so.LoneSurrogates, so.Undocumented = true, true // whatever comes is handed on as it is
	var err error
	if w.srv, err = sim.New(so); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.stop()
		w.runs.Wait()
		w.srv.Close()
	})
	w.start(eo)
	return w
}

// start runs an engine, or the next one, against the world's Discord.
func (w *world) start(eo engine.Options) {
	w.t.Helper()
	w.mu.Lock()
	w.states = map[int][]engine.State{}
	w.mu.Unlock()
	if eo.Sink == nil {
		eo.Sink = w.sink
	}
	if eo.Token == "" {
		eo.Token = simToken
	}
	if eo.API == nil && (eo.GatewayURL == "" || eo.Shards == 0) {
		eo.API = &wire.API{Base: w.srv.APIURL(), Token: eo.Token, Client: &http.Client{
			Transport: &http.Transport{DialContext: w.net.DialContext, DisableKeepAlives: true},
		}}
	}
	if eo.Intents == 0 {
		eo.Intents = wire.AllIntents
	}
	if eo.GatewayHosts == nil {
		eo.GatewayHosts = []string{"gateway", "resume"} // the simulated network has no domains
	}
	eo.Reader = w.reader
	eo.PollMemory()
	eo.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.mu.Lock()
		w.dials = append(w.dials, address)
		w.mu.Unlock()
		conn, err := w.net.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &stallConn{PollConn: conn.(sim.PollConn), stalled: &w.stalled}, nil
	}
	eo.OnState = func(shard int, from, to engine.State) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.onState != nil {
			w.onState(shard, to)
		}
		if seen := w.states[shard]; len(seen) > 0 && seen[len(seen)-1] != from && from != engine.Idle && !w.twice { // Idle: it was added again
			w.t.Errorf("shard %d left state %v while it was in %v", shard, from, seen[len(seen)-1])
		}
		w.states[shard] = append(w.states[shard], to)
	}
	var err error
	if w.engine, err = engine.New(eo); err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	w.runs.Go(func() { w.ended <- w.engine.Run(ctx) })
}

// sessions returns what resumes the shards of the engine.
func (w *world) sessions() map[int]resume.Session { return maps.Collect(w.engine.Snapshots()) }

// wait waits until the condition holds, for at most a simulated hour.
func (w *world) wait(what string, holds func() bool) {
	w.t.Helper()
	for range 36_000 {
		if holds() {
			return
		}
		select {
		case err := <-w.ended:
			w.ended <- err
			w.t.Fatalf("the engine ended (%v) before %s", err, what)
		case <-time.After(100 * time.Millisecond):
		}
	}
	w.t.Fatalf("no %s within an hour; stats %+v\n%v", what, w.engine.Status(), w.srv.Ledger().Summary())
}

// ready waits until n shards are ready.
func (w *world) ready(n int) {
	w.t.Helper()
	w.wait("readiness", func() bool { return w.engine.Status().Ready == n })
}

// hook has f called at each change of a shard's state.
func (w *world) hook(f func(shard int, to engine.State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onState = f
}

// stallConn is a connection whose peer may stop reading.
type stallConn struct {
	sim.PollConn
	stalled  *atomic.Bool
	deadline atomic.Pointer[time.Time]
}

func (c *stallConn) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.PollConn.SetWriteDeadline(t)
}

func (c *stallConn) Write(p []byte) (int, error) {
	for c.stalled.Load() {
		if d := c.deadline.Load(); d != nil && !d.IsZero() && time.Now().After(*d) {
			return 0, os.ErrDeadlineExceeded
		}
		time.Sleep(10 * time.Millisecond)
	}
	return c.PollConn.Write(p)
}

func (c *stallConn) TryWrite(p []byte) (int, error) {
	if c.stalled.Load() {
		return 0, nil
	}
	return c.PollConn.TryWrite(p)
}

// CloseWrite has the reader that waits for the peer's end do so.
func (c *stallConn) CloseWrite() error {
	return c.PollConn.(interface{ CloseWrite() error }).CloseWrite()
}

func (c *stallConn) Ready() (read, write bool) {
	read, write = c.PollConn.Ready()
	return read, write && !c.stalled.Load()
}

// dialed returns how many connections were tried so far.
func (w *world) dialed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dials)
}

// resumes returns the outcomes of the resumes so far.
func (w *world) resumes() (outcomes []string) {
	for _, r := range w.srv.Ledger().Resumes() {
		outcomes = append(outcomes, r.Outcome)
	}
	return outcomes
}

// quiet waits until everything that the server sent has arrived.
func (w *world) quiet() sim.Report {
	w.t.Helper()
	var report sim.Report
	w.wait("quiet", func() bool {
		w.sink.mu.Lock()
		defer w.sink.mu.Unlock()
		report = w.srv.Ledger().Check(w.sink.received)
		return report.Pending == 0
	})
	return report
}

// end stops both, expects no error of the engine and returns the last report.
func (w *world) end() sim.Report {
	w.t.Helper()
	w.stop()
	if err := <-w.ended; err != nil {
		w.t.Errorf("Run: %v", err)
	}
	w.srv.Close()
	synctest.Wait()
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	return w.srv.Ledger().Check(w.sink.received)
}

// whole reports what is wrong with a report of a client that keeps every promise.
func whole(t *testing.T, r sim.Report) {
	t.Helper()
	if r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("events: %v", r)
	}
}

// sound checks what must hold whatever goes wrong: nothing above Discord's limits.
func sound(t *testing.T, w *world) {
	t.Helper()
	s := w.srv.Ledger().Summary()
	if s.BucketRefused > 0 || s.RateLimited > 0 || s.MaxSends > 120 {
		t.Errorf("limits exceeded: %v", s)
	}
	for _, session := range w.srv.Ledger().Sessions() {
		if session.End == sim.EndBadSeq || session.End == sim.EndBadCommand {
			t.Errorf("shard %d ended its session: %s", session.Shard, session.End)
		}
	}
	for _, r := range w.srv.Ledger().Resumes() {
		if !r.QueryRepeated && r.Session != "" && r.Shard >= 0 {
			t.Errorf("a resume through the %s host did not repeat the query", r.Host)
		}
	}
}

var compressions = []wire.Compression{
	wire.CompressionZstd, wire.CompressionZlib, wire.CompressionPayload, wire.CompressionNone,
}

func TestEventsArriveOnce(t *testing.T) {
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Shards: 3, Rate: 2, Seed: 1, LargeEvery: 2}, engine.Options{Compression: c})
				w.ready(3)
				time.Sleep(2 * time.Minute)
				w.srv.Silence()
				whole(t, w.quiet())
				if n := w.sink.count(""); n < 500 {
					t.Errorf("only %d events", n)
				}
				if n := w.srv.Ledger().Summary(); n.Identifies != 3 || n.Connects != 3 {
					t.Errorf("an undisturbed run needed more than one connection a shard: %v", n)
				}
				sound(t, w)
				whole(t, w.end())
			})
		})
	}
}
