// This file has a named test for each fault between Discord and the gateway
// that other gateways get wrong: what the simulated Discord does, and what must
// come of it. Faults of the sink are in stall_test.go.

package engine_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// wantSummary checks how many sessions were begun and how many continued.
func (w *world) wantSummary(identifies, resumed int) {
	w.t.Helper()
	if s := w.srv.Ledger().Summary(); s.Identifies != identifies || w.engine.Status().Counts.Resumes != int64(resumed) {
		w.t.Errorf("want %d identifies and %d resumes: %v\n%v", identifies, resumed, s, w.resumes())
	}
}

// continued waits until shard 0 is ready again after n connections, and checks
// that all events arrived once.
func (w *world) continued(what string, identifies, resumed int) {
	w.t.Helper()
	w.wait(what, func() bool {
		return w.engine.Status().Counts.Resumes == int64(resumed) && w.srv.Ledger().Summary().Identifies == identifies &&
			w.engine.Status().Ready == w.engine.Status().Running
	})
	w.srv.Dispatch(0, "AFTERWARDS", []byte(`{}`))
	w.srv.Silence()
	whole(w.t, w.quiet())
	sound(w.t, w)
	w.wantSummary(identifies, resumed)
	if w.sink.count("AFTERWARDS") != 1 {
		w.t.Error("nothing arrives afterwards")
	}
	whole(w.t, w.end())
}

// clientClose returns the codes that shard 0 closed with.
func (w *world) clientClose() (codes []wire.CloseCode) {
	for _, c := range w.srv.Ledger().Closes() {
		if c.FromClient {
			codes = append(codes, c.Code)
		}
	}
	return codes
}

func TestHeartbeatsUnanswered(t *testing.T) {
	for _, rate := range []float64{0, 2} {
		t.Run(fmt.Sprintf("%v events a second", rate), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Rate: rate, ReplayLimit: 10_000}, engine.Options{})
				w.ready(1)
				w.srv.Do(0, sim.Action{Kind: sim.SwallowACKs})
				w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 1 })
				if got := w.clientClose(); !slices.Equal(got, []wire.CloseCode{wire.CloseKeepSession}) {
					t.Errorf("closed with %v", got)
				}
				w.continued("a resume", 1, 1)
			})
		})
	}
}

// The peer is gone, but its socket stays and never answers a close frame.
func TestHalfOpenSocket(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Rate: 2, ReplayLimit: 10_000}, engine.Options{})
		w.ready(1)
		time.Sleep(time.Minute)
		w.srv.Blackhole(0)
		w.continued("a resume", 1, 1)
	})
}

func TestHostRefusesFor15s(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Rate: 2}, engine.Options{})
		w.ready(1)
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		before := w.dialed()
		w.srv.Cut(0, true)
		time.Sleep(15 * time.Second)
		if n := w.dialed() - before; n < 2 || n > 20 {
			t.Errorf("%d dials in 15 s", n)
		}
		w.srv.SetGateway(sim.GateOpen)
		w.srv.SetResumeHost(sim.GateOpen)
		w.continued("a resume", 1, 1)
	})
}

// An outage that no session survives is waited out for as long as it takes.
func TestHostRefusesForHours(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Rate: 0.01}, engine.Options{})
		w.ready(1)
		w.quiet()
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		before := w.dialed()
		w.srv.Cut(0, true)
		time.Sleep(5 * time.Hour)
		if n := w.dialed() - before; n < 5*60 || n > 5*60*4 {
			t.Errorf("%d dials in 5 hours", n)
		}
		w.srv.SetGateway(sim.GateOpen)
		w.srv.SetResumeHost(sim.GateOpen)
		w.wait("a new session", func() bool { return w.engine.Status().Ready == 1 })
		w.wantSummary(2, 0)
		w.end()
	})
}

func TestResumeAnsweredWith4007(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{})
		w.ready(1)
		w.quiet()
		w.srv.AddRules(sim.Rule{When: sim.OnResume, Times: -1, Do: sim.Action{Kind: sim.CloseFrame, Code: wire.CloseInvalidSeq}})
		w.srv.Cut(0, false)
		w.continued("an identify", 2, 0)
		if n := len(w.resumes()); n != 1 {
			t.Errorf("%d resumes", n)
		}
	})
}

// The resume host does not get as far as a resumed session; the main host does.
func TestResumeHostDead(t *testing.T) {
	tests := []struct {
		name string
		gate sim.GateMode
		rule *sim.Rule
	}{
		{"refuses", sim.GateRefuse, nil},
		{"accepts and is silent", sim.GateSilent, nil},
		{"refuses the upgrade", sim.GateOpen, &sim.Rule{When: sim.OnUpgrade, Do: sim.Action{Kind: sim.RefuseUpgrade, Status: 503}}},
		{"upgrades and is silent", sim.GateOpen, &sim.Rule{When: sim.BeforeHello, Do: sim.Action{Kind: sim.HalfOpen}}},
		{"cuts before Hello", sim.GateOpen, &sim.Rule{When: sim.BeforeHello, Do: sim.Action{Kind: sim.CutFIN}}},
		{"is silent after Resume", sim.GateOpen, &sim.Rule{When: sim.OnResume, Do: sim.Action{Kind: sim.HalfOpen}}},
		{"cuts each Resume", sim.GateOpen, &sim.Rule{When: sim.OnResume, Do: sim.Action{Kind: sim.CutRST}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Rate: 1, SessionTTL: time.Hour, ReplayLimit: 10_000, ReplayAge: time.Hour}, engine.Options{})
				w.ready(1)
				w.srv.SetResumeHost(tt.gate)
				if tt.rule != nil {
					tt.rule.Host, tt.rule.Times = sim.RoleResume, -1
					w.srv.AddRules(*tt.rule)
				}
				w.srv.Cut(0, true)
				w.continued("a resume", 1, 1)
				last := w.srv.Ledger().Resumes()[len(w.resumes())-1]
				if last.Host != sim.RoleGateway || last.Outcome != "resumed" {
					t.Errorf("the last resume: %+v", last)
				}
			})
		})
	}
}

// Each Resume is cut, on both hosts, although the session lives.
func TestEveryResumeCut(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{})
		w.ready(1)
		w.quiet()
		w.srv.AddRules(sim.Rule{When: sim.OnResume, Times: -1, Do: sim.Action{Kind: sim.CutRST}})
		w.srv.Cut(0, true)
		w.wait("a new session", func() bool { return w.engine.Status().Counts.Sessions == 2 && w.engine.Status().Ready == 1 })
		w.wantSummary(2, 0)
		sound(t, w)
		w.end()
		if n := len(w.resumes()); n != 5 {
			t.Errorf("%d resumes before the identify, want 5", n)
		}
	})
}

func TestLargeMessages(t *testing.T) {
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{}, engine.Options{Compression: c})
				w.ready(1)
				w.quiet()
				before := w.srv.Ledger().Summary().Connects
				for _, size := range []int{128<<10 - 1, 128 << 10, 128<<10 + 1, 8 << 20, 1 << 10} {
					w.srv.Dispatch(0, "LARGE", []byte(`"`+strings.Repeat("é~", size/3)+`"`))
				}
				whole(t, w.quiet())
				if n := w.sink.count("LARGE"); n != 5 {
					t.Errorf("%d of 5 arrived", n)
				}
				if n := w.srv.Ledger().Summary().Connects; n != before {
					t.Errorf("%d connections", n)
				}
				whole(t, w.end())
			})
		})
	}
}

// A message above the bound comes again with each Resume: the session is given
// up, not the shard, and not at once.
func TestMessageAboveBound(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{Compression: wire.CompressionZstd, MaxMessage: 1 << 20})
		w.ready(1)
		w.quiet()
		w.srv.Dispatch(0, "BOMB", bytes.Repeat([]byte("0"), 2<<20))
		w.wait("a new session", func() bool { return w.engine.Status().Counts.Sessions == 2 && w.engine.Status().Ready == 1 })
		codes := w.clientClose()
		if len(codes) != 6 || slices.ContainsFunc(codes, func(c wire.CloseCode) bool { return c != wire.CloseTooBig }) {
			t.Errorf("closed with %v, want 1009 six times", codes)
		}
		w.end()
	})
}

func TestGatewayAwayFor3s(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 8, MaxConcurrency: 8, Rate: 5}, engine.Options{})
		w.ready(8)
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		for shard := range 8 {
			w.srv.Cut(shard, false)
		}
		time.Sleep(3 * time.Second)
		w.srv.SetGateway(sim.GateOpen)
		w.srv.SetResumeHost(sim.GateOpen)
		w.continued("a resume", 8, 8)
	})
}

// A command that comes while a shard is reconnecting is sent once it has resumed, once.
func TestCommandDuringResume(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{})
		w.ready(1)
		w.quiet()
		sent := map[engine.State]bool{}
		for _, state := range []engine.State{engine.Backoff, engine.Connecting, engine.Hello, engine.Resuming} {
			sent[state] = false
		}
		send := func(state engine.State) {
			command := fmt.Sprintf(`{"op":31,"d":{"guild_ids":["%d"]}}`, state)
			if err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(command)}); err != nil {
				t.Errorf("Send while %v: %v", state, err)
			}
		}
		w.hook(func(_ int, to engine.State) {
			if done, ok := sent[to]; ok && !done {
				sent[to] = true
				send(to)
			}
		})
		w.srv.Cut(0, false)
		w.continued("a resume", 1, 1)
		resumed := w.srv.Ledger().Resumes()[0]
		n := 0
		for _, c := range w.srv.Ledger().Commands() {
			if c.Op != wire.OpRequestSoundboardSounds {
				continue
			}
			n++
			if c.Conn != resumed.Conn || c.Time.Before(resumed.Time) {
				t.Errorf("sent before RESUMED: %s", c.Raw)
			}
		}
		if n != 4 {
			t.Errorf("%d of 4 commands arrived", n)
		}
	})
}

// A request for all members without the intent for it ends a session, with
// Discord. It is refused before.
func TestAllMembersWithoutIntent(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{Intents: wire.UnprivilegedIntents})
		w.ready(1)
		err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(`{"op":8,"d":{"guild_id":"1","query":"","limit":0}}`)})
		if err == nil || !strings.Contains(err.Error(), "GUILD_MEMBERS") {
			t.Errorf("Send = %v", err)
		}
		time.Sleep(time.Minute)
		sound(t, w)
		whole(t, w.end())
	})
}

// The peer keeps its socket open and reads nothing: that holds up no way out.
func TestStopWhilePeerDoesNotRead(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{ShutdownTimeout: 5 * time.Second})
		w.ready(1)
		w.quiet()
		w.stalled.Store(true)
		if err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(`{"op":31,"d":{"guild_ids":["1"]}}`)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		began := time.Now()
		w.stop()
		if err := <-w.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the way out took %v", took)
		}
	})
}

// 500 commands at once: they go out as fast as Discord takes them, and
// heartbeats go on in time.
func TestHeartbeatsUnderFlood(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{})
		w.ready(1)
		began := time.Now()
		for i := range 500 {
			packet := fmt.Sprintf(`{"op":31,"d":{"guild_ids":["%d"]}}`, i+1)
			if err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(packet)}); err != nil {
				t.Fatal(err)
			}
		}
		sent := func() (n int) {
			for _, c := range w.srv.Ledger().Commands() {
				if c.Op == wire.OpRequestSoundboardSounds {
					if want := fmt.Sprintf(`{"op":31,"d":{"guild_ids":["%d"]}}`, n+1); string(c.Raw) != want {
						t.Fatalf("command %d is %s", n, c.Raw)
					}
					n++
				}
			}
			return n
		}
		w.wait("500 commands", func() bool { return sent() == 500 })
		if took := time.Since(began); took > 5*time.Minute {
			t.Errorf("took %v of Discord's time; 110 a minute are possible", took)
		}
		last := began
		const turn = 4 * time.Millisecond // of the reader: Options.PollInterval
		for _, b := range w.srv.Ledger().Heartbeats() {
			if b.Time.Sub(last) > 41_250*time.Millisecond+turn {
				t.Errorf("%v without a heartbeat", b.Time.Sub(last))
			}
			last = b.Time
		}
		s := w.srv.Ledger().Summary()
		if s.RateLimited != 0 || s.MaxSends > 120 || s.MaxSends < 100 || s.Connects != 1 {
			t.Errorf("%v", s)
		}
		w.end()
	})
}

// A connection that ends in the middle of a burst loses none of it, and the
// shards beside it notice nothing.
func TestCutDuringBurst(t *testing.T) {
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 1, ReplayLimit: 50_000}, engine.Options{Compression: c})
				w.ready(2)
				w.srv.AddRules(sim.Rule{When: sim.AfterEvents, Shards: []int{0}, N: 4_000, Do: sim.Action{Kind: sim.Truncate}},
					sim.Rule{When: sim.AfterEvents, Shards: []int{0}, Conn: 2, N: 10_000, Do: sim.Action{Kind: sim.CutRST}})
				w.srv.Cut(0, true) // rules for events apply from the next connection on
				w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 1 })
				w.srv.Burst(0, 20_000)
				w.wait("the end of the burst", func() bool { return w.sink.count("TYPING_START") >= 20_000 })
				w.srv.Silence()
				whole(t, w.quiet())
				s := w.srv.Ledger().Summary()
				if s.Identifies != 2 || s.Resumed < 2 {
					t.Errorf("%v", s)
				}
				for _, r := range w.srv.Ledger().Resumes() {
					if r.Shard != 0 {
						t.Errorf("shard %d was disturbed", r.Shard)
					}
				}
				whole(t, w.end())
			})
		})
	}
}

// A session is continued by the next engine if it belongs to the same shard
// count, and only then.
func TestStoredSessions(t *testing.T) {
	for _, shards := range []int{2, 3} {
		t.Run(fmt.Sprintf("from 2 shards to %d", shards), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 4, Rate: 3}, engine.Options{})
				w.ready(2)
				time.Sleep(30 * time.Second)
				w.stop()
				if err := <-w.ended; err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				w.start(engine.Options{Checkpoints: keep(w.sessions()), Shards: shards})
				w.ready(shards)
				w.srv.Silence()
				if shards == 2 {
					whole(t, w.quiet())
					w.wantSummary(2, 2)
				} else {
					w.wantSummary(5, 0)
					if s := w.sessions()[0]; s.Shards != 3 {
						t.Errorf("shard 0 has %+v", s)
					}
				}
				sound(t, w)
				w.end()
			})
		})
	}
}

// A crash loop of sessions uses up what Discord allows for a day, and not one
// more: that one would reset the bot's token.
func TestSessionStartsUsedUp(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, IdentifyTotal: 10, IdentifyReset: 6 * time.Hour}, engine.Options{})
		w.ready(2)
		began := time.Now()
		for time.Since(began) < 5*time.Hour+30*time.Minute {
			w.srv.InvalidSession(0, false)
			time.Sleep(time.Minute)
		}
		if n := w.srv.Ledger().Summary().Identifies; n != 10 {
			t.Errorf("%d identifies, want all 10", n)
		}
		if w.engine.Status().Ready != 1 {
			t.Error("shard 1 should have stayed ready, and shard 0 wait")
		}
		w.ready(2)
		if n := w.srv.Ledger().Summary().Identifies; n != 11 {
			t.Errorf("%d identifies after the reset, want 11", n)
		}
		sound(t, w)
		w.end()
	})
}

// What answers GET /gateway/bot instead of Discord is waited out.
func TestAPIInTrouble(t *testing.T) {
	for _, kind := range []sim.Kind{sim.RateLimitJSON, sim.RateLimitHTML, sim.ServerError} {
		t.Run(kind.String(), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Faults: sim.Faults{Script: []sim.Rule{
					{When: sim.OnREST, Times: 3, Do: sim.Action{Kind: kind, Delay: 7 * time.Second}},
				}}}, engine.Options{})
				began := time.Now()
				w.ready(1)
				if waited := time.Since(began); kind != sim.ServerError && waited < 21*time.Second {
					t.Errorf("asked again after %v in all, although each answer asked for 7 s", waited)
				}
				w.end()
			})
		})
	}
}

// What Discord may send at any time, and what it must not, at each moment of a
// connection.
func TestFaultsAtEachMoment(t *testing.T) {
	for m, moment := range []sim.Moment{sim.BeforeHello, sim.AfterHello, sim.OnIdentify, sim.AfterReady, sim.OnResume, sim.AfterResumed} {
		for k, kind := range []sim.Kind{sim.Reconnect, sim.AskHeartbeat, sim.PingFrame, sim.SplitFrames, sim.SplitWrites, sim.Garbage, sim.BadFrame} {
			t.Run(fmt.Sprintf("%v %v", moment, kind), func(t *testing.T) {
				byTurns(t, m+k, func(t *testing.T, reader engine.ReaderKind) {
					w := newWorld(t, reader, sim.Options{Rate: 2, Faults: sim.Faults{Script: []sim.Rule{
						{When: moment, Do: sim.Action{Kind: kind}},
					}}}, engine.Options{Compression: wire.CompressionZstd})
					w.wait("readiness", func() bool { return w.engine.Status().Counts.Sessions > 0 })
					time.Sleep(30 * time.Second)
					w.srv.Cut(0, true)
					time.Sleep(2 * time.Minute)
					w.ready(1)
					if n := len(w.srv.Ledger().Faults()); n < 2 {
						t.Errorf("%d faults: the one of the test did not happen", n)
					}
					w.srv.Silence()
					whole(t, w.quiet())
					sound(t, w)
					whole(t, w.end())
				})
			})
		}
	}
}
