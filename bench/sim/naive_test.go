// This file has a test for each thing that naive simulators get wrong, items 1
// to 12 of the protocol reference's list.

package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	plainQuery = "v=10&encoding=json"
	zlibQuery  = plainQuery + "&compress=zlib-stream"
	zstdQuery  = plainQuery + "&compress=zstd-stream"
)

// quick are options without waits, for tests that are not about them.
func quick(o Options) Options {
	o.ReadyDelay, o.InvalidSessionDelay = -1, -1
	if o.UnavailableEvery == 0 {
		o.UnavailableEvery = -1
	}
	return o
}

// bubble runs a test against a server in a bubble.
func bubble(t *testing.T, o Options, f func(t *testing.T, d dialer, srv *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, srv := memServer(t, o)
		f(t, d, srv)
	})
}

// TestNaive01Envelope: four keys, compact, t, s, op, d, and reverse
// alphabetical order inside.
func TestNaive01Envelope(t *testing.T) {
	bubble(t, quick(Options{Rate: 200, ReplayLimit: 1, LargeEvery: -1, LargeEvents: -1}), func(t *testing.T, d dialer, srv *Server) {
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		m := c.want(10, "")
		const hello = `{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"_trace":["[\"gateway-prd-us-east1-c-7s4x\",{\"micros\":0.0}]"]}}`
		if string(m.Raw) != hello {
			t.Errorf("HELLO is %s", m.Raw)
		}
		c.send(identify(0, 1, allIntents))
		types := map[string]bool{}
		for range 3000 {
			m, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if m.Op != 0 {
				continue
			}
			types[m.T] = true
			prefix := fmt.Sprintf(`{"t":%q,"s":%d,"op":0,"d":`, m.T, m.S)
			if !strings.HasPrefix(string(m.Raw), prefix) {
				t.Fatalf("envelope %.80s, not %s", m.Raw, prefix)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, m.Raw); err != nil || !bytes.Equal(compact.Bytes(), m.Raw) {
				t.Fatalf("%s is not compact: %v", m.T, err)
			}
			if err := reversed(m.D); err != nil && m.T != "GUILD_CREATE" {
				t.Fatalf("%s: %v", m.T, err)
			}
		}
		if len(types) < 15 {
			t.Errorf("only these types: %v", types)
		}
	})
}

// reversed reports an object of up to 32 keys whose keys are not in reverse
// alphabetical order.
func reversed(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	var walk func() error
	walk = func() error {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		delim, _ := tok.(json.Delim)
		var keys []string
		for delim != 0 && dec.More() {
			if delim == '{' {
				k, err := dec.Token()
				if err != nil {
					return err
				}
				keys = append(keys, k.(string))
			}
			if err := walk(); err != nil {
				return err
			}
		}
		if delim != 0 {
			if _, err := dec.Token(); err != nil {
				return err
			}
		}
		if len(keys) <= 32 && !slices.IsSortedFunc(keys, func(a, b string) int { return strings.Compare(b, a) }) {
			return fmt.Errorf("keys %v", keys)
		}
		return nil
	}
	return walk()
}

// TestNaive02ACK: the answer to a heartbeat has all four keys, 36 bytes.
func TestNaive02ACK(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, d dialer, srv *Server) {
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		c.send(`{"op":1,"d":null}`)
		if m := c.want(11, ""); string(m.Raw) != `{"t":null,"s":null,"op":11,"d":null}` || len(m.Raw) != 36 {
			t.Errorf("ACK is %s", m.Raw)
		}
	})
}

// TestNaive03Binary: everything is BINARY under transport compression, from
// HELLO on. (The client fails on a TEXT frame.)
func TestNaive03Binary(t *testing.T) {
	for _, query := range []string{zlibQuery, zstdQuery} {
		bubble(t, quick(Options{Rate: 50}), func(t *testing.T, d dialer, srv *Server) {
			c := d.mustDial(t, srv.GatewayURL(), query)
			first, err := c.next()
			if err != nil || first.Op != 10 || !bytes.HasPrefix(first.Wire, zstdHeader[:]) && len(first.Wire) >= len(first.Raw) {
				t.Fatalf("first message %q, %v", first.Wire, err)
			}
			c.send(identify(0, 1, allIntents))
			c.send(`{"op":1,"d":null}`)
			c.want(11, "")
			for range 200 {
				c.want(0, "")
			}
		})
	}
}

// TestNaive04OneContext: one stream for the connection, flushed after every
// message and never ended.
func TestNaive04OneContext(t *testing.T) {
	bubble(t, quick(Options{Rate: 50, LargeEvery: -1, LargeEvents: -1}), func(t *testing.T, d dialer, srv *Server) {
		c, _ := d.start(t, zlibQuery, 0, 1, allIntents)
		var plain, wired int
		for range 300 {
			m := c.want(0, "")
			if !bytes.HasSuffix(m.Wire, []byte{0, 0, 0xFF, 0xFF}) || bytes.HasPrefix(m.Wire, []byte{0x78, 0x9C}) {
				t.Fatalf("%s: % x", m.T, m.Wire)
			}
			plain, wired = plain+len(m.Raw), wired+len(m.Wire)
		}
		if plain < 4*wired {
			t.Errorf("%d bytes became %d: was the context kept?", plain, wired)
		}
	})
	bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
		c := d.mustDial(t, srv.GatewayURL(), zlibQuery)
		if m := c.want(10, ""); !bytes.HasPrefix(m.Wire, []byte{0x78, 0x9C}) || !bytes.HasSuffix(m.Wire, []byte{0, 0, 0xFF, 0xFF}) {
			t.Errorf("HELLO: % x", m.Wire)
		}
	})
}

// TestNaive05Zstd: no content size, no checksum, the window of 256 KiB, blocks
// of which none is the last and none empty; large messages of several blocks.
func TestNaive05Zstd(t *testing.T) {
	for _, stored := range []bool{false, true} {
		bubble(t, quick(Options{Rate: 50, Stored: stored}), func(t *testing.T, d dialer, srv *Server) {
			c := d.mustDial(t, srv.GatewayURL(), zstdQuery)
			m := c.want(10, "")
			if !bytes.HasPrefix(m.Wire, []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x40}) {
				t.Fatalf("HELLO begins % x", m.Wire[:8])
			}
			m.Wire = m.Wire[6:]
			most := 0
			c.send(identify(0, 1, allIntents))
			for range 300 {
				n := 0
				for b := m.Wire; len(b) > 0; n++ {
					if len(b) < 3 {
						t.Fatalf("%s ends within a block header", m.T)
					}
					h := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
					last, typ, size := h&1, h>>1&3, h>>3
					if typ == 1 {
						size = 1
					}
					if last != 0 || typ == 3 || size == 0 || len(b) < 3+size {
						t.Fatalf("%s: block last %d type %d size %d of %d", m.T, last, typ, size, len(b))
					}
					b = b[3+size:]
				}
				most = max(most, n)
				m = c.want(0, "")
			}
			if most < 3 {
				t.Errorf("no message of several blocks, most %d", most)
			}
		})
	}
}

// TestNaive06FreshContext: a Resume connection begins a stream of its own.
func TestNaive06FreshContext(t *testing.T) {
	for _, query := range []string{zlibQuery, zstdQuery} {
		bubble(t, quick(Options{Rate: 20}), func(t *testing.T, d dialer, srv *Server) {
			c, r := d.start(t, query, 0, 1, allIntents)
			m := c.want(0, "MESSAGE_CREATE")
			c.close(4000)
			c.wantClose()
			c = d.mustDial(t, srv.ResumeURL(), query)
			head := c.want(10, "").Wire
			if !bytes.HasPrefix(head, []byte{0x78, 0x9C}) && !bytes.HasPrefix(head, zstdHeader[:]) {
				t.Errorf("the stream begins % x", head[:6])
			}
			c.send(resume(r.ID, m.S))
			c.want(0, "RESUMED")
		})
	}
}

// TestNaive07GuildStream: unavailable guilds in READY, GUILD_CREATE only with
// the intent, not in READY's order, with live events in between, some down.
func TestNaive07GuildStream(t *testing.T) {
	o := quick(Options{Guilds: 40, Rate: 100, UnavailableEvery: 8, LargeEvery: -1, LargeEvents: -1})
	bubble(t, o, func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, allIntents)
		listed := map[string]bool{}
		var order []string
		for _, g := range r.Guilds {
			if !g.Unavailable {
				t.Errorf("guild %s is available in READY", g.ID)
			}
			listed[g.ID] = true
			order = append(order, g.ID)
		}
		var came []string
		mixed, down := 0, 0
		for len(came) < 40 {
			m := c.want(0, "")
			var g struct {
				ID          string
				Unavailable bool
			}
			switch m.T {
			case "GUILD_CREATE", "GUILD_DELETE":
				if err := json.Unmarshal(m.D, &g); err != nil || !listed[g.ID] {
					t.Fatalf("%s %s: %v", m.T, g.ID, err)
				}
				if m.T == "GUILD_DELETE" {
					if !g.Unavailable {
						t.Error("a guild is gone")
					}
					down++
				} else {
					came = append(came, g.ID)
				}
			default:
				mixed++
			}
		}
		if slices.Equal(came, order) || mixed == 0 || down == 0 {
			t.Errorf("same order %v, live events between %d, down %d", slices.Equal(came, order), mixed, down)
		}
	})
	bubble(t, o, func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, allIntents&^1)
		if len(r.Guilds) != 40 {
			t.Errorf("%d guilds in READY", len(r.Guilds))
		}
		for range 500 {
			if m := c.want(0, ""); strings.HasPrefix(m.T, "GUILD_CREATE") {
				t.Fatal("GUILD_CREATE without GUILDS")
			}
		}
	})
}

// TestNaive08ReplayNumbers: replayed events keep their s, RESUMED takes the
// next one, and so do RATE_LIMITED and GUILD_MEMBERS_CHUNK.
func TestNaive08ReplayNumbers(t *testing.T) {
	bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, allIntents)
		last := int64(1)
		for range 3 {
			last = c.want(0, "GUILD_CREATE").S
		}
		guild := r.Guilds[1].ID
		ask := fmt.Sprintf(`{"op":8,"d":{"guild_id":%q,"query":"","limit":0,"nonce":"n"}}`, guild)
		c.send(ask)
		if m := c.want(0, "GUILD_MEMBERS_CHUNK"); m.S != last+1 {
			t.Errorf("chunk has %d after %d", m.S, last)
		}
		c.send(ask)
		m := c.want(0, "RATE_LIMITED")
		if m.S != last+2 {
			t.Errorf("RATE_LIMITED has %d after %d", m.S, last)
		}
		c.close(4000)
		c.wantClose()
		var sent []Received
		for i := range 5 {
			body := fmt.Appendf(nil, `{"n":%d}`, i)
			seq := srv.Dispatch(0, "TYPING_START", body)
			sent = append(sent, Received{Seq: seq, Hash: Hash(body)})
		}
		c = d.mustDial(t, srv.ResumeURL(), plainQuery)
		c.want(10, "")
		c.send(resume(r.ID, m.S))
		for _, want := range sent {
			if m := c.want(0, ""); m.S != want.Seq || Hash(m.D) != want.Hash {
				t.Errorf("replayed %d %s, want %d", m.S, m.Raw, want.Seq)
			}
		}
		if m := c.want(0, ""); m.T != "RESUMED" || m.S != sent[4].Seq+1 {
			t.Errorf("then %s %d", m.T, m.S)
		}
		seq := srv.Dispatch(0, "TYPING_START", []byte(`{}`))
		if m := c.want(0, ""); m.S != seq || seq != sent[4].Seq+2 {
			t.Errorf("live goes on with %d", m.S)
		}
	})
}

// TestNaive09ResumeIsNoStart: HELLO on the connection, and then neither READY
// nor guilds.
func TestNaive09ResumeIsNoStart(t *testing.T) {
	bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, allIntents)
		last := int64(1)
		for range 3 {
			last = c.want(0, "GUILD_CREATE").S
		}
		c.drop()
		c = d.mustDial(t, srv.ResumeURL(), plainQuery)
		if m, err := c.next(); err != nil || m.Op != 10 {
			t.Fatalf("first %v %v", m, err)
		}
		c.send(resume(r.ID, last))
		if m := c.want(0, ""); m.T != "RESUMED" {
			t.Errorf("got %s", m.T)
		}
		c.send(`{"op":1,"d":null}`)
		if m, err := c.next(); err != nil || m.Op != 11 {
			t.Errorf("then %v %v", m, err)
		}
		if n := len(srv.Ledger().Sessions()); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// TestNaive10Bucket: an Identify above the bucket is answered by op 9 false,
// perhaps late, and the socket stays open and can be used again.
func TestNaive10Bucket(t *testing.T) {
	bubble(t, Options{MaxConcurrency: 2, Shards: 4}, func(t *testing.T, d dialer, srv *Server) {
		d.start(t, plainQuery, 0, 4, allIntents)
		d.start(t, plainQuery, 1, 4, allIntents) // another key
		begin := time.Now()
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		c.send(identify(2, 4, allIntents))
		if m := c.want(9, ""); string(m.Raw) != `{"t":null,"s":null,"op":9,"d":false}` || time.Since(begin) > 3*time.Second {
			t.Errorf("%s after %v", m.Raw, time.Since(begin))
		}
		time.Sleep(5 * time.Second)
		c.send(identify(2, 4, allIntents))
		c.ready()
		var outcomes []string
		for _, i := range srv.Ledger().Identifies() {
			outcomes = append(outcomes, i.Outcome)
		}
		if want := []string{"ready", "ready", "bucket", "ready"}; !slices.Equal(outcomes, want) {
			t.Errorf("%v", outcomes)
		}
	})
}

// TestNaive11Budgets: a Resume costs no Identify, heartbeats count against the
// sends, and every connection has its own count.
func TestNaive11Budgets(t *testing.T) {
	bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
		c, r := d.start(t, plainQuery, 0, 1, allIntents)
		for range 119 { // with the Identify 120
			c.send(`{"op":1,"d":null}`)
			c.want(11, "")
		}
		c.send(`{"op":1,"d":null}`)
		if end := c.wantClose(); end.code != 4008 {
			t.Errorf("the 121st: %v", end)
		}
		for range 3 {
			c = d.mustDial(t, srv.ResumeURL(), plainQuery)
			c.want(10, "")
			c.send(resume(r.ID, 1))
			c.want(0, "RESUMED")
			for range 119 {
				c.send(`{"op":1,"d":null}`)
				c.want(11, "")
			}
			c.drop()
		}
		if n := budget(t, d).SessionStartLimit.Remaining; n != 999 {
			t.Errorf("remaining %d", n)
		}
		if s := srv.Ledger().Summary(); s.MaxSends != 121 || s.RateLimited != 1 {
			t.Errorf("%+v", s)
		}
		// The window slides: 120 spread over more than 60 s are fine for ever.
		c = d.mustDial(t, srv.ResumeURL(), plainQuery)
		c.want(10, "")
		c.send(resume(r.ID, 1))
		c.want(0, "RESUMED")
		for range 400 {
			time.Sleep(510 * time.Millisecond)
			c.send(`{"op":1,"d":null}`)
			c.want(11, "")
		}
	})
}

type gatewayBot struct {
	URL               string
	Shards            int
	SessionStartLimit struct {
		Total, Remaining int
		ResetAfter       int `json:"reset_after"`
		MaxConcurrency   int `json:"max_concurrency"`
	} `json:"session_start_limit"`
}

// budget asks GET /gateway/bot.
func budget(t *testing.T, d dialer) (b gatewayBot) {
	t.Helper()
	status, _, body := get(t, d, "/gateway/bot", "Bot sim-token")
	if err := json.Unmarshal(body, &b); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	return b
}

// TestNaive12Closes: 1000 and 1001 from the client end the session, everything
// else keeps it for a while.
func TestNaive12Closes(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*client)
		kept bool
	}{
		{"1000", func(c *client) { c.close(1000) }, false},
		{"1001", func(c *client) { c.close(1001) }, false},
		{"no code", func(c *client) { c.close(0) }, true},
		{"4000", func(c *client) { c.close(4000) }, true},
		{"1012", func(c *client) { c.close(1012) }, true},
		{"FIN", func(c *client) { c.drop() }, true},
		{"RST", func(c *client) { c.nc.(*memConn).Reset() }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, quick(Options{}), func(t *testing.T, d dialer, srv *Server) {
				c, r := d.start(t, plainQuery, 0, 1, allIntents)
				test.end(c)
				time.Sleep(110 * time.Second)
				c = d.mustDial(t, srv.ResumeURL(), plainQuery)
				c.want(10, "")
				c.send(resume(r.ID, 1))
				if test.kept {
					c.want(0, "RESUMED")
					c.drop()
					time.Sleep(121 * time.Second) // and no longer
					c = d.mustDial(t, srv.ResumeURL(), plainQuery)
					c.want(10, "")
					c.send(resume(r.ID, 1))
				}
				if m := c.want(9, ""); string(m.D) != "false" {
					t.Errorf("op 9 %s", m.D)
				}
			})
		})
	}
}

var sessionID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func get(t *testing.T, d dialer, path, auth string) (int, map[string][]string, []byte) {
	t.Helper()
	return call(t, context.Background(), d, strings.TrimSuffix(d.srv.APIURL(), "/api/v10")+"/api/v10"+path, auth)
}
