// This file tests when a shard sends what, by the figures of Discord's documentation and not by
// the constants of the code: a heartbeat somewhere in the first interval and then each interval,
// and at most 120 payloads in 60 s, of whatever kind.

package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"sluice/wire"
)

// beatInterval is the heartbeat interval of the streams that record makes.
const beatInterval = 41250 * time.Millisecond

// sentPayload is a payload that a shard has sent.
type sentPayload struct {
	at time.Time
	op wire.Opcode
	d  string
}

// sent returns the payloads that the shard has sent since the last call.
func (p *path) sent(tb testing.TB) (sent []sentPayload) {
	tb.Helper()
	for r := bytes.NewReader(p.s.out); r.Len() > 0; {
		h, err := ws.ReadHeader(r)
		if err != nil {
			tb.Fatal(err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			tb.Fatal(err)
		}
		ws.Cipher(payload, h.Mask, 0)
		if h.OpCode != ws.OpText {
			continue
		}
		var e struct {
			Op wire.Opcode
			D  json.RawMessage
		}
		if err := json.Unmarshal(payload, &e); err != nil {
			tb.Fatal(err)
		}
		sent = append(sent, sentPayload{p.now, e.Op, string(e.D)})
	}
	p.s.out = p.s.out[:0]
	p.s.written()
	return sent
}

// beatPath returns a path whose shard is ready and has sent nothing but its Identify.
func beatPath(tb testing.TB) *path {
	stream := record(tb, wire.CompressionNone, 1)
	p := newPath(tb, wire.CompressionNone, &stream)
	tb.Cleanup(p.close)
	if sent := p.sent(tb); len(sent) != 1 || sent[0].op != wire.OpIdentify {
		tb.Fatalf("sent %v before a heartbeat was due", sent)
	}
	return p
}

// next steps to when the shard wants to, and by late more, and returns what it sends.
func (p *path) next(tb testing.TB, late time.Duration) []sentPayload {
	tb.Helper()
	due := p.s.due()
	if due.IsZero() {
		tb.Fatal("nothing is due")
	}
	if p.now.Before(due.Add(late)) {
		p.now = due.Add(late)
	}
	p.s.step(p.now)
	return p.sent(tb)
}

func (p *path) acknowledge() { p.text(`{"t":null,"s":null,"op":11,"d":null}`) }

// The first heartbeats of shards that connect together are spread over the whole interval.
func TestFirstHeartbeatIsSpread(t *testing.T) {
	const shards = 200
	var tenths [10]int
	for range shards {
		p := beatPath(t)
		hello := p.now
		first := p.next(t, 0)
		if len(first) != 1 || first[0].op != wire.OpHeartbeat {
			t.Fatalf("sent %v", first)
		}
		after := first[0].at.Sub(hello)
		if after < 0 || after >= beatInterval {
			t.Fatalf("the first heartbeat comes %v after Hello, not within %v", after, beatInterval)
		}
		tenths[after*10/beatInterval]++
	}
	for i, n := range tenths {
		if n == 0 || n > shards/2 { // by chance: less than once in 10^9 runs
			t.Errorf("of %d first heartbeats %d lie in tenth %d of the interval: %v", shards, n, i, tenths)
		}
	}
}

// However late each heartbeat leaves, the next is due an interval after it was due, not after it
// left: they don't drift apart.
func TestHeartbeatDoesNotDrift(t *testing.T) {
	p := beatPath(t)
	first := p.s.due()
	for i := range 100 {
		late := time.Duration(i%7) * 300 * time.Millisecond
		want := first.Add(time.Duration(i) * beatInterval)
		if due := p.s.due(); !due.Equal(want) {
			t.Fatalf("heartbeat %d is due %v after the first, want %v", i, due.Sub(first), want.Sub(first))
		}
		if sent := p.next(t, late); len(sent) != 1 || sent[0].op != wire.OpHeartbeat || sent[0].d != "1" {
			t.Fatalf("heartbeat %d: sent %v, want one with the sequence number 1", i, sent)
		}
		p.acknowledge()
	}
}

// A process that stood still for some intervals sends one heartbeat, and the next an interval
// later: a burst would say nothing, and count against the limit.
func TestNoBurstOfHeartbeats(t *testing.T) {
	for _, stall := range []time.Duration{beatInterval + time.Millisecond, 2 * beatInterval, 10*beatInterval + time.Second, time.Hour} {
		p := beatPath(t)
		p.next(t, 0)
		p.acknowledge()
		sent := p.next(t, stall)
		p.acknowledge()
		woken := p.now
		for p.now.Before(woken.Add(beatInterval)) {
			sent = append(sent, p.next(t, 0)...)
			p.acknowledge()
		}
		if len(sent) != 2 || !sent[0].at.Equal(woken) || !sent[1].at.Equal(woken.Add(beatInterval)) {
			t.Errorf("after %v: sent %v", stall, sent)
		}
	}
}

// A heartbeat that is due while the last one is unanswered and nothing was heard ends the
// connection. With something heard, three go unanswered, and an answer to any of them is enough.
func TestUnansweredHeartbeats(t *testing.T) {
	for _, tt := range []struct {
		name   string
		heard  bool
		answer int // after so many heartbeats; 0: never
		beats  int
	}{
		{"silent", false, 0, 1},
		{"events", true, 0, 3},
		{"events, and an answer to the second", true, 2, 2 + 3},
		{"events, and an answer to the third", true, 3, 3 + 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := beatPath(t)
			beats, seq := 0, int64(1)
			for p.s.state() == Ready {
				if tt.heard {
					seq++
					p.event(seq)
				}
				for _, sent := range p.next(t, 0) {
					if sent.op != wire.OpHeartbeat || sent.d != fmt.Sprint(seq) {
						t.Errorf("sent %v, want a heartbeat with %d", sent, seq)
					}
					beats++
				}
				if beats == tt.answer {
					p.acknowledge()
				}
				if beats > 20 {
					t.Fatal("the connection does not end")
				}
			}
			if beats != tt.beats {
				t.Errorf("%d heartbeats before the connection was given up, want %d", beats, tt.beats)
			}
			if p.s.state() != Backoff || p.s.session == nil || p.s.plan != nextResume {
				t.Errorf("the shard is %v, session %v, plan %v; want it to resume", p.s.state(), p.s.session, p.s.plan)
			}
		})
	}
}

// With more commands than Discord takes, no 60 s have more than 120 payloads, and no heartbeat
// is late: neither those that are due nor those that Discord asks for.
func TestCommandsLeaveRoomForHeartbeats(t *testing.T) {
	const limit, window = 120, 60 * time.Second
	p := beatPath(t)
	p.s.commands.limit = 5000
	for i := range 2000 {
		packet := fmt.Appendf(nil, `{"op":8,"d":{"guild_id":"1","query":"a","limit":1,"nonce":"%d"}}`, i)
		if err := p.s.commands.add(wire.Command{Op: wire.OpRequestGuildMembers, Guild: 1}, packet, fate{}); err != nil {
			t.Fatal(err)
		}
	}
	p.s.beat.at = p.now.Add(time.Second) // so that the first window has as many as it can
	start, beat := p.now, p.s.due()
	sent := []sentPayload{{at: start, op: wire.OpIdentify}}
	p.s.step(p.now)
	sent = append(sent, p.sent(t)...)
	asked := 0
	for p.now.Before(start.Add(10 * time.Minute)) {
		now := p.next(t, 0)
		for _, s := range now {
			if s.op == wire.OpHeartbeat {
				if !s.at.Equal(beat) {
					t.Fatalf("a heartbeat leaves at %v, want %v", s.at.Sub(start), beat.Sub(start))
				}
				beat = beat.Add(beatInterval)
				p.acknowledge()
			}
		}
		sent = append(sent, now...)
		if p.now.Sub(start) > time.Duration(asked)*30500*time.Millisecond { // twice in a window
			asked++
			p.text(`{"t":null,"s":null,"op":1,"d":null}`)
			answer := p.sent(t)
			if len(answer) != 1 || answer[0].op != wire.OpHeartbeat {
				t.Fatalf("%v after the start Discord asks for a heartbeat and gets %v", p.now.Sub(start), answer)
			}
			p.acknowledge()
			sent = append(sent, answer...)
		}
	}
	if beat.Before(p.now) {
		t.Errorf("no heartbeat since %v; it is %v", beat.Sub(start), p.now.Sub(start))
	}
	for i := range sent {
		if i >= limit && sent[i].at.Sub(sent[i-limit].at) <= window {
			t.Fatalf("%d payloads within %v", limit+1, sent[i].at.Sub(sent[i-limit].at))
		}
	}
	commands := len(slices.DeleteFunc(slices.Clone(sent), func(s sentPayload) bool { return s.op != wire.OpRequestGuildMembers }))
	if commands < 9*110 {
		t.Errorf("%d commands in 10 minutes: the limit is not made use of", commands)
	}
}

// A heartbeat for which there is no room in the limit is sent as soon as there is.
func TestHeartbeatWithoutRoom(t *testing.T) {
	p := beatPath(t) // its Identify counts
	p.s.beat.at = p.now.Add(30 * time.Second)
	start := p.now
	for range 200 {
		p.text(`{"t":null,"s":null,"op":1,"d":null}`)
	}
	if n := len(p.sent(t)); n != 119 {
		t.Errorf("%d heartbeats for 200 that Discord asks for at once, want 119", n)
	}
	p.acknowledge()
	// A second more than Discord's 60: what is sent later may travel faster.
	if sent := p.next(t, 0); len(sent) != 1 || !sent[0].at.Equal(start.Add(61*time.Second)) {
		t.Errorf("then sent %v, want one heartbeat 61 s after %v", sent, start)
	}
}
