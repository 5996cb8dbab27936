// This file tests that faults do what they say, and that the ledger can tell a
// client that survives them from one that does not.

package sim

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/wire"
)

// seeds is how many seeds TestSeeds tries.
const seeds = 12

// TestSeeds: whatever the random faults do to it, a client that keeps to the
// protocol loses nothing but what the simulator refused to replay.
func TestSeeds(t *testing.T) {
	queries := []string{plainQuery, zlibQuery, zstdQuery}
	kinds := map[Kind]int{}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := quick(Options{
					Seed: seed, Shards: 2, MaxConcurrency: 2, Rate: 20, HeartbeatInterval: 2 * time.Second, HeartbeatGrace: time.Second,
					ReplayLimit: 1 << 20, SendLimit: 1000, IdentifyTotal: 100_000, ReconnectGrace: 300 * time.Millisecond,
					TLS: seed%4 == 3, LargeEvery: -1, LargeEvents: -1, IdentifyWindow: time.Second,
					Faults: Faults{Seed: seed, EveryEvents: 15, EveryPeriod: 3 * time.Second, Early: 0.3, Until: 40 * time.Second},
				})
				if seed%3 == 1 {
					o.Faults.Kinds = AllKinds
				}
				d, srv := memServer(t, o)
				ctx, cancel := context.WithCancel(t.Context())
				var bots []*bot
				var wg sync.WaitGroup
				for shard := range 2 {
					b := &bot{t: t, d: d, query: queries[seed%3], shard: shard, count: 2}
					bots = append(bots, b)
					wg.Go(func() { b.run(ctx) })
				}
				time.Sleep(40 * time.Second)
				srv.Calm()
				time.Sleep(20 * time.Second)
				srv.Silence()
				time.Sleep(10 * time.Second)
				var got []Received
				for _, b := range bots {
					got = append(got, b.got()...)
				}
				rep := srv.Ledger().Check(got)
				if rep.Lost+rep.Repeated+rep.OutOfOrder+rep.Unknown+rep.Abandoned+rep.Pending != 0 {
					t.Errorf("%v\n%v", rep, srv.Ledger().Summary())
					for _, s := range rep.Sessions {
						if s.Abandoned+s.Pending > 0 {
							s.Intents = 0
							t.Logf("%+v", s)
						}
					}
				}
				if rep.Received < 500 {
					t.Errorf("only %v", rep)
				}
				for _, f := range srv.Ledger().Faults() {
					kinds[f.Kind]++
				}
				cancel()
				wg.Wait()
				srv.Close()
			})
		})
	}
	for k := range numKinds {
		switch k {
		case RefuseUpgrade, RefuseDial, SilentDial, RateLimitJSON, RateLimitHTML, ServerError, OldClosed, OldStarved, OldInvalid, OldKept:
		default:
			if kinds[k] == 0 {
				t.Errorf("no %v among %v", k, kinds)
			}
		}
	}
}

// TestCheckFindsFaults: what a client does wrong shows in the report.
func TestCheckFindsFaults(t *testing.T) {
	bubble(t, quick(Options{Guilds: -1}), func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, 0)
		srv.Burst(0, 9)
		all := []Received{{Shard: 0, Session: r.ID, Seq: 1}}
		for range 9 {
			all = append(all, received(0, r.ID, c.want(0, "")))
		}
		for _, test := range []struct {
			name string
			edit func([]Received) []Received
			want string
		}{
			{"whole", func(r []Received) []Received { return r }, "received 10, lost 0, repeated 0, out of order 0, unknown 0, abandoned 0, unseen 0, refused 0, pending 0"},
			{"hole", func(r []Received) []Received { return append(r[:3], r[5:]...) }, "received 8, lost 2, repeated 0, out of order 0, unknown 0, abandoned 0, unseen 0, refused 0, pending 0\nlost: shard 0 session " + all[0].Session + " seq 4 to 5"},
			{"end", func(r []Received) []Received { return r[:7] }, "received 7, lost 0, repeated 0, out of order 0, unknown 0, abandoned 0, unseen 0, refused 0, pending 3"},
			{"twice", func(r []Received) []Received { return append(r, r[4]) }, "received 11, lost 0, repeated 1, out of order 0, unknown 0, abandoned 0, unseen 0, refused 0, pending 0"},
			{"swapped", func(r []Received) []Received { r[4], r[5] = r[5], r[4]; return r }, "received 10, lost 0, repeated 0, out of order 1, unknown 0, abandoned 0, unseen 0, refused 0, pending 0"},
			{"changed", func(r []Received) []Received { r[4].Hash++; return r }, "received 10, lost 0, repeated 0, out of order 0, unknown 1, abandoned 0, unseen 0, refused 0, pending 0"},
			{"invented", func(r []Received) []Received { return append(r, Received{Session: "x", Seq: 1}) }, "received 11, lost 0, repeated 0, out of order 0, unknown 1, abandoned 0, unseen 0, refused 0, pending 0"},
		} {
			got := srv.Ledger().Check(test.edit(append([]Received(nil), all...)))
			if got.String() != test.want {
				t.Errorf("%s: %v", test.name, got)
			}
		}
		// Without the session's id it is found by the hash of READY.
		ev := srv.Ledger().Events(r.ID)
		all[0].Hash = ev[0].Hash
		for i := range all {
			all[i].Session = ""
		}
		if rep := srv.Ledger().Check(all); rep.Lost != 0 || rep.Unknown != 0 || rep.Pending != 0 {
			t.Error(rep)
		}
		// A client that says it has what it did not hand on.
		c.send(`{"op":1,"d":10}`)
		c.want(11, "")
		if rep := srv.Ledger().Check(all[:7]); rep.Lost != 3 {
			t.Error(rep)
		}
		// One that leaves with 1000.
		srv.Burst(0, 2)
		c.close(1000)
		c.wantClose()
		if rep := srv.Ledger().Check(all); rep.Abandoned != 2 {
			t.Error(rep)
		}
	})
}

// TestKinds: each kind of fault, seen from the client.
func TestKinds(t *testing.T) {
	for _, test := range []struct {
		name string
		do   Action
		see  func(t *testing.T, c *client, srv *Server)
	}{
		{"cut-fin", Action{Kind: CutFIN}, wantEnd(1006)},
		{"cut-rst", Action{Kind: CutRST}, wantEnd(1006)},
		{"truncate", Action{Kind: Truncate}, wantEnd(1006)},
		{"close 4000", Action{Kind: CloseFrame, Code: 4000, Reason: "Unknown error."}, wantEnd(4000)},
		{"close without a code", Action{Kind: CloseFrame, Code: 1005}, wantEnd(1005)},
		{"reconnect", Action{Kind: Reconnect}, wantOp(7)},
		{"invalid-session", Action{Kind: InvalidSession}, wantOp(9)},
		{"invalid-resumable", Action{Kind: InvalidResumable}, wantOp(9)},
		{"ask-heartbeat", Action{Kind: AskHeartbeat}, wantOp(1)},
		{"half-open", Action{Kind: HalfOpen}, func(t *testing.T, c *client, srv *Server) {
			c.send(`{"op":1,"d":null}`)
			c.nc.SetReadDeadline(time.Now().Add(time.Hour))
			begin := time.Now()
			if m, err := c.next(); err == nil || time.Since(begin) != time.Hour {
				t.Errorf("%s %v after %v", m.Raw, err, time.Since(begin))
			}
		}},
		{"swallow-acks", Action{Kind: SwallowACKs}, func(t *testing.T, c *client, srv *Server) {
			c.send(`{"op":1,"d":null}`)
			synctest.Wait()
			srv.Dispatch(0, "X", []byte(`{}`))
			if m, err := c.next(); err != nil || m.T != "X" {
				t.Errorf("%s %v", m.Raw, err)
			}
		}},
		{"garbage", Action{Kind: Garbage}, func(t *testing.T, c *client, srv *Server) {
			if m, err := c.next(); err == nil || strings.Contains(err.Error(), "closed") {
				t.Errorf("%s %v", m.Raw, err)
			}
		}},
		{"bad-frame", Action{Kind: BadFrame}, func(t *testing.T, c *client, srv *Server) {
			if m, err := c.next(); err == nil || !strings.Contains(err.Error(), "frame header") {
				t.Errorf("%s %v", m.Raw, err)
			}
		}},
		{"ping", Action{Kind: PingFrame}, func(t *testing.T, c *client, srv *Server) {
			srv.Dispatch(0, "X", []byte(`{}`))
			if c.want(0, "X"); c.pings != 1 {
				t.Errorf("%d pings", c.pings)
			}
		}},
		{"split-frames", Action{Kind: SplitFrames}, wantBurst},
		{"split-writes", Action{Kind: SplitWrites}, wantBurst},
	} {
		for _, query := range []string{plainQuery, zlibQuery, zstdQuery} {
			t.Run(test.name+"/"+query[len(plainQuery):], func(t *testing.T) {
				bubble(t, quick(Options{Guilds: -1}), func(t *testing.T, d dialer, srv *Server) {
					c, _ := d.start(t, query, 0, 1, 0)
					if n := srv.Do(0, test.do); n != 1 {
						t.Fatalf("%d connections", n)
					}
					synctest.Wait()
					test.see(t, c, srv)
					if f := srv.Ledger().Faults(); len(f) != 1 || f[0].Kind != test.do.Kind {
						t.Errorf("%v", f)
					}
				})
			})
		}
	}
}

func wantEnd(code int) func(*testing.T, *client, *Server) {
	return func(t *testing.T, c *client, _ *Server) {
		if end := c.wantClose(); end.code != code {
			t.Error(end)
		}
	}
}

func wantOp(op int) func(*testing.T, *client, *Server) {
	return func(t *testing.T, c *client, _ *Server) { c.want(op, "") }
}

func wantBurst(t *testing.T, c *client, srv *Server) {
	last := srv.Burst(0, 500)
	big := fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("0123456789", 50_000))
	srv.Dispatch(0, "BIG", big)
	for seq := int64(2); seq <= last; seq++ {
		if m := c.want(0, ""); m.S != seq {
			t.Fatalf("%d instead of %d", m.S, seq)
		}
	}
	if m := c.want(0, "BIG"); Hash(m.D) != Hash(big) {
		t.Error("the large one is another")
	}
}

// TestDoors: dials refused and ignored, upgrades refused, at the main gateway
// and at the resume host.
func TestDoors(t *testing.T) {
	for _, secure := range []bool{false, true} {
		bubble(t, quick(Options{TLS: secure}), func(t *testing.T, d dialer, srv *Server) {
			_, r := d.start(t, plainQuery, 0, 1, 0)
			try := func(url string) string {
				t.Helper()
				begin := time.Now()
				c, err := d.dial(t, url, plainQuery)
				if err == nil {
					c.want(10, "")
					return "open"
				}
				if time.Since(begin) > 9*time.Second {
					return "silent"
				}
				if strings.Contains(err.Error(), "unexpected HTTP response status: 503") {
					return "503"
				}
				return "refused"
			}
			srv.SetResumeHost(GateRefuse)
			if a, b := try(r.URL), try(srv.GatewayURL()); a != "refused" || b != "open" {
				t.Error(a, b)
			}
			srv.SetResumeHost(GateSilent)
			if a := try(r.URL); a != "silent" {
				t.Error(a)
			}
			srv.SetResumeHost(GateOpen)
			srv.AddRules(
				Rule{When: OnDial, Host: "resume", Do: Action{Kind: RefuseDial}},
				Rule{When: OnUpgrade, Host: "gateway", Do: Action{Kind: RefuseUpgrade}},
			)
			if a, b := try(r.URL), try(srv.GatewayURL()); a != "refused" || b != "503" {
				t.Error(a, b)
			}
			if a, b := try(r.URL), try(srv.GatewayURL()); a != "open" || b != "open" {
				t.Error(a, b)
			}
		})
	}
}

// TestScriptMoments: rules apply at their moment, on their shard, as often as
// they say.
func TestScriptMoments(t *testing.T) {
	rules, err := ParseScript(strings.NewReader(`
		# a comment
		when=events n=3 conn=1 do=close code=4000 reason="Unknown \"error\"."
		when=replay n=2 conn=2 do=cut-fin   # half way
		when=resume conn=3 do=invalid-resumable
		when=heartbeat n=2 conn=3 do=cut-rst
	`))
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, quick(Options{Guilds: -1, Faults: Faults{Script: rules}}), func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, 0)
		last := srv.Burst(0, 8)
		for range 2 {
			c.want(0, "")
		}
		if end := c.wantClose(); end.code != 4000 || end.reason != `Unknown "error".` {
			t.Error(end)
		}
		c = d.mustDial(t, r.URL, plainQuery)
		c.want(10, "")
		c.send(resume(r.ID, 3))
		if a, b := c.want(0, "").S, c.want(0, "").S; a != 4 || b != 5 {
			t.Error(a, b)
		}
		if end := c.wantClose(); end.code != 1006 {
			t.Error(end)
		}
		c = d.mustDial(t, r.URL, plainQuery)
		c.want(10, "")
		c.send(resume(r.ID, 5))
		if m := c.want(9, ""); string(m.D) != "true" {
			t.Errorf("%s", m.D)
		}
		c.send(resume(r.ID, 5))
		for seq := int64(6); seq <= last; seq++ {
			if m := c.want(0, ""); m.S != seq {
				t.Errorf("%d", m.S)
			}
		}
		c.want(0, "RESUMED")
		if res := srv.Ledger().Resumes(); len(res) != 3 || res[0].Outcome != "cut" || res[2].Outcome != "resumed" {
			t.Errorf("%+v", res)
		}
		if s := srv.Ledger().Sessions()[0]; s.CutResumes != 1 || s.Resumes != 1 || s.Claimed != 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestParseScriptErrors(t *testing.T) {
	for in, want := range map[string]string{
		"when=nothing do=ping":          "line 1: when=nothing is none of",
		"\nwhen=ready do=x":             `line 2: "x" is none of`,
		"when=ready":                    "when and do are required",
		"when=ready do=close":           "needs a code",
		"when=resume do=old-kept":       "do=old-kept needs when=identify-again or when=resume-live",
		"when=ready do=ping n=x":        "n: ",
		"when=ready do=ping after=1":    "after: ",
		"when=ready do=ping color=1":    `unknown key "color"`,
		"when=ready do=ping shards=1,b": "shards: ",
		"when=ready do=ping host=x":     "host=x is none of",
		`when=ready reason="x`:          "reason: ",
		"when":                          "no key=value",
	} {
		if _, err := ParseScript(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// TestClosesEndSessions: after which codes of the server there is nothing to
// resume.
func TestClosesEndSessions(t *testing.T) {
	for code, kept := range map[wire.CloseCode]bool{1000: true, 1001: true, 1011: true, 4000: true, 4001: true, 4002: true, 4008: true,
		4003: false, 4007: false, 4009: false} {
		bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
			c, r := d.start(t, plainQuery, 0, 1, 0)
			srv.CloseShard(0, code, "")
			if end := c.wantClose(); end.code != int(code) {
				t.Error(end)
			}
			c.close(1000) // the answer of some libraries; it must not matter
			synctest.Wait()
			c = d.mustDial(t, r.URL, plainQuery)
			c.want(10, "")
			c.send(resume(r.ID, 1))
			if kept {
				c.want(0, "RESUMED")
			} else {
				c.want(9, "")
			}
		})
	}
}
