// This file has a test for each thing that naive simulators get wrong, items 13
// to 24.

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
	"unicode/utf8"

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

// TestNaive19Silence: 41250 ms, and a silent client is closed 9 s after it
// missed a heartbeat, with 1000 and no reason.
func TestNaive19Silence(t *testing.T) {
	bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, 0)
		begin := time.Now()
		if end := c.wantClose(); end.code != 1000 || end.reason != "" || time.Since(begin) != 50250*time.Millisecond {
			t.Errorf("%v after %v", end, time.Since(begin))
		}
		c = d.mustDial(t, srv.ResumeURL(), plainQuery)
		c.want(10, "")
		c.send(resume(r.ID, 1)) // still there
		c.want(0, "RESUMED")
	})
}

// TestNaive20Members: chunks of 1000 with index and count, not_found, the nonce,
// and one request for all members of a guild in 30 s.
func TestNaive20Members(t *testing.T) {
	type chunk struct {
		Members  []json.RawMessage
		Index    *int `json:"chunk_index"`
		Count    *int `json:"chunk_count"`
		Nonce    *string
		NotFound *[]any `json:"not_found"`
	}
	bubble(t, quick(Options{Guilds: 2, LargeEvery: 2, ReplayLimit: 1}), func(t *testing.T, d dialer, srv *Server) {
		c, _ := d.start(t, plainQuery, 0, 1, allIntents)
		ask := func(fields string) { c.send(fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d",%s}}`, guildID(0), fields)) }
		read := func() (k chunk) {
			t.Helper()
			if err := json.Unmarshal(c.want(0, "GUILD_MEMBERS_CHUNK").D, &k); err != nil {
				t.Fatal(err)
			}
			return k
		}
		ask(`"query":"","limit":0,"nonce":"a\"b"`)
		total := 0
		for i := range 3 {
			k := read()
			if *k.Index != i || *k.Count != 3 || *k.Nonce != `a"b` || k.NotFound != nil {
				t.Errorf("chunk %+v", k)
			}
			total += len(k.Members)
		}
		if total != 2500 {
			t.Errorf("%d members", total)
		}
		ask(`"query":"","limit":0,"nonce":"n"`)
		m := c.want(0, "RATE_LIMITED")
		var limited struct {
			Opcode int
			After  float64 `json:"retry_after"`
			Meta   struct {
				Guild string `json:"guild_id"`
				Nonce string
			}
		}
		if err := json.Unmarshal(m.D, &limited); err != nil || limited.Opcode != 8 || limited.After <= 0 || limited.After > 30 ||
			limited.Meta.Nonce != "n" || limited.Meta.Guild != fmt.Sprint(guildID(0)) {
			t.Errorf("%s %v", m.D, err)
		}
		ask(fmt.Sprintf(`"user_ids":["%d","5","%d"]`, userID(0, 3), uint64(1)<<60))
		if k := read(); len(k.Members) != 1 || len(*k.NotFound) != 2 || (*k.NotFound)[0] != 5.0 {
			t.Errorf("%+v", k)
		}
		ask(fmt.Sprintf(`"user_ids":"%d"`, userID(0, 3)))
		if k := read(); len(k.Members) != 1 || k.NotFound == nil || len(*k.NotFound) != 0 {
			t.Errorf("%+v", k)
		}
		ask(`"query":"user0.1","limit":5,"nonce":"` + strings.Repeat("n", 33) + `"`)
		if k := read(); len(k.Members) != 5 || k.Nonce != nil {
			t.Errorf("%d members, nonce %v", len(k.Members), k.Nonce)
		}
		ask(`"query":"nobody","limit":5`)
		if k := read(); len(k.Members) != 0 || *k.Count != 1 {
			t.Errorf("%+v", k)
		}
		time.Sleep(30 * time.Second)
		ask(`"query":"","limit":0`)
		read()
	})
}

// TestNaive21Limits: a 429 is Discord's JSON or Cloudflare's text, a 5xx HTML.
func TestNaive21Limits(t *testing.T) {
	script := []Rule{
		{When: OnREST, Do: Action{Kind: RateLimitJSON, Delay: 1500 * time.Millisecond}},
	}
	bubble(t, Options{Faults: Faults{Script: script}}, func(t *testing.T, d dialer, srv *Server) {
		status, h, body := get(t, d, "/gateway/bot", "Bot sim-token")
		var limit struct {
			After  float64 `json:"retry_after"`
			Global bool
		}
		if err := json.Unmarshal(body, &limit); status != 429 || err != nil || limit.After != 1.5 || h["Retry-After"][0] != "2" {
			t.Errorf("%d %v %s %v", status, h, body, err)
		}
		srv.AddRules(Rule{When: OnREST, Do: Action{Kind: RateLimitHTML}})
		if status, h, body := get(t, d, "/gateway/bot", "Bot sim-token"); status != 429 || string(body) != "error code: 1015" || h["X-Ratelimit-Scope"] != nil {
			t.Errorf("%d %v %s", status, h, body)
		}
		srv.AddRules(Rule{When: OnREST, Do: Action{Kind: ServerError}})
		if status, h, body := get(t, d, "/gateway/bot", "Bot sim-token"); status != 502 || h["Content-Type"][0] != "text/html" || !strings.HasPrefix(string(body), "<html>") {
			t.Errorf("%d %v %s", status, h, body)
		}
		if status, _, body := get(t, d, "/gateway/bot", "sim-token"); status != 401 || string(body) != `{"message":"401: Unauthorized","code":0}` {
			t.Errorf("%d %s", status, body)
		}
		if status, h, _ := get(t, d, "/gateway/bot", "Bot sim-token"); status != 200 || h["X-Ratelimit-Remaining"] == nil {
			t.Errorf("%d %v", status, h)
		}
		for _, path := range []string{"/api/gateway", "/api/v9/gateway", "/api/v10/gateway"} {
			status, _, body := call(t, t.Context(), d, strings.TrimSuffix(srv.APIURL(), "/api/v10")+path, "")
			if status != 200 || string(body) != fmt.Sprintf(`{"url":%q}`, srv.GatewayURL()) {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		if status, _, _ := call(t, t.Context(), d, strings.TrimSuffix(srv.APIURL(), "/api/v10")+"/api/v5/gateway", ""); status != 400 {
			t.Errorf("v5: %d", status)
		}
	})
}

// TestNaive22Parallel: duplicates of a shard and other shard counts run side by
// side, and each gets the guilds of its arithmetic.
func TestNaive22Parallel(t *testing.T) {
	bubble(t, quick(Options{Shards: 4, Guilds: 25, MaxConcurrency: 16, IdentifyWindow: -1}), func(t *testing.T, d dialer, srv *Server) {
		seen := map[string]int{}
		for _, x := range [][2]int{{0, 1}, {0, 3}, {1, 3}, {2, 3}, {0, 3}} {
			_, r := d.start(t, plainQuery, x[0], x[1], 0)
			for _, g := range r.Guilds {
				var id uint64
				fmt.Sscan(g.ID, &id)
				if int(id>>22)%x[1] != x[0] {
					t.Errorf("guild %s at shard %v", g.ID, x)
				}
				seen[g.ID]++
			}
		}
		if n := srv.Connected(); n != 5 || len(seen) != 100 {
			t.Errorf("%d connected, %d guilds", n, len(seen))
		}
		for id, n := range seen {
			if n != 2 && n != 3 {
				t.Errorf("guild %s is in %d sessions", id, n)
			}
		}
	})
}

// TestNaive23Sizes: tiny events and large ones, beyond ASCII, escapes, lone
// surrogates, ids of 64 bits.
func TestNaive23Sizes(t *testing.T) {
	bubble(t, quick(Options{Rate: 500, LargeBytes: 3 << 20, LargeEvents: 1000, ReplayLimit: 1}), func(t *testing.T, d dialer, srv *Server) {
		c, _ := d.start(t, zstdQuery, 0, 1, allIntents)
		least, most := 1<<30, 0
		found := map[string]bool{}
		for range 2000 {
			m := c.want(0, "")
			least, most = min(least, len(m.D)), max(most, len(m.D))
			if !utf8.Valid(m.Raw) {
				t.Fatalf("%s is not UTF-8", m.T)
			}
			for _, s := range []string{`\"`, `\ud83d `, `日本`, `18446744073709551615`, `9007199254740993`, `\\`} {
				found[s] = found[s] || strings.Contains(string(m.D), s)
			}
		}
		if least > 200 || most < 3<<20 || len(found) != 6 {
			t.Errorf("sizes %d to %d", least, most)
		}
		for s, ok := range found {
			if !ok {
				t.Errorf("no %s", s)
			}
		}
	})
}

// TestNaive24SlowReady: READY takes its time, sometimes a lot, and outages exist.
func TestNaive24SlowReady(t *testing.T) {
	script := []Rule{
		{When: OnIdentify, Conn: 2, Do: Action{Kind: SlowReady, Delay: 20 * time.Second}},
		{When: OnIdentify, Conn: 3, Do: Action{Kind: InvalidSession}},
	}
	bubble(t, Options{IdentifyWindow: -1, Faults: Faults{Script: script}}, func(t *testing.T, d dialer, srv *Server) {
		begin := time.Now()
		d.start(t, plainQuery, 0, 1, 0)
		if took := time.Since(begin); took < 100*time.Millisecond || took > 500*time.Millisecond {
			t.Errorf("READY after %v", took)
		}
		begin = time.Now()
		d.start(t, plainQuery, 0, 1, 0)
		if took := time.Since(begin); took < 20*time.Second {
			t.Errorf("slow READY after %v", took)
		}
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		c.send(identify(0, 1, 0))
		c.want(9, "")
		srv.SetGateway(GateRefuse)
		if _, err := d.dial(t, srv.GatewayURL(), plainQuery); err == nil {
			t.Error("the gateway is up")
		}
		srv.SetGateway(GateOpen)
		d.start(t, plainQuery, 0, 1, 0)
	})
}
