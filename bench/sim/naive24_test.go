// This file has tests of item 24 of what naive simulators get wrong: what
// clients that others wrote could not do with the simulator.

package sim

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"sluice/wire"
)

// loneHalf matches the escape of a low half without a high one before it, or of
// a high one without a low one after it.
var loneHalf = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}($|[^\\]|\\[^u]|\\u[^d])|(^|[^0-9a-f])\\ud[c-f][0-9a-f]{2}`)

// TestNaive24Text: without their options there is no lone surrogate and no event
// that no documentation has, in what is made live and in recordings.
func TestNaive24Text(t *testing.T) {
	known := map[string]bool{"READY": true, "GUILD_CREATE": true, "GUILD_UPDATE": true}
	for _, m := range mix {
		known[m.typ] = true
	}
	check := func(typ string, d []byte) {
		t.Helper()
		if loneHalf.Match(d) {
			t.Fatalf("%s has half of a surrogate pair: %s", typ, d)
		}
		if !known[typ] {
			t.Fatalf("%s is not documented", typ)
		}
	}
	bubble(t, quick(Options{Rate: 1000, LargeEvery: -1, LargeEvents: 100, LargeBytes: 1000, ReplayLimit: 1}), func(t *testing.T, d dialer, srv *Server) {
		c, _ := d.start(t, plainQuery, 0, 1, allIntents)
		for range 5000 {
			m := c.want(0, "")
			check(m.T, m.D)
		}
	})
	rec, err := Record(5000, "")
	if err != nil {
		t.Fatal(err)
	}
	for seg := range rec.first {
		messages, err := rec.messages(seg)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range messages {
			check(rec.types[rec.first[seg]+i], m)
		}
	}
}

// TestNaive24Interaction: the member of an interaction has its permissions, and
// a member elsewhere has none.
func TestNaive24Interaction(t *testing.T) {
	bubble(t, quick(Options{Rate: 1000, LargeEvery: -1, LargeEvents: -1, ReplayLimit: 1}), func(t *testing.T, d dialer, srv *Server) {
		c, _ := d.start(t, plainQuery, 0, 1, allIntents)
		for _, typ := range []string{"INTERACTION_CREATE", "MESSAGE_CREATE"} {
			var e struct {
				Member struct{ Permissions string }
			}
			if err := json.Unmarshal(c.want(0, typ).D, &e); err != nil {
				t.Fatal(err)
			}
			if want := typ == "INTERACTION_CREATE"; (e.Member.Permissions == "2248473465835073") != want {
				t.Errorf("%s: permissions %q", typ, e.Member.Permissions)
			}
		}
	})
}

// TestNaive24Mentions: whom a message in a guild mentions is there as a member too.
func TestNaive24Mentions(t *testing.T) {
	bubble(t, quick(Options{Rate: 1000, LargeEvery: -1, LargeEvents: -1, ReplayLimit: 1}), func(t *testing.T, d dialer, srv *Server) {
		c, _ := d.start(t, plainQuery, 0, 1, allIntents)
		seen := map[bool]bool{}
		for len(seen) < 2 {
			var m struct {
				Guild    string `json:"guild_id"`
				Mentions []struct {
					Member *struct{ Roles []string }
				}
			}
			if err := json.Unmarshal(c.want(0, "MESSAGE_CREATE").D, &m); err != nil {
				t.Fatal(err)
			}
			for _, user := range m.Mentions {
				if guild := m.Guild != ""; (user.Member != nil && len(user.Member.Roles) > 0) != guild {
					t.Fatalf("%+v", m)
				} else {
					seen[guild] = true
				}
			}
		}
	})
}

// TestNaive24Compress: in Identify, compress is true or anything else, which is
// false and no reason to close.
func TestNaive24Compress(t *testing.T) {
	for compress, want := range map[string]ws.OpCode{
		`true`: ws.OpBinary, `false`: ws.OpText, `null`: ws.OpText, `"zlib-stream"`: ws.OpText, `"true"`: ws.OpText, `1`: ws.OpText, `{}`: ws.OpText,
	} {
		bubble(t, quick(Options{Guilds: -1}), func(t *testing.T, d dialer, srv *Server) {
			c := d.mustDial(t, srv.GatewayURL(), plainQuery)
			c.want(10, "")
			c.send(strings.Replace(identify(0, 1, 0), `"intents"`, `"compress":`+compress+`,"intents"`, 1))
			if _, m := c.ready(); m.Type != want { // READY is large enough to be compressed
				t.Errorf("compress %s: frame type %d", compress, m.Type)
			}
		})
	}
}

// TestNaive24OneBot: the bot is the same user in READY, in guilds, in messages
// and at the REST API.
func TestNaive24OneBot(t *testing.T) {
	type user struct {
		ID, Username, Discriminator string
		GlobalName                  *string `json:"global_name"`
		Avatar                      *string
		Bot                         bool
	}
	want := user{ID: fmt.Sprint(uint64(botID)), Username: "Simulated", Discriminator: "8597", Bot: true}
	bubble(t, quick(Options{Rate: 500, LargeEvery: -1, LargeEvents: -1, ReplayLimit: 1}), func(t *testing.T, d dialer, srv *Server) {
		seen := map[string]bool{}
		var walk func(where string, v any)
		walk = func(where string, v any) {
			switch v := v.(type) {
			case []any:
				for _, e := range v {
					walk(where, e)
				}
			case map[string]any:
				if v["id"] == want.ID && v["username"] != nil {
					b, _ := json.Marshal(v)
					var got user
					if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
						t.Errorf("%s: %s %v", where, b, err)
					}
					seen[where] = true
				}
				for _, e := range v {
					walk(where, e)
				}
			}
		}
		look := func(where string, body []byte) {
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			walk(where, v)
		}
		for _, path := range []string{"/users/@me", "/applications/@me"} {
			_, _, body := get(t, d, path, "Bot sim-token")
			look(path, body)
		}
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		c.send(identify(0, 1, allIntents))
		for range 2000 {
			m := c.want(0, "")
			look(m.T, m.D)
		}
		c.send(fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","query":"simu","limit":5}}`, guildID(0)))
		look("GUILD_MEMBERS_CHUNK", c.want(0, "GUILD_MEMBERS_CHUNK").D)
		for _, where := range []string{"/users/@me", "/applications/@me", "READY", "GUILD_CREATE", "MESSAGE_CREATE", "GUILD_MEMBERS_CHUNK"} {
			if !seen[where] {
				t.Errorf("no bot in %s", where)
			}
		}
	})
}

// TestNaive24Certificate: the authority's certificate is not the server's.
func TestNaive24Certificate(t *testing.T) {
	bubble(t, Options{TLS: true}, func(t *testing.T, d dialer, srv *Server) {
		block, rest := pem.Decode(srv.CertPEM())
		if block == nil || len(bytes.TrimSpace(rest)) > 0 {
			t.Fatalf("%s", srv.CertPEM())
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !ca.IsCA || !ca.BasicConstraintsValid || ca.KeyUsage&x509.KeyUsageCertSign == 0 || len(ca.DNSNames)+len(ca.IPAddresses) > 0 {
			t.Fatalf("%+v %v", ca, err)
		}
		nc, err := d.netDial(t.Context(), "tcp", strings.TrimPrefix(srv.GatewayURL(), "wss://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		config := d.tls()
		config.ServerName = "localhost"
		tc := tls.Client(nc, config)
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		leaf := tc.ConnectionState().PeerCertificates[0]
		if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature || leaf.CheckSignatureFrom(ca) != nil {
			t.Errorf("%+v", leaf)
		}
	})
}

// TestNaive24Tokens: calls whose path holds a token need no Authorization and
// are outside the bot's limit, others need it.
func TestNaive24Tokens(t *testing.T) {
	bubble(t, Options{RESTLimit: 1}, func(t *testing.T, d dialer, srv *Server) {
		client := d.http(t)
		app := fmt.Sprint(uint64(botID))
		for _, call := range []struct {
			method, path string
			status       int
			body         string
		}{
			{"POST", "/interactions/5/tok/callback", 204, ""},
			{"POST", "/interactions/5/tok/callback?with_response=true", 200, `"interaction":{"id":"5"`},
			{"POST", "/webhooks/" + app + "/tok", 200, `"webhook_id":"` + app + `"`},
			{"POST", "/webhooks/77/tok", 204, ""},
			{"POST", "/webhooks/77/tok?wait=true", 200, `"webhook_id":"77"`},
			{"GET", "/webhooks/77/tok", 200, `"token":"tok"`},
			{"PATCH", "/webhooks/" + app + "/tok/messages/@original", 200, `"attachments":[]`},
			{"DELETE", "/webhooks/" + app + "/tok/messages/@original", 204, ""},
			{"GET", "/webhooks/77/tok/nothing", 404, ""},
			{"GET", "/webhooks/77", 401, ""},
			{"GET", "/interactions/5/tok/callback", 401, ""},
			{"GET", "/users/@me", 401, ""},
		} {
			req, _ := http.NewRequestWithContext(t.Context(), call.method, srv.APIURL()+call.path, strings.NewReader(`{"type":4}`))
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != call.status || !strings.Contains(string(body), call.body) || len(body) > 0 && !json.Valid(body) {
				t.Errorf("%s %s: %d %s", call.method, call.path, resp.StatusCode, body)
			}
		}
	})
}

// TestSummarySaysWhy: the summary has each reason why a Resume was not done.
func TestSummarySaysWhy(t *testing.T) {
	bubble(t, quick(Options{Guilds: -1}), func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, 0)
		c.drop()
		for _, try := range []string{resume("nope", 1), resume("nope", 1), resume(r.ID, 9), strings.Replace(resume(r.ID, 1), "sim-token", "x", 1)} {
			c := d.mustDial(t, srv.ResumeURL(), plainQuery)
			c.want(10, "")
			c.send(try)
			if m, err := c.next(); err == nil && m.Op != int(wire.OpInvalidSession) {
				t.Errorf("%s", m.Raw)
			}
			c.drop()
		}
		s := srv.Ledger().Summary()
		want := map[string]int{"unknown session": 3, "4007": 1} // the session of the last one had ended
		if !reflect.DeepEqual(s.Refused, want) {
			t.Errorf("%v", s.Refused)
		}
		if text := s.String(); !strings.Contains(text, "\nresumes not done 1: 4007\nresumes not done 3: unknown session\n") {
			t.Error(text)
		}
	})
}
