// This file tests what /livez and /readyz answer of an engine against the simulated Discord, over
// HTTP, on fake time.

package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/cmd/gateway/config"
	"sluice/cmd/gateway/status"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// broker is a sink that takes events, or nothing.
type broker struct {
	mu        sync.Mutex
	available bool
	since     time.Time
	changed   chan struct{} // closed, and replaced, when that changes
	published int64
}

func newBroker() *broker {
	return &broker{available: true, since: time.Now(), changed: make(chan struct{})}
}

func (b *broker) set(available bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.available, b.since = available, time.Now()
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *broker) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	for {
		b.mu.Lock()
		available, changed := b.available, b.changed
		if available {
			b.published += int64(len(batch))
		}
		b.mu.Unlock()
		if available {
			acked(len(batch))
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *broker) Close() error { return nil }

func (b *broker) Status() sinks.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return sinks.Status{Available: b.available, Since: b.since, Published: b.published}
}

// world is a simulated Discord, an engine that runs against it, and what is served of it at the
// host admin of a network in memory.
type world struct {
	t      *testing.T
	srv    *sim.Server
	broker *broker
	engine *engine.Engine
	admin  *Server
	probe  http.Client
}

func newWorld(t *testing.T, so sim.Options, onState func(shard int, from, to engine.State)) *world {
	network := new(sim.Network)
	so.Listen, so.LargeEvery = network.Listen, -1
	srv, err := sim.New(so)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, srv: srv, broker: newBroker()}
	w.engine, err = engine.New(engine.Options{
		Token: "sim-token", Intents: wire.AllIntents, Sink: w.broker, DialContext: network.DialContext,
		API: &wire.API{Base: srv.APIURL(), Token: "sim-token", Client: &http.Client{
			Transport: &http.Transport{DialContext: network.DialContext, DisableKeepAlives: true},
		}},
		GatewayHosts: []string{"gateway", "resume"}, QueueBytes: 256 << 10, StartReserve: 1, OnState: onState,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load(config.Sources{Environ: []string{"DISCORD_TOKEN=x.y.z", "BROKER_TYPE=redis", "REDIS_URL=localhost"}})
	if problems.Failed() {
		t.Fatal(problems)
	}
	source := &status.Source{
		Engine: w.engine, Live: func() error { return w.engine.Live(time.Now()) }, Sink: w.broker, Title: "Redis", Config: cfg, Started: time.Now(),
	}
	if w.admin, err = Listen(Options{Status: source.Status, Checks: source.Checks}); err != nil {
		t.Fatal(err)
	}
	l, err := network.Listen("admin")
	if err != nil {
		t.Fatal(err)
	}
	w.admin.serve(l, &entry{s: w.admin, endpoint: "/metrics", socket: true}, nil)
	w.probe.Transport = &http.Transport{DialContext: network.DialContext, DisableKeepAlives: true} // as probes of Kubernetes
	ctx, stop := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	runs.Go(func() { source.Run(ctx) })
	runs.Go(func() {
		if err := w.engine.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		w.broker.set(true)
		stop()
		runs.Wait()
		w.admin.Close()
		srv.Close()
	})
	return w
}

// get returns the answer to a path. The process answers at once, whatever else it waits for.
func (w *world) get(path string) (code int, body string) {
	w.t.Helper()
	begun := time.Now()
	answer, err := w.probe.Get("http://admin" + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if took := time.Since(begun); err != nil || took > 0 {
		w.t.Fatalf("%s: %v, after %v", path, err, took)
	}
	return answer.StatusCode, string(text)
}

// status returns the document.
func (w *world) status() *status.Status {
	w.t.Helper()
	_, body := w.get("/status")
	d := new(status.Status)
	if err := json.Unmarshal([]byte(body), d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// during looks at both checks, each second or 500 times in so long: the process is live, and ready or not as it
// is to be. A reason for which it is not is in the answer.
func (w *world) during(what string, d time.Duration, ready bool, reason string) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(max(time.Second, d/500)) {
		if code, body := w.get("/livez"); code != http.StatusOK {
			w.t.Fatalf("%s: /livez %d %s", what, code, body)
		}
		if code, body := w.get("/readyz"); (code == http.StatusOK) != ready || !strings.Contains(body, reason) {
			w.t.Fatalf("%s: /readyz %d %s, want %q", what, code, body, reason)
		}
	}
}

// until waits for at most a simulated hour.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for range 36_000 {
		if holds() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, body := w.get("/readyz?verbose")
	w.t.Fatalf("no %s within an hour\n%s", what, body)
}

func (w *world) ready() bool {
	code, _ := w.get("/readyz")
	return code == http.StatusOK
}

// Through an outage of the broker and one of Discord, the process is live, and not ready.
func TestOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sim.Options{Shards: 4, Rate: 20}, nil)
		time.Sleep(time.Second)
		w.during("the start", 10*time.Second, false, "waits in the identify queue")
		w.until("readiness", w.ready)
		w.during("running", time.Minute, true, "readyz: ok\n")
		if d := w.status(); d.Events.Rate < 40 || d.Events.Rate > 100 || d.Shards.List[3].Rate < 10 || d.Events.Lag.Max == 0 {
			t.Errorf("rate %v, %v; lag %v", d.Events.Rate, d.Shards.List[3].Rate, d.Events.Lag)
		}

		w.broker.set(false)
		w.during("the broker's outage", time.Hour, false, "failed broker: Redis unavailable for ")
		if d := w.status(); d.Broker.Available || d.Broker.Since != 3600 || d.Queue.Paused == 0 || d.Queue.Oldest < 3500 || d.Queue.Bytes < d.Queue.MaxBytes {
			t.Errorf("%+v, %+v", d.Broker, d.Queue)
		}
		w.broker.set(true)
		w.until("readiness after the broker's outage", w.ready)
		time.Sleep(time.Minute)

		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		w.srv.SetAPI(sim.GateRefuse)
		for shard := range 4 {
			w.srv.Cut(shard, true)
		}
		time.Sleep(time.Second)
		w.during("a moment after the cut", 5*time.Second, true, "readyz: ok\n")
		time.Sleep(2 * time.Minute) // from then on no shard counts as resuming
		w.during("Discord's outage", time.Hour, false, "failed shards: 4 of 4 not ready (0, 1, 2, 3): connecting again after: ")
		w.srv.SetGateway(sim.GateOpen)
		w.srv.SetResumeHost(sim.GateOpen)
		w.srv.SetAPI(sim.GateOpen)
		w.until("readiness after Discord's outage", w.ready)
		if d := w.status(); d.Shards.States["ready"] != 4 || len(d.Shards.Ended) == 0 {
			t.Errorf("%+v", d.Shards)
		}
	})
}

// A start that waits for session starts for more than an hour is live, and says why it is not ready.
func TestIdentifyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sim.Options{Shards: 12, IdentifyTotal: 10, IdentifyReset: 90 * time.Minute}, nil)
		w.until("the end of the budget", func() bool { return w.status().Identify.Exhausted })
		time.Sleep(time.Minute)
		w.during("without session starts", 80*time.Minute, false, " of 12 not ready ")
		d := w.status()
		if last := d.Shards.List[11]; last.Why != "identify budget used up until 01:30Z" || last.State != "identify queued" || last.Since < 80*60 {
			t.Errorf("%+v", last)
		}
		if i := d.Identify; i.Waiting != 12-d.Shards.Ready || i.Left > i.Reserve || i.Reserve != 1 || !i.Known || i.Total != 10 || i.MaxConcurrency != 1 {
			t.Errorf("%+v", i)
		}
		if _, body := w.get("/readyz"); !strings.Contains(body, ", 11): identify budget used up until 01:30Z\n") {
			t.Error(body)
		}
		w.until("readiness", w.ready)
	})
}

// A reader that is stuck is not live.
func TestStuckReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		w := newWorld(t, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 5}, func(shard int, from, to engine.State) {
			if shard == 1 && from == engine.Ready {
				<-hold
			}
		})
		release := sync.OnceFunc(func() { close(hold) })
		defer release()
		w.until("readiness", w.ready)
		w.during("running", time.Minute, true, "readyz: ok\n")
		w.srv.Cut(1, true)
		live := func() bool {
			code, _ := w.get("/livez")
			return code == http.StatusOK
		}
		w.until("503", func() bool { return !live() })
		if _, body := w.get("/livez"); !strings.HasPrefix(body, "failed engine: ") || !strings.Contains(body, "stuck") {
			t.Errorf("/livez: %s", body)
		}
		if code, body := w.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "failed engine: ") {
			t.Errorf("/readyz: %d %s", code, body)
		}
		if d := w.status(); d.Health.Live || d.Health.Ready {
			t.Errorf("%+v", d.Health)
		}
		release()
		w.until("progress", live)
		w.until("readiness", w.ready)
	})
}
