// This file holds what is done in the windows of the kinds of scenario.

package load

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/bench/report"
)

// floodProfile is how long a flood goes on at least while somebody looks.
const floodProfile = 3 * time.Second

// load measures while events arrive: at a rate for the window, and as fast as they
// are read until the last.
func (m *measurement) load(ctx context.Context, out *report.Run) error {
	if _, err := m.sim.do(simCommand{Do: "play"}); err != nil {
		return err
	}
	if m.sc.rate > 0 {
		if err := pause(ctx, m.o.Warmup); err != nil {
			return err
		}
		if err := m.window(out, func() error { return m.inWindow(ctx, m.o.Window) }); err != nil {
			return err
		}
		want := 0.2 * m.sc.rate * float64(m.sc.shards) * out.Seconds
		if m.o.Quick { // it shows that things work, on a machine however busy
			want = 1
		}
		if float64(out.Events) < want {
			return fmt.Errorf("%d events came, and not even %.0f", out.Events, want)
		}
		if err := m.drain(ctx); err != nil {
			return err
		}
		return m.latency(out)
	}
	all := int64(m.sc.shards)*int64(m.events()+1) - m.untold()
	arrived := func(part float64) func() (bool, error) {
		return func() (bool, error) {
			events, err := m.arrived()
			return events >= int64(part*float64(all)), err
		}
	}
	if err := m.until(ctx, "tenth of the events", time.Minute, arrived(0.1)); err != nil {
		return err
	}
	err := m.window(out, func() error {
		if m.o.InWindow != nil && m.subject.Gateway {
			m.o.InWindow(m.p.debug, floodProfile)
		}
		return m.until(ctx, "end of the events", 10*time.Minute, arrived(1))
	})
	if err != nil {
		return err
	}
	out.Latency = report.Latency{} // in a flood everything waits for its turn
	return nil
}

// untold is how many events a subject may have received and not reported: a peer
// reports some of its events only.
func (m *measurement) untold() int64 {
	if m.subject.Gateway {
		return 0
	}
	return int64(m.sc.shards) * (peerSample - 1)
}

// drain ends the traffic and waits until the subject has published all that was
// sent. Nothing is lost at the end then, and those that were late in the window
// count in the latency.
func (m *measurement) drain(ctx context.Context) error {
	if _, err := m.sim.do(simCommand{Do: "silence"}); err != nil {
		return err
	}
	err := m.until(ctx, "arrival of all events that were sent", 2*time.Minute, func() (bool, error) {
		events, err := m.arrived()
		if err != nil {
			return false, err
		}
		s, err := m.sim.do(simCommand{Do: "state"})
		return events >= s.Dispatched-m.untold(), err
	})
	if err != nil {
		return err
	}
	return m.noGaps()
}

// arrived returns how many events the subject has received, as far as is known.
func (m *measurement) arrived() (int64, error) {
	if m.subject.Mute {
		s, err := m.sim.do(simCommand{Do: "state"})
		return s.Dispatched, err
	}
	return m.p.seen().events, nil
}

// noGaps returns an error if events are missing between others that came. A peer
// does not report all.
func (m *measurement) noGaps() error {
	if gaps := m.p.seen().gaps; m.subject.Gateway && gaps > 0 {
		return fmt.Errorf("%d events did not come", gaps)
	}
	return nil
}

// latency joins the times of writes with those of arrivals in the window.
func (m *measurement) latency(out *report.Run) error {
	state, err := m.sim.do(simCommand{Do: "times"})
	if err != nil {
		return err
	}
	type event struct {
		shard int
		seq   int64
	}
	written := make(map[event]int64, len(state.Written))
	for _, w := range state.Written {
		written[event{w.Shard, w.Seq}] = w.At
	}
	began := m.began.UnixNano()
	end := began + int64(out.Seconds*1e9)
	var took []float64
	m.p.mu.Lock()
	for _, a := range m.p.arrived {
		if at, ok := written[event{a.Shard, a.Seq}]; ok && began <= at && at < end {
			took = append(took, float64(max(0, a.At-at))/1e9)
		}
	}
	m.p.mu.Unlock()
	out.Latency = distribution(took)
	return nil
}

// distribution returns the percentiles and the curve of durations in seconds.
func distribution(took []float64) report.Latency {
	l := report.Latency{Count: int64(len(took))}
	if len(took) == 0 {
		return l
	}
	slices.Sort(took)
	at := func(part float64) float64 { return took[min(len(took)-1, int(part*float64(len(took))))] }
	l.P50, l.P90, l.P99, l.P999, l.Max = at(0.5), at(0.9), at(0.99), at(0.999), took[len(took)-1]
	const points = 60
	for i := range points {
		part := float64(i) / points
		l.Curve = append(l.Curve, [2]float64{at(part), part})
	}
	for _, part := range []float64{0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999} {
		if part*float64(len(took)) < float64(len(took)-1) {
			l.Curve = append(l.Curve, [2]float64{at(part), part})
		}
	}
	l.Curve = append(l.Curve, [2]float64{l.Max, 1})
	return l
}

// idle measures shards to which nothing happens, once what their start took is
// given back.
func (m *measurement) idle(ctx context.Context, out *report.Run, base int64) error {
	if err := m.guildsThrough(ctx); err != nil {
		return err
	}
	if err := pause(ctx, m.settle()); err != nil {
		return err
	}
	window := max(m.o.Window, 2*m.sc.heartbeat)
	if m.o.Quick {
		window = m.o.Window
	}
	if err := m.window(out, func() error { return m.inWindow(ctx, window) }); err != nil {
		return err
	}
	state, err := m.lateness(out)
	if err != nil {
		return err
	}
	if state.Connected < m.sc.shards {
		return fmt.Errorf("%d of %d shards are connected", state.Connected, m.sc.shards)
	}
	out.Figures["bytes_per_shard"] = float64(out.RSS-base) / float64(max(1, m.sc.shards-1))
	out.Figures["heartbeats"] = float64(state.Heartbeats)
	return nil
}

// guildsThrough waits until the guilds of all shards have arrived.
func (m *measurement) guildsThrough(ctx context.Context) error {
	want := int64(m.sc.shards) * int64(1+m.sc.guilds)
	if m.sc.guilds == 0 || !m.subject.Gateway {
		return nil
	}
	return m.until(ctx, "guilds of all shards", 5*time.Minute, func() (bool, error) { return m.p.seen().events >= want, nil })
}

// guilds measures the start: from the first connection to the last guild.
func (m *measurement) guilds(ctx context.Context, out *report.Run) error {
	err := m.window(out, func() error { return m.guildsThrough(ctx) })
	if err != nil {
		return err
	}
	out.Figures["megabytes_per_second"] = float64(m.sc.shards*m.sc.guilds*m.sc.guildBytes) / 1e6 / out.Seconds
	_, err = m.lateness(out)
	return err
}

// lateness notes how late heartbeats came since the window's beginning, and how
// much of that may be the simulator's own.
func (m *measurement) lateness(out *report.Run) (SimState, error) {
	state, err := m.sim.do(simCommand{Do: "late", Since: m.began})
	out.Figures["heartbeat_late_max"] = state.Late.Seconds()
	out.Figures["simulator_late_max"] = state.Lag.Seconds()
	return state, err
}

// beside measures how late the heartbeats of all shards get while one receives
// guilds as fast as it reads.
func (m *measurement) beside(ctx context.Context, out *report.Run) error {
	want := int64(m.sc.shards) // READY of each
	err := m.window(out, func() error {
		for end := time.Now().Add(m.o.Window); time.Now().Before(end); {
			state, err := m.sim.do(simCommand{Do: "large", Count: m.sc.guilds, Bytes: m.sc.guildBytes})
			if err != nil {
				return err
			}
			want += int64(m.sc.guilds)
			if state.Connected < m.sc.shards {
				return fmt.Errorf("%d of %d shards are connected", state.Connected, m.sc.shards)
			}
			if err := m.until(ctx, "guilds", time.Minute, func() (bool, error) { return m.p.seen().events >= want, nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := m.lateness(out); err != nil {
		return err
	}
	out.Figures["megabytes_per_second"] = float64(out.Events) * float64(m.sc.guildBytes) / 1e6 / out.Seconds
	return nil
}

// reconnect measures from the moment when every shard is cut until all have
// their sessions again.
func (m *measurement) reconnect(ctx context.Context, out *report.Run) error {
	if _, err := m.sim.do(simCommand{Do: "play"}); err != nil {
		return err
	}
	if err := pause(ctx, m.o.Warmup); err != nil {
		return err
	}
	var back time.Duration
	err := m.window(out, func() error {
		if _, err := m.sim.do(simCommand{Do: "cut", Shard: -1}); err != nil {
			return err
		}
		err := m.until(ctx, "resumes of all shards", 2*time.Minute, func() (bool, error) {
			s, err := m.sim.do(simCommand{Do: "state"})
			return s.Resumed >= m.sc.shards, err
		})
		back = time.Since(m.began)
		if err != nil {
			return err
		}
		return pause(ctx, m.o.Window)
	})
	if err != nil {
		return err
	}
	out.Figures["time_to_resume"] = back.Seconds()
	state, err := m.sim.do(simCommand{Do: "state"})
	if err != nil {
		return err
	}
	if state.Sessions > m.sc.shards {
		return fmt.Errorf("%d shards began a new session", state.Sessions-m.sc.shards)
	}
	if err := m.drain(ctx); err != nil {
		return err
	}
	return m.latency(out)
}

// cutPeriod is the mean time between two cuts in a soak.
const cutPeriod = 5 * time.Second

// soak measures whether anything grows while events arrive at a rate and a
// shard is cut now and then.
func (m *measurement) soak(ctx context.Context, out *report.Run) error {
	if _, err := m.sim.do(simCommand{Do: "play"}); err != nil {
		return err
	}
	// What a process takes when it is new grows: caches, pools, rings.
	if err := pause(ctx, 20*m.o.Warmup); err != nil {
		return err
	}
	var goroutines, rss line
	err := m.window(out, func() error {
		tick := time.NewTicker(cutPeriod)
		defer tick.Stop()
		for i := 0; time.Since(m.began) < m.o.Window; i++ {
			if _, err := m.sim.do(simCommand{Do: "cut", Shard: i * 7 % m.sc.shards}); err != nil {
				return err
			}
			u, err := readUsage(m.p.cmd.Process.Pid)
			figures := m.p.runtimeFigures()
			if err != nil || figures == nil {
				return fmt.Errorf("the subject ended after %v", time.Since(m.began).Round(time.Second))
			}
			at := time.Since(m.began).Hours()
			rss.add(at, float64(u.rss))
			goroutines.add(at, figures["/sched/goroutines:goroutines"])
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	state, err := m.sim.do(simCommand{Do: "state"})
	if err != nil {
		return err
	}
	out.Figures["resumes"] = float64(state.Resumed)
	out.Figures["new_sessions"] = float64(state.Sessions - m.sc.shards)
	out.Figures["rss_slope_bytes_per_hour"] = rss.slope()
	out.Figures["goroutine_slope_per_hour"] = goroutines.slope()
	return nil
}

// line is the straight line that fits points best.
type line struct{ n, x, y, xx, xy float64 }

func (l *line) add(x, y float64) {
	l.n++
	l.x += x
	l.y += y
	l.xx += x * x
	l.xy += x * y
}

// slope returns the line's slope, 0 with fewer than two points.
func (l *line) slope() float64 {
	d := l.n*l.xx - l.x*l.x
	if d == 0 {
		return 0
	}
	return (l.n*l.xy - l.x*l.y) / d
}
