// This file measures one subject in one scenario once.

package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/bench/report"
)

// measurement is one run of a subject.
type measurement struct {
	o       *Options
	sc      scenario
	subject Subject

	sim    *simulator
	broker broker // nil: the scenario has none
	p      *process
	// observers are those of a Subject that is Observed.
	observers *observers
	began     time.Time // of the window
	hello     struct{ Peer, Compression string }

	mu      sync.Mutex
	samples []sampleAt
}

// sampleAt is a look at the process.
type sampleAt struct {
	at time.Time
	usage
}

const (
	samplePeriod = 250 * time.Millisecond
	pollPeriod   = 10 * time.Millisecond
	maxSamples   = 500
)

// run starts the simulator and the subject, and measures.
func (m *measurement) run(ctx context.Context) (out report.Run, err error) {
	out.Heap, out.Allocs, out.Goroutines = -1, -1, -1
	out.Figures = make(map[string]float64)
	if m.subject.Baseline {
		return out, m.baseline(ctx, &out)
	}
	if m.sim, err = startSimulator(m.o.Simulator, m.config()); err != nil {
		return out, err
	}
	defer m.sim.stop()
	if m.sc.broker != nil {
		if m.broker, err = m.sc.broker.start(); err != nil {
			return out, err
		}
		defer m.broker.stop()
		m.subject.Env = append(slices.Clone(m.subject.Env), m.broker.env(m.sc.rate < 0)...)
	}
	base, err := m.base(ctx)
	if err != nil {
		return out, err
	}
	if m.p, err = start(m.subject, m.sim.address, m.sc.shards, ""); err != nil {
		return out, err
	}
	defer func() {
		if stopped := m.p.stop(); err == nil && stopped != nil && m.subject.Gateway {
			err = fmt.Errorf("the gateway did not end well: %w", stopped)
		}
		if err != nil { // what it said is known when it has ended
			err = fmt.Errorf("%w; it said %q", err, m.p.stderr.String())
		}
	}()
	sampling, stopSampling := context.WithCancel(ctx)
	defer stopSampling()
	go m.sample(sampling)
	if m.broker != nil {
		if err := m.broker.consume(sampling, m.p, m.sc.rate < 0); err != nil {
			return out, err
		}
	}
	if m.sc.kind != kindGuilds {
		if err := m.connected(ctx, m.sc.shards); err != nil {
			return out, err
		}
	}
	m.p.mu.Lock()
	m.hello = m.p.hello
	m.p.mu.Unlock()

	if m.subject.Observed {
		o, err := m.p.observe(sampling)
		if err != nil {
			return out, err
		}
		defer o.stop()
		m.observers = o
	}
	switch m.sc.kind {
	case kindLoad:
		err = m.load(ctx, &out)
	case kindIdle:
		err = m.idle(ctx, &out, base)
	case kindGuilds:
		err = m.guilds(ctx, &out)
	case kindBeside:
		err = m.beside(ctx, &out)
	case kindReconnect:
		err = m.reconnect(ctx, &out)
	case kindSoak:
		err = m.soak(ctx, &out)
	}
	if err != nil {
		return out, err
	}
	out.Samples = m.curve()
	return out, nil
}

// config returns what the simulator does in the scenario.
func (m *measurement) config() SimConfig {
	c := SimConfig{TLS: m.sc.tls, Shards: m.sc.shards, Rate: m.sc.rate, Even: m.sc.even, Compression: m.subject.Compression,
		Heartbeat: m.sc.heartbeat, Sample: sampleEvery}
	switch m.sc.kind {
	case kindLoad:
		c.Recorded = m.events()
	case kindSoak:
		c.Recorded, c.Replay, c.Sample = m.events(), 10_000, 1<<20 // the event path is not timed
	case kindReconnect:
		c.Recorded, c.Replay = 10_000, 10_000
	case kindIdle, kindGuilds:
		c.Stored = true // what is not recorded: READY, answers
		c.Guilds, c.GuildBytes = m.sc.guilds, m.sc.guildBytes
	}
	return c
}

// events returns how many events each shard gets.
func (m *measurement) events() int {
	if m.sc.rate > 0 {
		return int(m.sc.rate*(20*m.o.Warmup+m.o.Window+20*time.Second).Seconds()) + 100
	}
	total := 400_000
	switch {
	case m.o.InWindow != nil:
		total = 2_500_000
	case m.o.Quick:
		total = 50_000
	}
	return total / m.sc.shards
}

// base returns what the subject takes with a single shard, in a scenario that
// is about what each shard takes.
func (m *measurement) base(ctx context.Context) (rss int64, err error) {
	if m.sc.kind != kindIdle {
		return 0, nil
	}
	shards, ids := 1, ""
	if m.subject.Gateway {
		shards, ids = m.sc.shards, "0"
	}
	if m.p, err = start(m.subject, m.sim.address, shards, ids); err != nil {
		return 0, err
	}
	defer m.p.stop()
	if err := m.connected(ctx, 1); err != nil {
		return 0, err
	}
	if err := pause(ctx, m.settle()); err != nil {
		return 0, err
	}
	u, err := readUsage(m.p.cmd.Process.Pid)
	return u.rss, err
}

// settle is how long an idle subject has to return what its start took.
func (m *measurement) settle() time.Duration {
	if m.o.Quick {
		return 3 * time.Second
	}
	return 15 * time.Second
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until waits for a condition, for at most d.
func (m *measurement) until(ctx context.Context, what string, d time.Duration, holds func() (bool, error)) error {
	for deadline := time.Now().Add(d); ; {
		ok, err := holds()
		switch {
		case err != nil || ok:
			return err
		case !m.p.running():
			return fmt.Errorf("the subject ended before %s", what)
		case time.Now().After(deadline):
			return fmt.Errorf("no %s within %v", what, d)
		}
		if err := pause(ctx, pollPeriod); err != nil {
			return err
		}
	}
}

// connected waits until so many shards have a session.
func (m *measurement) connected(ctx context.Context, shards int) error {
	what := fmt.Sprintf("session of all %d shards", shards)
	return m.until(ctx, what, time.Minute+time.Duration(shards)*30*time.Millisecond, func() (bool, error) {
		s, err := m.sim.do(simCommand{Do: "state"})
		return s.Connected >= shards, err
	})
}

// window measures what happens while f runs.
func (m *measurement) window(out *report.Run, f func() error) error {
	before := m.p.runtimeFigures()
	arrived, err := m.arrived()
	if err != nil {
		return err
	}
	a, err := readUsage(m.p.cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("the subject ended: %w", err)
	}
	var broker usage
	if m.broker != nil {
		if broker, err = readUsage(m.broker.pid()); err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.began = time.Now()
	m.mu.Unlock()
	var seen [numObservers]int64
	if m.observers != nil {
		seen = m.observers.counts()
	}
	if err := f(); err != nil {
		return err
	}
	if !m.p.running() {
		return errors.New("the subject ended in the window")
	}
	out.Seconds = time.Since(m.began).Seconds()
	b, err := readUsage(m.p.cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("the subject ended: %w", err)
	}
	out.User, out.System = b.user-a.user, b.system-a.system
	out.RSS, out.MaxRSS, out.Threads = b.rss, b.maxRSS, b.threads
	events, err := m.arrived()
	if err != nil {
		return err
	}
	out.Events = events - arrived
	if m.observers != nil {
		if err := m.observers.seen(out, seen); err != nil {
			return err
		}
	}
	if m.broker != nil {
		if err := m.brokerUsage(out, m.broker, broker); err != nil {
			return err
		}
		if out.Figures["repeats"] = float64(m.p.seen().again); out.Figures["repeats"] > 0 {
			return fmt.Errorf("%.0f events came again, or late", out.Figures["repeats"])
		}
	}
	if m.subject.Gateway {
		out.Figures["gaps"] = float64(m.p.seen().gaps)
		if err := m.noGaps(); err != nil {
			return err
		}
	}
	if figures := m.p.runtimeFigures(); figures != nil && before != nil {
		const objects = "/gc/heap/allocs:objects"
		out.Allocs = int64(figures[objects] - before[objects])
		out.Heap = int64(figures["/gc/heap/live:bytes"])
		out.Goroutines = int(figures["/sched/goroutines:goroutines"])
	}
	return nil
}

// sample looks at the process until ctx is done.
func (m *measurement) sample(ctx context.Context) {
	tick := time.NewTicker(samplePeriod)
	defer tick.Stop()
	for {
		if u, err := readUsage(m.p.cmd.Process.Pid); err == nil {
			m.mu.Lock()
			m.samples = append(m.samples, sampleAt{time.Now(), u})
			m.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// curve returns the samples as the report has them.
func (m *measurement) curve() (out []report.Sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// As many as a plot can show.
	every := 1 + len(m.samples)/maxSamples
	var samples []sampleAt
	for i := 0; i < len(m.samples); i += every {
		samples = append(samples, m.samples[i])
	}
	for i, s := range samples {
		r := report.Sample{At: s.at.Sub(m.began).Seconds(), RSS: s.rss}
		if i > 0 {
			before := samples[i-1]
			if d := s.at.Sub(before.at).Seconds(); d > 0 {
				r.CPU = (s.user + s.system - before.user - before.system) / d
			}
		}
		out = append(out, r)
	}
	return out
}

// inWindow lets the window pass.
func (m *measurement) inWindow(ctx context.Context, d time.Duration) error {
	if m.o.InWindow != nil && m.subject.Gateway {
		m.o.InWindow(m.p.debug, d)
		return ctx.Err()
	}
	return pause(ctx, d)
}
