// This file tests that commands of one shard do not hold up another, and that what
// reaches a shard is its own.

package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// sentOps returns the packets of an opcode that a shard has sent.
func (w *world) sentOps(shard int, op wire.Opcode) (packets []string) {
	for _, c := range w.srv.Ledger().Commands() {
		if c.Shard == shard && c.Op == op {
			packets = append(packets, string(c.Raw))
		}
	}
	return packets
}

// 300 equal requests for all members are two: one at once, one for the others half a
// minute later. Neither they nor a shard that is not ready hold up what others send.
func TestEqualRequestsAreOne(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 3}, engine.Options{})
		w.ready(3)
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		w.srv.Cut(2, false)
		w.wait("a shard that is not ready", func() bool { return w.engine.Status().Ready == 2 })
		var acked atomic.Int32
		const all = `{"op":8,"d":{"guild_id":"4194304","query":"","limit":0}}`
		for range 300 {
			if err := w.engine.Send(t.Context(), sinks.Command{Guild: 1 << 22, Packet: []byte(all), Sent: func() { acked.Add(1) }}); err != nil {
				t.Fatal(err)
			}
		}
		full := 0
		for i := range 1100 {
			packet := fmt.Sprintf(`{"op":4,"d":{"guild_id":"%d","channel_id":"1"}}`, (3*i+2)<<22)
			if err := w.engine.Send(t.Context(), sinks.Command{Shard: 2, Packet: []byte(packet)}); errors.Is(err, sinks.ErrQueueFull) {
				full++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if full != 100 {
			t.Errorf("%d of 1,100 commands found the queue full, want 100", full)
		}
		for shard := range 2 {
			if err := w.engine.Send(t.Context(), sinks.Command{Shard: shard, Packet: []byte(
				`{"op":3,"d":{"since":null,"activities":[],"status":"idle","afk":false}}`)}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		w.wait("presences", func() bool {
			return len(w.sentOps(0, wire.OpPresenceUpdate)) == 1 && len(w.sentOps(1, wire.OpPresenceUpdate)) == 1
		})
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the presences took %v", took)
		}
		w.wait("the requests", func() bool { return acked.Load() == 300 })
		time.Sleep(5 * time.Minute)
		if n := len(w.sentOps(1, wire.OpRequestGuildMembers)); n > 2 {
			t.Errorf("%d requests were sent, want at most 2", n)
		}
	})
}

// A bot that leaves a voice channel and joins it again, while the shard is not ready,
// has left it.
func TestLeaveAndRejoin(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{})
		leave := `{"op":4,"d":{"guild_id":"4194304","channel_id":null,"self_mute":false,"self_deaf":false}}`
		join := strings.Replace(leave, "null", `"5"`, 1)
		for _, packet := range []string{leave, join, join} {
			if err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(packet)}); err != nil {
				t.Fatal(err)
			}
		}
		w.ready(1)
		w.wait("voice states", func() bool { return len(w.sentOps(0, wire.OpVoiceStateUpdate)) >= 2 })
		time.Sleep(time.Minute)
		if got := w.sentOps(0, wire.OpVoiceStateUpdate); len(got) != 2 || got[0] != leave || got[1] != join {
			t.Errorf("sent %q", got)
		}
	})
}

// A packet about a guild of another shard than the one it was routed to is refused.
func TestGuildOfAnotherShard(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2}, engine.Options{})
		w.ready(2)
		const ours, other = "4194304", "8388608" // of shards 1 and 0
		for _, c := range []struct {
			packet string
			wrong  string
		}{
			{`{"op":4,"d":{"guild_id":"%s","channel_id":null}}`, "op 4: the packet goes to shard 1, and guild 8388608 in it belongs to shard 0"},
			{`{"op":8,"d":{"guild_id":"%s","query":"a","limit":1}}`, "op 8: the packet goes to shard 1, and guild 8388608 in it belongs to shard 0"},
			{`{"op":43,"d":{"guild_id":"%s","fields":[]}}`, "op 43: the packet goes to shard 1, and guild 8388608 in it belongs to shard 0"},
			{`{"op":31,"d":{"guild_ids":["%s"]}}`, "op 31: the packet goes to shard 1, and guild 8388608 in it belongs to shard 0"},
			{`{"op":31,"d":{"guild_ids":["%s","4194304"]}}`, ""}, // Discord answers for its own
		} {
			for _, route := range []sinks.Command{{Shard: 1}, {Guild: 3 << 22}} {
				route.Packet = fmt.Appendf(nil, c.packet, other)
				err := w.engine.Send(t.Context(), route)
				if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || err.Error() != c.wrong) {
					t.Errorf("%s: %v, want %s", route.Packet, err, c.wrong)
				}
				route.Packet = fmt.Appendf(nil, c.packet, ours)
				if strings.Count(c.packet, ours) == 0 {
					if err := w.engine.Send(t.Context(), route); err != nil {
						t.Errorf("%s: %v", route.Packet, err)
					}
				}
			}
		}
		w.wait("the commands", func() bool { return len(w.srv.Ledger().Commands()) > 0 })
		time.Sleep(time.Minute)
		for _, c := range w.srv.Ledger().Commands() {
			if strings.Contains(string(c.Raw), other) && !strings.Contains(string(c.Raw), ours) {
				t.Errorf("shard %d sent %s", c.Shard, c.Raw)
			}
		}
	})
}

// A command that is not written when its connection ends has not been sent: it is sent
// over the next one, and acknowledged then; by an engine that stops it is not.
func TestCommandNotWritten(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{ShutdownTimeout: 5 * time.Second})
		w.ready(1)
		w.quiet()
		var acked atomic.Int32
		send := func(n int) {
			t.Helper()
			packet := fmt.Appendf(nil, `{"op":31,"d":{"guild_ids":["%d"]}}`, n)
			if err := w.engine.Send(t.Context(), sinks.Command{Packet: packet, Sent: func() { acked.Add(1) }}); err != nil {
				t.Fatal(err)
			}
		}
		w.stalled.Store(true)
		send(1)
		send(2)
		time.Sleep(2 * time.Second)
		if n := acked.Load(); n != 0 {
			t.Errorf("%d acknowledged while the peer does not read", n)
		}
		w.srv.Cut(0, false)
		time.Sleep(time.Second)
		w.stalled.Store(false)
		w.wait("both", func() bool { return acked.Load() == 2 })
		w.wait("both at Discord", func() bool { return len(w.sentOps(0, wire.OpRequestSoundboardSounds)) >= 2 })
		if got := w.sentOps(0, wire.OpRequestSoundboardSounds); !strings.Contains(got[0], `"1"`) || !strings.Contains(got[1], `"2"`) {
			t.Errorf("sent %q", got)
		}
		w.stalled.Store(true)
		send(3)
		time.Sleep(2 * time.Second)
		w.stop()
		<-w.ended
		if n := acked.Load(); n != 2 {
			t.Errorf("%d acknowledged, want 2", n)
		}
	})
}
