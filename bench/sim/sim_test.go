// This file tests whole lives of connections, over every kind of network and
// compression.

package sim

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// memServer starts a server on a network in memory; call it in a bubble.
func memServer(t *testing.T, o Options) (dialer, *Server) {
	t.Helper()
	n := new(Network)
	o.Listen = func(role string) (net.Listener, error) { return n.Listen(role + ".sim") }
	srv, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return dialer{srv, n}, srv
}

func received(shard int, session string, m message) Received {
	return Received{Shard: shard, Session: session, Seq: m.S, Type: m.T, Hash: Hash(m.D)}
}

// TestTenMinutes runs a client for ten simulated minutes over a network in
// memory: it is cut and resumes, and nothing is lost.
func TestTenMinutes(t *testing.T) {
	for _, query := range []string{"v=10&encoding=json", "v=10&encoding=json&compress=zlib-stream", "v=10&encoding=json&compress=zstd-stream"} {
		for _, secure := range []bool{false, true} {
			t.Run(query[17:], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d, srv := memServer(t, Options{Rate: 5, TLS: secure, ReplayLimit: 10_000, UnavailableEvery: 2})
					c, r := d.start(t, query, 0, 1, allIntents)
					got := []Received{}
					add := func(m message) { got = append(got, received(0, r.ID, m)) }
					ev := srv.Ledger().Events(r.ID)
					got = append(got, Received{Session: r.ID, Seq: 1, Type: "READY", Hash: ev[0].Hash})
					begin := time.Now()
					cut := false
					beat := time.NewTicker(41250 * time.Millisecond)
					defer beat.Stop()
					stop := make(chan struct{})
					defer close(stop)
					conns := make(chan *client, 1)
					go func() { // heartbeats
						cur := c
						for {
							select {
							case <-beat.C:
								cur.frame(1, []byte(`{"op":1,"d":null}`))
							case cur = <-conns:
							case <-stop:
								return
							}
						}
					}()
					for time.Since(begin) < 10*time.Minute {
						m, err := c.next()
						if end := (closed{}); errors.As(err, &end) {
							time.Sleep(time.Second)
							c = d.mustDial(t, r.URL, query)
							conns <- c
							c.want(10, "")
							c.send(resume(r.ID, got[len(got)-1].Seq))
							continue
						}
						if err != nil {
							t.Fatal(err)
						}
						if m.Op == 0 {
							add(m)
						}
						if !cut && time.Since(begin) > 5*time.Minute {
							cut = true
							srv.Cut(0, true)
						}
					}
					srv.Silence()
					synctest.Wait()
					last := srv.Seq(0)
					for got[len(got)-1].Seq < last {
						add(c.want(0, ""))
					}
					rep := srv.Ledger().Check(got)
					if rep.Lost+rep.Repeated+rep.OutOfOrder+rep.Unknown+rep.Abandoned+rep.Refused+rep.Pending != 0 {
						t.Error(rep)
					}
					if rep.Received < 2000 {
						t.Errorf("only %d events", rep.Received)
					}
					sum := srv.Ledger().Summary()
					if sum.Resumed != 1 || sum.OnResumeHost != 1 || sum.QueryMissing != 0 || sum.Identifies != 1 {
						t.Errorf("%+v", sum)
					}
					c.close(1000)
					c.wantClose()
					srv.Close()
				})
			})
		}
	}
}
