// This file has a test for each thing that naive simulators get wrong, items 13
// to 18.

package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/wire"
)

func call(t *testing.T, ctx context.Context, d dialer, url, auth string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := d.http(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

// TestNaive13BoundedReplay: the replay buffer is bounded by count and by time.
func TestNaive13BoundedReplay(t *testing.T) {
	for _, test := range []struct {
		name   string
		o      Options
		events int
		wait   time.Duration
		ok     bool
	}{
		{"within", Options{}, 200, 0, true},
		{"by count", Options{}, 230, 0, false},
		{"floor of 100", Options{Guilds: -1}, 100, 0, true},
		{"over the floor", Options{Guilds: -1}, 101, 0, false},
		{"by time", Options{SessionTTL: time.Hour, ReplayAge: time.Minute}, 10, 2 * time.Minute, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, quick(test.o), func(t *testing.T, d dialer, srv *Server) {
				c, r := d.start(t, plainQuery, 0, 1, 0)
				c.drop()
				srv.Burst(0, test.events)
				time.Sleep(test.wait)
				c = d.mustDial(t, srv.ResumeURL(), plainQuery)
				c.want(10, "")
				c.send(resume(r.ID, 1))
				if test.ok {
					if m := c.want(0, ""); m.S != 2 {
						t.Errorf("replay begins with %d", m.S)
					}
					c.want(0, "RESUMED")
				} else if m := c.want(9, ""); string(m.D) != "false" {
					t.Errorf("op 9 %s", m.D)
				}
				rep := srv.Ledger().Check([]Received{{Session: r.ID, Seq: 1}})
				if refused := rep.Refused > 0; refused == test.ok || rep.Lost != 0 {
					t.Error(rep)
				}
			})
		})
	}
}

// TestNaive14Ops: op 7, before HELLO as well, op 1, op 9 true, and the close
// with 1001 and its reason after op 7.
func TestNaive14Ops(t *testing.T) {
	script := []Rule{
		{When: BeforeHello, Conn: 1, Do: Action{Kind: Reconnect}},
		{When: AfterReady, Conn: 1, Do: Action{Kind: AskHeartbeat}},
		{When: AfterReady, Conn: 1, After: time.Second, Do: Action{Kind: InvalidResumable}},
	}
	bubble(t, quick(Options{Faults: Faults{Script: script}}), func(t *testing.T, d dialer, srv *Server) {
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		first, err := c.next()
		if err != nil || string(first.Raw) != `{"t":null,"s":null,"op":7,"d":null}` && first.Op != 10 {
			t.Fatalf("%s %v", first.Raw, err)
		}
		if first.Op == 10 {
			c.want(7, "")
		}
		begin := time.Now()
		if end := c.wantClose(); end.code != 1001 || end.reason != "Discord WebSocket requesting client reconnect." ||
			time.Since(begin) != 5*time.Second {
			t.Errorf("%v after %v", end, time.Since(begin))
		}
		c, r := d.start(t, plainQuery, 0, 1, 0)
		c.want(1, "")
		if m := c.want(9, ""); string(m.D) != "true" {
			t.Errorf("op 9 %s", m.D)
		}
		c.send(resume(r.ID, 1)) // on the same socket
		c.want(0, "RESUMED")
		srv.Reconnect(0)
		c.want(7, "")
		if end := c.wantClose(); end.code != 1001 {
			t.Error(end)
		}
		c = d.mustDial(t, srv.ResumeURL(), plainQuery)
		c.want(10, "")
		c.send(resume(r.ID, 1))
		c.want(0, "RESUMED")
	})
}

// TestNaive15Commands: 4003 before READY, 4001 for missing keys and unknown
// ops, 4002 for what is too large or no JSON, 4005 for a second Identify.
func TestNaive15Commands(t *testing.T) {
	presence := `{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`
	for _, test := range []struct {
		name, msg string
		ready     bool
		code      int
	}{
		{"presence before READY", presence, false, 4003},
		{"members before READY", `{"op":8,"d":{"guild_id":"1","query":"","limit":0}}`, false, 4003},
		{"presence without since", `{"op":3,"d":{"activities":[],"status":"online","afk":false}}`, true, 4001},
		{"presence without activities", `{"op":3,"d":{"since":null,"status":"online","afk":false}}`, true, 4001},
		{"presence without status", `{"op":3,"d":{"since":null,"activities":[],"afk":false}}`, true, 4001},
		{"unknown op", `{"op":99,"d":null}`, true, 4001},
		{"no op", `{"d":null}`, true, 4001},
		{"no JSON", `{"op":`, true, 4002},
		{"too large", `{"op":1,"d":null,"x":"` + strings.Repeat("x", 4096) + `"}`, true, 4002},
		{"much too large", strings.Repeat("x", 3<<20), true, 4002},
		{"second Identify", identify(0, 1, 0), true, 4005},
		{"wrong token", `{"op":2,"d":{"token":"x","intents":0,"properties":{}}}`, false, 4004},
		{"no token", `{"op":2,"d":{"intents":0,"properties":{}}}`, false, 4002},
		{"no properties", `{"op":2,"d":{"token":"sim-token","intents":0}}`, false, 4002},
		{"no intents", `{"op":2,"d":{"token":"sim-token","properties":{}}}`, false, 4013},
		{"meaningless intents", identify(0, 1, 1<<30), false, 4013},
		{"denied intents", identify(0, 1, 1<<8), false, 4014},
		{"shard beyond count", identify(2, 2, 0), false, 4010},
		{"count no multiple", identify(0, 3, 0), false, 4010},
		{"too many guilds", identify(0, 2, 0), false, 4011},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := quick(Options{DeniedIntents: 1 << 8})
			switch test.code {
			case 4010:
				o.ShardMultiple = 2
			case 4011:
				o.Guilds, o.Shards = 5010, 1
			}
			bubble(t, o, func(t *testing.T, d dialer, srv *Server) {
				c := d.mustDial(t, srv.GatewayURL(), plainQuery)
				c.want(10, "")
				if test.ready {
					c.send(identify(0, 1, 0))
					c.ready()
				}
				c.send(test.msg)
				if end := c.wantClose(); end.code != test.code {
					t.Errorf("%v, want %d", end, test.code)
				}
			})
		})
	}
	t.Run("version", func(t *testing.T) {
		bubble(t, Options{}, func(t *testing.T, d dialer, srv *Server) {
			for query, code := range map[string]int{"v=11&encoding=json": 4012, "v=x&encoding=json": 4012, "v=10&encoding=etf": 4002,
				"v=10&encoding=json&compress=br": 4002} {
				if end := d.mustDial(t, srv.GatewayURL(), query).wantClose(); end.code != code {
					t.Errorf("%s: %v", query, end)
				}
			}
		})
	})
	t.Run("presence limit", func(t *testing.T) {
		bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
			c, _ := d.start(t, plainQuery, 0, 1, 0)
			for range 8 {
				c.send(presence)
			}
			c.send(`{"op":1,"d":1}`)
			c.want(11, "")
			if n := srv.Ledger().Summary().DroppedPresences; n != 3 {
				t.Errorf("%d dropped", n)
			}
		})
	})
}

// TestNaive16Intents: intents filter, the bot's own member always comes, the
// content of messages is blanked but for the exceptions, direct messages are
// shard 0's, hidden channels are nobody's.
func TestNaive16Intents(t *testing.T) {
	type body struct {
		Guild   string `json:"guild_id"`
		Channel string `json:"channel_id"`
		Content string
		User    struct{ ID string }
		Author  struct{ ID string }
		Embeds  []any
		Mention []struct{ ID string } `json:"mentions"`
	}
	bot := fmt.Sprint(uint64(botID))
	collect := func(t *testing.T, shard, intents, n int) (types map[string]int, bodies []body) {
		bubble(t, quick(Options{Rate: 400, Shards: 2, MaxConcurrency: 2, ReplayLimit: 1, LargeEvery: -1, LargeEvents: -1}),
			func(t *testing.T, d dialer, srv *Server) {
				c, _ := d.start(t, plainQuery, shard, 2, intents)
				types = map[string]int{}
				for range n {
					m := c.want(0, "")
					types[m.T]++
					var b body
					if m.T == "PRESENCES_REPLACE" {
						continue
					}
					if err := json.Unmarshal(m.D, &b); err != nil {
						t.Fatalf("%s: %v", m.T, err)
					}
					if strings.HasPrefix(m.T, "MESSAGE_") || m.T == "TYPING_START" {
						for g := range 6 {
							if b.Channel == fmt.Sprint(channelID(g, guildChannels-1)) {
								t.Fatalf("%s in a hidden channel", m.T)
							}
						}
					}
					if m.T == "GUILD_MEMBER_UPDATE" && intents&2 == 0 && b.User.ID != bot {
						t.Fatal("somebody else's GUILD_MEMBER_UPDATE without the intent")
					}
					if m.T == "MESSAGE_CREATE" || m.T == "MESSAGE_UPDATE" {
						bodies = append(bodies, b)
					}
				}
			})
		return types, bodies
	}
	dms := func(bodies []body) (n int) {
		for _, b := range bodies {
			if b.Guild == "" {
				n++
			}
		}
		return n
	}

	types, bodies := collect(t, 0, int(wire.AllIntents&^wire.IntentMessageContent&^wire.IntentGuildMembers), 8000)
	if dms(bodies) == 0 || types["GUILD_MEMBER_UPDATE"] == 0 || types["GUILD_MEMBER_ADD"] != 0 {
		t.Errorf("shard 0: %d direct messages, %v", dms(bodies), types)
	}
	blank, excepted := 0, 0
	for _, b := range bodies {
		mentioned := len(b.Mention) > 0 && b.Mention[0].ID == bot
		if b.Guild != "" && b.Author.ID != bot && !mentioned {
			if b.Content != "" || len(b.Embeds) > 0 {
				t.Fatalf("content without the intent: %+v", b)
			}
			blank++
		} else if b.Content != "" {
			excepted++
		}
	}
	if blank == 0 || excepted == 0 {
		t.Errorf("%d blank, %d excepted", blank, excepted)
	}
	types, bodies = collect(t, 1, int(wire.AllIntents), 3000)
	if dms(bodies) != 0 || types["GUILD_MEMBER_ADD"] == 0 {
		t.Errorf("shard 1: %d direct messages, %v", dms(bodies), types)
	}
	for _, b := range bodies {
		if b.Content == "" {
			t.Fatal("blank content with the intent")
		}
	}
	types, _ = collect(t, 1, 0, 40)
	for typ := range types {
		switch typ {
		case "READY", "INTERACTION_CREATE", "GUILD_MEMBER_UPDATE", "EMBEDDED_ACTIVITY_UPDATE", "PRESENCES_REPLACE":
		default:
			t.Errorf("%s without intents", typ)
		}
	}
}

// TestNaive17ResumeURL: another address than the main one; which one was used,
// and whether the query was repeated, is written down.
func TestNaive17ResumeURL(t *testing.T) {
	bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
		_, r := d.start(t, zstdQuery, 0, 1, 0)
		if r.URL == srv.GatewayURL() || r.URL != srv.ResumeURL() || strings.Contains(r.URL, "?") || !sessionID.MatchString(r.ID) {
			t.Errorf("%+v", r)
		}
		for _, to := range []struct{ url, query string }{{srv.ResumeURL(), zstdQuery}, {srv.GatewayURL(), zstdQuery}, {srv.ResumeURL(), plainQuery}} {
			c := d.mustDial(t, to.url, to.query)
			c.want(10, "")
			c.send(resume(r.ID, 1))
			c.want(0, "RESUMED")
		}
		var got []string
		for _, x := range srv.Ledger().Resumes() {
			got = append(got, fmt.Sprint(x.Host, x.QueryRepeated, x.Outcome))
		}
		if s := fmt.Sprint(got); s != "[resumetrueresumed gatewaytrueresumed resumefalseresumed]" {
			t.Error(s)
		}
	})
}

// TestNaive18Budget: remaining falls with every Identify, is renewed, and one
// Identify too many resets the token.
func TestNaive18Budget(t *testing.T) {
	bubble(t, quick(Options{IdentifyTotal: 3, IdentifyReset: time.Hour, Shards: 5, MaxConcurrency: 1}), func(t *testing.T, d dialer, srv *Server) {
		remaining := func(want int) {
			t.Helper()
			if b := budget(t, d); b.SessionStartLimit.Remaining != want || b.SessionStartLimit.Total != 3 || b.Shards != 5 {
				t.Errorf("%+v, want %d", b, want)
			}
		}
		remaining(3)
		d.start(t, plainQuery, 0, 5, 0)
		remaining(2)
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		c.send(identify(1, 5, 0))
		c.want(9, "") // refused by the bucket, and paid for
		remaining(1)
		time.Sleep(time.Hour)
		remaining(3)
		if after := budget(t, d).SessionStartLimit.ResetAfter; after != 3600000 {
			t.Errorf("reset after %d ms", after)
		}
		var last *client
		for i := range 3 {
			last, _ = d.start(t, plainQuery, i, 5, 0)
			time.Sleep(5 * time.Second)
		}
		remaining(0)
		c = d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		c.send(identify(3, 5, 0))
		if end := c.wantClose(); end.code != 4004 {
			t.Error(end)
		}
		if end := last.wantClose(); end.code != 4004 {
			t.Error(end)
		}
		if status, _, _ := get(t, d, "/gateway/bot", "Bot sim-token"); status != 401 {
			t.Errorf("status %d", status)
		}
		for _, s := range srv.Ledger().Sessions()[1:] {
			if s.End != EndToken {
				t.Errorf("session of shard %d: %q", s.Shard, s.End)
			}
		}
	})
}
