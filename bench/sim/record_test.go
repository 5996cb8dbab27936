// This file tests recordings and the sizes of messages through every kind of
// compression.

package sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

var compressions = []string{compressNone, compressZlib, compressZstd}

func query(compress string) string {
	if compress == "" {
		return plainQuery
	}
	return plainQuery + "&compress=" + compress
}

// TestRecording: a recording arrives as it was made, whatever comes in between,
// and can be resumed anywhere.
func TestRecording(t *testing.T) {
	const events = 600
	for _, compress := range compressions {
		rec, err := Record(events, compress)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range compressions { // what the client asks for
			t.Run(fmt.Sprintf("%q to %q", compress, other), func(t *testing.T) {
				bubble(t, quick(Options{Rate: 1000, Recording: rec, Hold: true}), func(t *testing.T, d dialer, srv *Server) {
					c, r := d.start(t, query(other), 0, 1, allIntents)
					got := []Received{{Session: r.ID, Seq: 1}}
					read := func(n int) {
						t.Helper()
						for len(got) < n {
							got = append(got, received(0, r.ID, c.want(0, "")))
						}
					}
					srv.Play()
					read(200)
					c.send(`{"op":1,"d":null}`)
					c.want(11, "") // among the events; they are not in got
					srv.Dispatch(0, "EXTRA", []byte(`{"x":"between"}`))
					srv.Cut(0, false)
					for {
						m, err := c.next()
						if err != nil {
							break
						}
						if m.Op == 0 && m.S == got[len(got)-1].Seq+1 {
							got = append(got, received(0, r.ID, m))
						}
					}
					c = d.mustDial(t, r.URL, query(other))
					c.want(10, "")
					c.send(resume(r.ID, got[len(got)-1].Seq))
					read(events + 1)
					time.Sleep(time.Second)
					if rep := srv.Ledger().Check(got); rep.Lost+rep.Repeated+rep.OutOfOrder+rep.Unknown+rep.Pending != 0 {
						t.Error(rep)
					}
					ev := srv.Ledger().Events(r.ID)
					same := 0
					for _, e := range ev[1:] {
						if e.Type == rec.types[e.Seq-2] && e.Hash == rec.hashes[e.Seq-2] {
							same++
						}
					}
					if same < events-2 || len(ev) != events+1 { // all but EXTRA and RESUMED
						t.Errorf("%d of %d as recorded", same, len(ev))
					}
				})
			})
		}
	}
}

// TestRecordingRate: a recording keeps to the rate.
func TestRecordingRate(t *testing.T) {
	rec, err := Record(3000, compressZstd)
	if err != nil {
		t.Fatal(err)
	}
	if plain, wired := rec.Bytes(); wired*4 > plain {
		t.Errorf("%d bytes became %d", plain, wired)
	}
	bubble(t, quick(Options{Rate: 50, Recording: rec}), func(t *testing.T, d dialer, srv *Server) {
		c, _ := d.start(t, zstdQuery, 0, 1, allIntents)
		begin := time.Now()
		for seq := int64(2); seq <= 1001; seq++ {
			if m := c.want(0, ""); m.S != seq {
				t.Fatalf("%d instead of %d", m.S, seq)
			}
			if seq%500 == 0 {
				c.send(`{"op":1,"d":null}`)
			}
		}
		if took := time.Since(begin); took < 19*time.Second || took > 21*time.Second {
			t.Errorf("1000 events took %v", took)
		}
		c.drop()
	})
}

// TestSizes: messages around the size of a block and large ones, through each
// compression, live and stored.
func TestSizes(t *testing.T) {
	for _, compress := range compressions {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s stored %v", compress, stored), func(t *testing.T) {
				bubble(t, quick(Options{Guilds: -1, Stored: stored, QueueBytes: 64 << 20}), func(t *testing.T, d dialer, srv *Server) {
					c, _ := d.start(t, query(compress), 0, 1, 0)
					for _, size := range []int{1, 1<<16 - 1, 1 << 16, 1<<17 - 1, 1 << 17, 1<<17 + 1, 1 << 18, 1<<20 + 3} {
						for _, text := range []string{"a", "0123456789abcdefghijklmnopqrstuvwxyz"} {
							// The whole message has the size, not only d.
							head := len(fmt.Sprintf(`{"t":"BIG","s":%d,"op":0,"d":{"x":""}}`, srv.Seq(0)+1))
							n := max(0, size-head)
							d := fmt.Appendf(nil, `{"x":"%s"}`, strings.Repeat(text, n/len(text)+1)[:n])
							srv.Dispatch(0, "BIG", d)
							if m := c.want(0, "BIG"); !bytes.Equal(m.D, d) || len(m.Raw) != max(size, head) {
								t.Fatalf("%d bytes: got %d", size, len(m.Raw))
							}
						}
					}
				})
			})
		}
	}
}

// TestPayloadCompression: larger messages come compressed one by one, in
// BINARY frames, the others as TEXT.
func TestPayloadCompression(t *testing.T) {
	bubble(t, quick(Options{Rate: 50, PayloadThreshold: 800}), func(t *testing.T, d dialer, srv *Server) {
		c := d.mustDial(t, srv.GatewayURL(), plainQuery)
		c.want(10, "")
		c.send(strings.Replace(identify(0, 1, allIntents), `"d":{`, `"d":{"compress":true,`, 1))
		text, binary := 0, 0
		for range 300 {
			if m := c.want(0, ""); m.Type == 1 {
				text++
			} else {
				binary++
			}
		}
		if text == 0 || binary == 0 {
			t.Errorf("%d text, %d binary", text, binary)
		}
	})
}
