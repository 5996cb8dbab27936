// This file makes the faults of a seed.

package fleetsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sluice/bench/sim"
	"sluice/fleet"
	"sluice/wire"
)

// disturb does one thing after the other until the time is over.
func (w *world) disturb(until time.Time) {
	r := w.rand
	every := time.Duration(1+r.IntN(6)) * time.Second
	for {
		// Not at the moment at which something else happens.
		wait := time.Duration(r.ExpFloat64()*float64(every)) + time.Duration(r.IntN(1_000_000))
		if time.Now().Add(wait).After(until) {
			time.Sleep(time.Until(until))
			return
		}
		time.Sleep(wait)
		w.act(r)
	}
}

// span draws a time, most often a short one.
func span(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Float64()*r.Float64()*float64(most)) + time.Millisecond
}

// act does one thing.
func (w *world) act(r *rand.Rand) {
	up := w.up()
	one := func() *process { return up[r.IntN(len(up))] }
	some := func() (ids []int) {
		for range 1 + r.IntN(8) {
			ids = append(ids, r.IntN(shards))
		}
		return ids
	}
	n := r.IntN(100)
	switch {
	case len(up) < 2 || n < 12 && len(up) < 7:
		w.join()
	case n < 24:
		p := one()
		w.fault("%s is killed", p.name)
		p.kill()
		if r.IntN(3) > 0 {
			again := span(r, 12*time.Second)
			w.runs.Go(func() {
				time.Sleep(again)
				w.begin(p.name)
			})
		}
	case n < 34:
		p, d := one(), span(r, 25*time.Second)
		w.fault("%s is stopped for %v", p.name, d)
		p.stop(d)
	case n < 42:
		p, way, d := one(), r.IntN(ways), span(r, 30*time.Second)
		w.fault("%s is cut off from %s for %v", p.name, [...]string{"the coordinator", "the sink", "Discord"}[way], d)
		p.cutOff(way, d)
	case n < 48:
		way, d := r.IntN(toDiscord), span(r, 20*time.Second)
		w.fault("%s is unavailable for %v", [...]string{"the coordinator", "the sink"}[way], d)
		w.mu.Lock()
		w.cut[way] = time.Now().Add(d)
		w.mu.Unlock()
	case n < 56:
		p := one()
		w.fault("%s gets SIGTERM", p.name)
		p.sigterm()
		if r.IntN(3) > 0 {
			w.runs.Go(func() { <-p.ended; w.begin(p.name) })
		}
	case n < 58:
		w.fault("all are restarted, one after the other")
		w.runs.Go(func() {
			for _, p := range up {
				if w.isOver() {
					return
				}
				p.sigterm()
				<-p.ended
				w.begin(p.name)
			}
		})
	case n < 62:
		air := newWeather(r)
		w.fault("weather: %+v", air)
		w.setWeather(air)
	case n < 66:
		mode, d := []sim.GateMode{sim.GateRefuse, sim.GateSilent}[r.IntN(2)], span(r, 15*time.Second)
		host := r.IntN(2)
		set := [...]func(sim.GateMode){w.srv.SetGateway, w.srv.SetResumeHost}[host]
		w.fault("Discord's host %d takes no connections for %v: %v", host, d, mode)
		set(mode)
		time.AfterFunc(d, func() { set(sim.GateOpen) })
	case n < 70 && w.forget:
		w.fault("the coordinator forgets %d steps", w.table.Forget(1+r.IntN(40)))
	default:
		w.toShards(r, some())
	}
}

// toShards does something to some shards.
func (w *world) toShards(r *rand.Rand, ids []int) {
	note := func(what string, args ...any) { w.fault("shards %v: %s", ids, fmt.Sprintf(what, args...)) }
	each := func(f func(id int)) {
		for _, id := range ids {
			f(id)
		}
	}
	switch r.IntN(9) {
	case 0:
		note("cut")
		each(func(id int) { w.srv.Cut(id, r.IntN(2) == 0) })
	case 1:
		note("half-open")
		each(func(id int) { w.srv.Blackhole(id) })
	case 2:
		note("op 7")
		each(func(id int) { w.srv.Reconnect(id) })
	case 3:
		resumable := r.IntN(2) == 0
		note("op 9 %t", resumable)
		each(func(id int) { w.srv.InvalidSession(id, resumable) })
	case 4:
		note("cut, and expired")
		each(func(id int) { w.srv.Cut(id, true) })
		time.AfterFunc(time.Duration(r.IntN(200))*time.Millisecond, func() { each(func(id int) { w.srv.Expire(id) }) })
	case 5:
		note("cut, and nothing is replayed")
		each(func(id int) { w.srv.Overrun(id); w.srv.Cut(id, true) })
	case 6:
		kind := []sim.Kind{sim.InvalidSession, sim.InvalidResumable}[r.IntN(2)]
		note("cut; the next resume is answered by %v", kind)
		w.srv.AddRules(sim.Rule{When: sim.OnResume, Shards: ids, Times: len(ids), Do: sim.Action{Kind: kind}})
		each(func(id int) { w.srv.Cut(id, true) })
	case 7:
		kinds := []sim.Kind{sim.OldClosed, sim.OldStarved, sim.OldInvalid, sim.OldKept, sim.InvalidSession, sim.InvalidResumable}
		kind := kinds[r.IntN(len(kinds))]
		note("the next resume of a session that is connected: %v", kind)
		w.srv.AddRules(sim.Rule{When: sim.OnResumeLive, Shards: ids, Times: len(ids), Do: sim.Action{Kind: kind, Code: wire.CloseUnknownError, Delay: span(r, 10*time.Second)}})
	default:
		code := []wire.CloseCode{4000, 4007, 4009, 1001, 1006, 1011}[r.IntN(6)]
		if code == 1006 {
			code = 1005
		}
		note("closed with %d", code)
		each(func(id int) { w.srv.CloseShard(id, code, "") })
	}
}

// join starts one more.
func (w *world) join() {
	w.mu.Lock()
	name := fmt.Sprintf("m%d", len(w.all))
	w.mu.Unlock()
	w.begin(name)
}

// begin starts a process, unless one of that name runs, or the faults are over.
func (w *world) begin(name string) {
	if w.isOver() || slices.ContainsFunc(w.up(), func(p *process) bool { return p.name == name }) {
		return
	}
	w.fault("%s starts", name)
	w.start(name)
}

func (w *world) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// newWeather draws how the ways are.
func newWeather(r *rand.Rand) weather {
	if r.IntN(3) == 0 {
		return weather{}
	}
	part := func(most float64) float64 { return most * r.Float64() * r.Float64() }
	return weather{
		slow: part(0.3), lose: part(0.2), loseAnswer: part(0.2),
		slowest: span(r, 3*time.Second), latest: span(r, 10*time.Second),
	}
}

// setWeather sets it, unless it is fair for good.
func (w *world) setWeather(air weather) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.fair {
		w.air = air
	}
}

// clear makes the weather fair for good.
func (w *world) clear() {
	w.setWeather(weather{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fair = true
}

// calm ends all faults.
func (w *world) calm() {
	w.mu.Lock()
	w.over, w.cut = true, [ways]time.Time{}
	w.mu.Unlock()
	w.srv.Calm()
	w.srv.SetGateway(sim.GateOpen)
	w.srv.SetResumeHost(sim.GateOpen)
	for _, p := range w.up() {
		p.mu.Lock()
		p.cut, p.stopped = [ways]time.Time{}, time.Time{}
		p.mu.Unlock()
	}
}

// budget tells the coordinator what Discord says, again and again: nobody asks it here.
func (w *world) budget(concurrency int) {
	for {
		_ = w.table.Budget(w.t.Context(), fleet.Budget{Total: 100_000, Remaining: 90_000, Reset: time.Now().Add(time.Hour), Concurrency: concurrency}, time.Now())
		select {
		case <-time.After(20 * time.Second):
		case <-w.ended:
			return
		}
	}
}
