// This file has a test for each thing that naive simulators get wrong, items 19
// to 23 and 25.

package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

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

// TestNaive23Sizes: tiny events and large ones, beyond ASCII, escapes, and with
// the options for them lone surrogates and events that no documentation has.
func TestNaive23Sizes(t *testing.T) {
	bubble(t, quick(Options{Rate: 500, LargeBytes: 3 << 20, LargeEvents: 1000, ReplayLimit: 1,
		LoneSurrogates: true, Undocumented: true}), func(t *testing.T, d dialer, srv *Server) {
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

// TestNaive25SlowReady: READY takes its time, sometimes a lot, and outages exist.
func TestNaive25SlowReady(t *testing.T) {
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
