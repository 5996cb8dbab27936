// This file tests what scripts choose where nothing says what Discord does: a
// Resume of a session that has a connection, a second Identify of a shard, and
// a READY after minutes.

package sim

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scriptedBubble runs a test against a server with a script and a guild-less bot.
func scriptedBubble(t *testing.T, script string, f func(t *testing.T, d dialer, srv *Server)) {
	t.Helper()
	rules, err := ParseScript(strings.NewReader(script))
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, quick(Options{Guilds: -1, IdentifyWindow: -1, HeartbeatInterval: time.Hour, Faults: Faults{Script: rules}}), f)
}

// quiet reports whether nothing at all comes for a minute.
func quiet(t *testing.T, c *client) {
	t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(time.Minute))
	defer c.nc.SetReadDeadline(time.Time{})
	begin := time.Now()
	m, err := c.next()
	if err == nil || time.Since(begin) != time.Minute {
		t.Errorf("%s %v after %v", m.Raw, err, time.Since(begin))
	}
}

// beat expects the answer to a heartbeat as the next message.
func beat(t *testing.T, c *client) {
	t.Helper()
	c.send(`{"op":1,"d":null}`)
	if m, err := c.next(); err != nil || m.Op != 11 {
		t.Errorf("%s %v", m.Raw, err)
	}
}

func wantSeq(t *testing.T, c *client, typ string, seq int64) {
	t.Helper()
	if m, err := c.next(); err != nil || m.T != typ || m.S != seq {
		t.Errorf("%s %v, want %s %d", m.Raw, err, typ, seq)
	}
}

func wantCode(t *testing.T, c *client, code int) {
	t.Helper()
	_, err := c.next()
	if end := (closed{}); !errors.As(err, &end) || end.code != code {
		t.Errorf("%v, want %d", err, code)
	}
}

// TestResumeOfLiveSession: the session's old connection is open when a Resume
// of it comes on another.
func TestResumeOfLiveSession(t *testing.T) {
	for _, test := range []struct {
		do      string // empty: no rule
		outcome string
		see     func(t *testing.T, srv *Server, old, c *client)
	}{
		{"", "resumed", func(t *testing.T, srv *Server, old, c *client) {
			wantSeq(t, c, "RESUMED", 2)
			wantCode(t, old, 1006)
		}},
		{"old-closed", "resumed", func(t *testing.T, srv *Server, old, c *client) {
			wantSeq(t, c, "RESUMED", 2)
			wantCode(t, old, 4000)
		}},
		{"old-closed code=4009 reason=x", "resumed", func(t *testing.T, srv *Server, old, c *client) {
			wantCode(t, old, 4009)
			wantSeq(t, c, "RESUMED", 2)
			srv.Dispatch(0, "X", []byte(`{}`)) // the session is the new connection's: it goes on
			wantSeq(t, c, "X", 3)
		}},
		{"old-starved", "resumed", func(t *testing.T, srv *Server, old, c *client) {
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, c, "RESUMED", 2)
			wantSeq(t, c, "X", 3)
			beat(t, old)
			quiet(t, old)
		}},
		{"old-invalid", "resumed", func(t *testing.T, srv *Server, old, c *client) {
			if m, err := old.next(); err != nil || string(m.Raw) != invalidMessage {
				t.Errorf("%s %v", m.Raw, err)
			}
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, c, "RESUMED", 2)
			wantSeq(t, c, "X", 3)
			quiet(t, old)
		}},
		{"old-kept delay=30s code=1001", "resumed", func(t *testing.T, srv *Server, old, c *client) {
			srv.Dispatch(0, "X", []byte(`{}`))
			for _, c := range []*client{old, c} {
				wantSeq(t, c, "RESUMED", 2)
				wantSeq(t, c, "X", 3)
			}
			if n := srv.Connected(); n != 2 {
				t.Errorf("%d connections have a session", n)
			}
			time.Sleep(30 * time.Second)
			wantCode(t, old, 1001)
			old.drop()
			synctest.Wait()
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, c, "X", 4)
		}},
		{"old-kept", "resumed", func(t *testing.T, srv *Server, old, c *client) {
			wantSeq(t, c, "RESUMED", 2)
			wantSeq(t, old, "RESUMED", 2)
			c.drop() // the old one is left, and the session is its
			synctest.Wait()
			time.Sleep(time.Hour / 2)
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, old, "X", 3)
		}},
		{"invalid-session", "op 9 false, the session has a connection", func(t *testing.T, srv *Server, old, c *client) {
			if m, err := c.next(); err != nil || string(m.Raw) != invalidMessage {
				t.Errorf("%s %v", m.Raw, err)
			}
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, old, "X", 2)
			quiet(t, c)
		}},
		{"invalid-resumable", "op 9 true, the session has a connection", func(t *testing.T, srv *Server, old, c *client) {
			if m, err := c.next(); err != nil || string(m.Raw) != invalidResumable {
				t.Errorf("%s %v", m.Raw, err)
			}
			c.send(resume(srv.Ledger().Sessions()[0].ID, 1)) // the rule was for once
			wantSeq(t, c, "RESUMED", 2)
		}},
	} {
		t.Run(test.do, func(t *testing.T) {
			script := ""
			if test.do != "" {
				script = "when=resume-live do=" + test.do
			}
			scriptedBubble(t, script, func(t *testing.T, d dialer, srv *Server) {
				old, r := d.start(t, plainQuery, 0, 1, 0)
				c := d.mustDial(t, srv.ResumeURL(), plainQuery)
				c.want(10, "")
				c.send(resume(r.ID, 1))
				synctest.Wait()
				test.see(t, srv, old, c)
				if res := srv.Ledger().Resumes(); res[0].Outcome != test.outcome {
					t.Errorf("%+v", res)
				}
				synctest.Wait()
				if s := srv.Ledger().Sessions(); len(s) != 1 || s[0].End != EndNone {
					t.Errorf("%+v", s)
				}
			})
		})
	}
	t.Run("of a dead one", func(t *testing.T) {
		scriptedBubble(t, "when=resume-live do=invalid-session", func(t *testing.T, d dialer, srv *Server) {
			old, r := d.start(t, plainQuery, 0, 1, 0)
			old.drop()
			synctest.Wait()
			c := d.mustDial(t, srv.ResumeURL(), plainQuery)
			c.want(10, "")
			c.send(resume(r.ID, 1))
			c.want(0, "RESUMED")
		})
	})
}

// TestSecondIdentify: a shard that has a connection identifies on another.
func TestSecondIdentify(t *testing.T) {
	for _, test := range []struct {
		do    string
		alive int // sessions
		see   func(t *testing.T, srv *Server, old, c *client)
	}{
		{"", 2, func(t *testing.T, srv *Server, old, c *client) { // duplicates run in parallel
			c.ready()
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, c, "X", 2)
			wantSeq(t, old, "X", 2)
		}},
		{"old-closed", 2, func(t *testing.T, srv *Server, old, c *client) { // the old session can be resumed
			c.ready()
			wantCode(t, old, 4000)
		}},
		{"old-closed code=4009", 1, func(t *testing.T, srv *Server, old, c *client) {
			c.ready()
			wantCode(t, old, 4009)
		}},
		{"old-starved", 2, func(t *testing.T, srv *Server, old, c *client) {
			c.ready()
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, c, "X", 2)
			beat(t, old)
			quiet(t, old)
		}},
		{"old-invalid", 1, func(t *testing.T, srv *Server, old, c *client) {
			c.ready()
			if m, err := old.next(); err != nil || string(m.Raw) != invalidMessage {
				t.Errorf("%s %v", m.Raw, err)
			}
		}},
		{"old-kept delay=20s", 2, func(t *testing.T, srv *Server, old, c *client) {
			c.ready()
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, old, "X", 2)
			begin := time.Now()
			wantCode(t, old, 4000)
			if took := time.Since(begin); took != 20*time.Second {
				t.Errorf("closed after %v", took)
			}
		}},
		{"invalid-session", 1, func(t *testing.T, srv *Server, old, c *client) {
			if m, err := c.next(); err != nil || string(m.Raw) != invalidMessage {
				t.Errorf("%s %v", m.Raw, err)
			}
			srv.Dispatch(0, "X", []byte(`{}`))
			wantSeq(t, old, "X", 2)
		}},
	} {
		t.Run(test.do, func(t *testing.T) {
			script := ""
			if test.do != "" {
				script = "when=identify-again do=" + test.do
			}
			scriptedBubble(t, script, func(t *testing.T, d dialer, srv *Server) {
				old, _ := d.start(t, plainQuery, 0, 1, 0)
				c := d.mustDial(t, srv.GatewayURL(), plainQuery)
				c.want(10, "")
				c.send(identify(0, 1, 0))
				test.see(t, srv, old, c)
				synctest.Wait() // a session ends after its close frame
				if alive := srv.Ledger().Summary().Alive; alive != test.alive {
					t.Errorf("%d sessions", alive)
				}
			})
		})
	}
	t.Run("other count", func(t *testing.T) {
		scriptedBubble(t, "when=identify-again do=invalid-session", func(t *testing.T, d dialer, srv *Server) {
			d.start(t, plainQuery, 0, 1, 0)
			d.start(t, plainQuery, 0, 2, 0)
		})
	})
}

// TestReadyAfterMinutes: heartbeats are acknowledged meanwhile, and the same for a
// Resume.
func TestReadyAfterMinutes(t *testing.T) {
	scriptedBubble(t, "when=identify do=slow-ready delay=7m\nwhen=resume do=slow-ready delay=100s", func(t *testing.T, d dialer, srv *Server) {
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		for _, phase := range []struct {
			send, end string
			wait      time.Duration
		}{{identify(0, 1, 0), "READY", 7 * time.Minute}, {"", "RESUMED", 100 * time.Second}} {
			if phase.send == "" {
				c.drop()
				c = d.mustDial(t, srv.ResumeURL(), plainQuery)
				c.want(10, "")
				phase.send = resume(srv.Ledger().Sessions()[0].ID, 1)
			}
			begin := time.Now()
			c.send(phase.send)
			for time.Since(begin) < phase.wait-time.Minute {
				time.Sleep(41250 * time.Millisecond)
				beat(t, c)
			}
			if m, err := c.next(); err != nil || m.T != phase.end || time.Since(begin) != phase.wait {
				t.Errorf("%s %v after %v", m.Raw, err, time.Since(begin))
			}
		}
		c.send(`{"op":8,"d":{"guild_id":"5","query":"","limit":1}}`) // it is ready
		beat(t, c)
	})
}
