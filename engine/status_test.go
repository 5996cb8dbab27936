// This file tests the figures of an engine against runs of which the right ones are known.

package engine_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// shard returns what is known of a shard of the world's engine.
func (w *world) shard(id int) engine.ShardStatus {
	w.t.Helper()
	for _, s := range w.engine.AppendShards(nil) {
		if s.ID == id {
			return s
		}
	}
	w.t.Fatalf("no shard %d", id)
	return engine.ShardStatus{}
}

// observed returns how many values a histogram has.
func observed(h sinks.Histogram) (n int) {
	for _, c := range h.Counts {
		n += int(c)
	}
	return n
}

// ended returns how many connections ended for a cause with a code.
func ended(s engine.Status, cause string, code wire.CloseCode) int64 {
	for _, e := range s.Ended {
		if e.Cause == cause && e.Code == code {
			return e.Count
		}
	}
	return 0
}

// What the engine counts is what Discord's own books say, and what the sink was given.
func TestStatusCounts(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 3, MaxConcurrency: 3, IdentifyTotal: 500},
			engine.Options{Compression: wire.CompressionZstd, PacketCounts: true, PacketShards: 3, Gaps: true, Events: map[string]struct{}{
				"READY": {}, "RESUMED": {}, "GUILD_CREATE": {}, "TYPING_START": {}, "SOMETHING_NEW": {}}})
		early, err := engine.New(engine.Options{Token: "t", GatewayURL: "ws://gateway:80", Shards: 3, Sink: discard{}})
		if err != nil {
			t.Fatal(err)
		}
		s := early.Status()
		if s.Shards != 0 || s.Counts != (engine.Counts{}) || len(s.Lag.Counts) != len(s.Lag.Bounds)+1 {
			t.Errorf("before the first shard: %+v", s)
		}
		begun := s.Ended // with what there can be, at 0
		w.ready(3)
		w.srv.Burst(1, 500) // TYPING_START
		for range 7 {
			w.srv.Dispatch(2, "SOMETHING_NEW", []byte("{}"))
		}
		for range 5 {
			w.srv.Dispatch(0, "MESSAGE_CREATE", []byte("{}"))
		}
		w.wait("the events", func() bool { return w.sink.count("TYPING_START") == 500 && w.sink.count("SOMETHING_NEW") == 7 })
		w.srv.Cut(0, false)
		w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 1 })
		w.srv.CloseShard(1, wire.CloseUnknownError, "")
		w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 2 })
		w.srv.CloseShard(1, 4999, "")
		w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 3 })
		w.srv.CloseShard(1, 4888, "")
		w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 4 })
		w.srv.CloseShard(2, wire.CloseSessionTimedOut, "")
		w.wait("a session", func() bool { return w.engine.Status().Counts.Sessions == 4 })
		w.ready(3)
		time.Sleep(3 * time.Minute) // heartbeats, which show the bytes
		last := time.Now()
		for shard := range 3 {
			w.srv.Dispatch(shard, "MESSAGE_CREATE", []byte("{}"))
		}
		time.Sleep(time.Second)
		w.srv.Silence()
		w.quiet()

		s, books := w.engine.Status(), w.srv.Ledger().Summary()
		if s.Shards != 3 || s.Running != 3 || s.Ready != 3 {
			t.Errorf("%d shards, %d running, %d ready", s.Shards, s.Running, s.Ready)
		}
		c := s.Counts
		events := int64(w.sink.count(""))
		if c.Events != events || c.Filtered != 8 || c.Repeated != 0 || c.Gaps != 1 || c.Lost != 1 || c.Resumes != 4 || c.Sessions != 4 || c.Identifies != 4 {
			t.Errorf("%+v; the sink has %d events", c, events)
		}
		if c.Connections != int64(books.Connects) || c.Connections != 8 {
			t.Errorf("%d connections, Discord had %d", c.Connections, books.Connects)
		}
		if sent := int64(books.Heartbeats + books.Identifies + books.Resumes); c.Sent != sent || books.Commands < 0 {
			t.Errorf("%d payloads sent, Discord got %d", c.Sent, sent)
		}
		if c.WireBytes < 1000 || c.InflatedBytes < 2*c.WireBytes {
			t.Errorf("%d bytes received, %d inflated", c.WireBytes, c.InflatedBytes)
		}
		var names []engine.NameCount
		for _, name := range []string{"GUILD_CREATE", "READY", "RESUMED", "TYPING_START"} {
			names = append(names, engine.NameCount{Name: name, Count: int64(w.sink.count(name))})
		}
		if names = append(names, engine.NameCount{Name: "other", Count: 7}); !slices.Equal(s.Names, names) {
			t.Errorf("names %v, want %v", s.Names, names)
		}
		if n := observed(s.Lag); n != int(events)+1 { // and the gap
			t.Errorf("lag of %d events, want %d", n, events+1)
		}
		for _, e := range []struct {
			cause string
			code  wire.CloseCode
			n     int64
		}{{"connection lost", 0, 1}, {"closed by Discord", 4000, 1}, {"closed by Discord", engine.OtherCode, 2}, {"closed by Discord", 4009, 1}} {
			if n := ended(s, e.cause, e.code); n != e.n || !slices.Contains(engine.EndCauses, e.cause) {
				t.Errorf("%d ends of %s %d, want %d: %v", n, e.cause, e.code, e.n, s.Ended)
			}
		}
		kinds := slices.DeleteFunc(slices.Clone(s.Ended), func(e engine.EndCount) bool { return e.Count == 0 })
		if len(kinds) != 4 || len(begun) != len(s.Ended) {
			t.Errorf("ended: %v, began with %v", s.Ended, begun)
		}
		if beats := books.Heartbeats; observed(s.Lateness) != beats || beats < 9 || s.Lateness.Sum > 1 {
			t.Errorf("%d heartbeats; lateness %v", beats, s.Lateness)
		}
		if i := s.Identify; !i.Known || i.MaxConcurrency != 3 || i.Total != 500 || i.Left != 496 || i.Waiting != 0 || i.Exhausted || i.Reset.IsZero() {
			t.Errorf("identify: %+v", i)
		}
		if q := s.Queue; q.Events != 0 || q.Bytes != 0 || q.InFlight != 0 || q.Oldest != 0 || q.Paused != 0 || q.MaxBytes != 64<<20 {
			t.Errorf("queue: %+v", q)
		}
		w.wantShards(s, last)
		w.wantPackets(books)
		w.end()
		if after := w.engine.Status().Counts; after.Events != c.Events || after.Sessions != c.Sessions {
			t.Errorf("after the end %+v", after)
		}
	})
}

// wantShards holds each shard's figures against the sum and against Discord's books. last is when the last
// event was sent.
func (w *world) wantShards(all engine.Status, last time.Time) {
	t := w.t
	t.Helper()
	shards := w.engine.AppendShards(make([]engine.ShardStatus, 1, 8))[1:]
	var sum engine.Counts
	trips, tripsSum := int64(0), time.Duration(0)
	now := time.Now()
	for i, s := range shards {
		sum.Events += s.Events
		sum.Sent += s.Sent
		sum.WireBytes += s.WireBytes
		sum.InflatedBytes += s.InflatedBytes
		sum.Connections += s.Connections
		trips += s.RoundTripCount
		tripsSum += s.RoundTripSum
		if s.ID != i || s.State != engine.Ready || s.Paused || s.Pending != 0 || !s.RetryAt.IsZero() || s.Since.After(now) {
			t.Errorf("shard %d: %+v", i, s)
		}
		if s.Seq != w.srv.Seq(i) || s.Session == "" {
			t.Errorf("shard %d: seq %d of %q, want %d", i, s.Seq, s.Session, w.srv.Seq(i))
		}
		if d := s.LastEvent.Sub(last); d < -50*time.Millisecond || d > 50*time.Millisecond {
			t.Errorf("shard %d: the last event came %v after it was sent, at %v", i, d, last)
		}
		if age := now.Sub(s.LastACK); age < 0 || age > 42*time.Second || s.RoundTrip <= 0 || s.RoundTrip > time.Second {
			t.Errorf("shard %d: last acknowledgement %v ago, round trip %v", i, age, s.RoundTrip)
		}
		known := int64(0)
		for _, d := range s.RoundTrips {
			if d > 0 {
				known++
			}
		}
		if known != min(s.RoundTripCount, 16) {
			t.Errorf("shard %d: %d of %d round trips", i, known, s.RoundTripCount)
		}
	}
	c := all.Counts
	if len(shards) != 3 || sum.Events != c.Events || sum.Sent != c.Sent || sum.Connections != c.Connections || sum.WireBytes != c.WireBytes || sum.InflatedBytes != c.InflatedBytes {
		t.Errorf("the shards have %+v together, the engine %+v", sum, c)
	}
	if int(trips) != observed(all.RoundTrip) || math.Abs(tripsSum.Seconds()-all.RoundTrip.Sum) > 1e-6 {
		t.Errorf("%d round trips of %v, in all %v", trips, tripsSum, all.RoundTrip)
	}
	for i, want := range []struct {
		cause string
		code  wire.CloseCode
	}{{"connection lost", 0}, {"closed by Discord", 4888}, {"closed by Discord", 4009}} {
		if s := shards[i]; s.Cause != want.cause || s.Code != want.code || s.Ended.IsZero() {
			t.Errorf("shard %d: the last end is %q with %d at %v", i, s.Cause, s.Code, s.Ended)
		}
	}
}

// wantPackets holds the packets by shard, opcode and event against what was sent and received.
func (w *world) wantPackets(books sim.Summary) {
	t := w.t
	t.Helper()
	received, sent := map[string]int64{}, map[wire.Opcode]int64{}
	for _, p := range w.engine.AppendPackets(nil) {
		if p.Op == int(wire.OpDispatch) {
			received[fmt.Sprintf("%d %s", p.Shard, p.Name)] += p.Received
		} else {
			received[wire.Opcode(p.Op).String()] += p.Received
		}
		sent[wire.Opcode(p.Op)] += p.Sent
	}
	for key, want := range map[string]int64{
		"0 MESSAGE_CREATE": 6, "1 TYPING_START": 500, "2 other": 7, "0 RESUMED": 1, "1 RESUMED": 3, "2 READY": 2,
		"Hello": int64(books.Connects), "Heartbeat": 0, "Heartbeat ACK": int64(observed(w.engine.Status().RoundTrip)),
	} {
		if received[key] != want {
			t.Errorf("%d packets %q received, want %d: %v", received[key], key, want, received)
		}
	}
	// The acknowledgement that was on its way when a connection was cut did not arrive.
	if acks := int(received["Heartbeat ACK"]); acks > books.Heartbeats || acks < books.Heartbeats-5 {
		t.Errorf("%d acknowledgements of %d heartbeats", acks, books.Heartbeats)
	}
	for op, want := range map[wire.Opcode]int{wire.OpHeartbeat: books.Heartbeats, wire.OpIdentify: books.Identifies, wire.OpResume: books.Resumes} {
		if sent[op] != int64(want) {
			t.Errorf("%d packets %v sent, want %d", sent[op], op, want)
		}
	}
}

// The counts of a shard that was removed stay in the totals.
func TestStatusOfRemovedShard(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2}, engine.Options{})
		w.ready(2)
		w.quiet()
		before := w.engine.Status()
		if _, err := w.engine.Remove(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		after := w.engine.Status()
		if after.Running != 1 || after.Shards != 2 || after.Counts.Events != before.Counts.Events || after.Counts.Connections != 2 ||
			!slices.Equal(after.Names, before.Names) || after.Counts.Sent != before.Counts.Sent {
			t.Errorf("before %+v, after %+v", before, after)
		}
		if shards := w.engine.AppendShards(nil); len(shards) != 1 || shards[0].ID != 0 {
			t.Errorf("shards %+v", shards)
		}
		w.end()
	})
}

// While the sink takes nothing, what waits is seen: how much, how old, and who is paused. Then it is
// counted how late it was.
func TestStatusOfQueue(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 50_000}, engine.Options{QueueBytes: 64 << 10})
		w.ready(2)
		w.quiet()
		before := w.engine.Status()
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.srv.Burst(0, 20_000)
		time.Sleep(10 * time.Minute)
		s := w.engine.Status()
		q, waiting := s.Queue, s.Counts.Events-before.Counts.Events
		if q.Bytes < 16<<10 || q.Bytes > 66<<10 || q.MaxBytes != 64<<10 {
			t.Errorf("%d bytes of %d", q.Bytes, q.MaxBytes)
		}
		if int64(q.Events) != waiting || q.InFlight <= 0 || q.InFlight > q.Events {
			t.Errorf("%d events, %d in flight; %d were received", q.Events, q.InFlight, waiting)
		}
		if q.Oldest < 10*time.Minute-2*time.Second || q.Oldest > 10*time.Minute {
			t.Errorf("the oldest is %v old", q.Oldest)
		}
		paused := 0
		for _, s := range w.engine.AppendShards(nil) {
			if s.Paused {
				paused++
			}
		}
		if q.Paused != paused || !w.shard(0).Paused {
			t.Errorf("%d shards are paused: %+v", q.Paused, w.engine.AppendShards(nil))
		}
		if err := w.engine.Live(time.Now()); err != nil {
			t.Errorf("Live: %v", err)
		}
		close(gate)
		w.wait("the burst", func() bool { return w.sink.count("TYPING_START") == 20_000 })
		w.quiet()
		s = w.engine.Status()
		late := 0
		for i, n := range s.Lag.Counts {
			if i == len(s.Lag.Counts)-1 || s.Lag.Bounds[i] > 300 {
				late += int(n)
			}
		}
		// What was read from the socket and found no room has waited as well: 64 KiB, of 100 bytes each at least.
		if late < int(waiting) || late > int(waiting)+64<<10/100 || observed(s.Lag) != w.sink.count("") {
			t.Errorf("%d of %d events were late, want %d of %d: %v", late, observed(s.Lag), waiting, w.sink.count(""), s.Lag)
		}
		if sum := s.Lag.Sum; sum < float64(late)*598 || sum > float64(late)*601+20_000*0.1 {
			t.Errorf("%v seconds of lag, want those of %d events of 10 minutes", sum, late)
		}
		if s.Queue.Events != 0 || s.Queue.Bytes != 0 || s.Queue.Paused != 0 || s.Queue.Oldest != 0 || w.shard(0).Paused {
			t.Errorf("queue: %+v", s.Queue)
		}
		whole(t, w.end())
	})
}

// Commands are counted: sent, waiting, replaced, and refused by reason.
func TestStatusOfCommands(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2}, engine.Options{
			CommandQueue: 10, Shards: 2, IDs: []int{0}, Intents: wire.IntentGuilds})
		w.ready(1)
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		w.srv.Cut(0, false)
		w.wait("a shard that is not ready", func() bool { return w.engine.Status().Ready == 0 })
		send := func(c sinks.Command, packet string) error {
			c.Packet = []byte(packet)
			return w.engine.Send(t.Context(), c)
		}
		presence := func(status string) string {
			return fmt.Sprintf(`{"op":3,"d":{"since":null,"activities":[],"status":"%s","afk":false}}`, status)
		}
		voice := func(guild, channel int) string {
			if channel == 0 {
				return fmt.Sprintf(`{"op":4,"d":{"guild_id":"%d","channel_id":null}}`, guild)
			}
			return fmt.Sprintf(`{"op":4,"d":{"guild_id":"%d","channel_id":"%d"}}`, guild, channel)
		}
		even := func(n int) int { return 2 * n << 22 } // a guild of shard 0
		for _, packet := range []string{
			presence("idle"), presence("online"), // 1 replaced
			voice(even(1), 1), voice(even(1), 2), // 1 replaced
			voice(even(2), 0), voice(even(2), 5), voice(even(2), 0), // leave, join, leave: 2 replaced
			`{"op":8,"d":{"guild_id":"8388608","user_ids":["1"],"limit":0}}`, `{"op":8,"d":{"guild_id":"8388608","user_ids":["1"],"limit":0}}`, // 1
		} {
			if err := send(sinks.Command{}, packet); err != nil {
				t.Fatalf("%s: %v", packet, err)
			}
		}
		for i := range 6 {
			if err := send(sinks.Command{}, voice(even(10+i), 1)); err != nil {
				t.Fatal(err)
			}
		}
		refused := map[string]int64{}
		for _, c := range []struct {
			reason string
			shard  int
			packet string
		}{
			{"queue full", 0, voice(even(50), 1)}, {"queue full", 0, voice(even(51), 1)}, {"invalid", 0, "{"}, {"no such shard", 7, presence("idle")},
			{"not local", 1, presence("idle")}, {"missing intent", 0, `{"op":8,"d":{"guild_id":"8388608","query":"","limit":0}}`},
			{"guild of another shard", 0, voice(1<<22, 1)},
		} {
			if err := send(sinks.Command{Shard: c.shard}, c.packet); err == nil {
				t.Errorf("%s is taken", c.packet)
			}
			refused[c.reason]++
		}
		check := func(when string, sent, pending int64) {
			t.Helper()
			s := w.engine.Status().Commands
			if s.Sent != sent || s.Pending != pending || s.Replaced != 5 || observed(s.Waited) != int(sent) || len(s.Refused) != len(engine.RefusalReasons) {
				t.Errorf("%s: %+v", when, s)
			}
			for _, reason := range engine.RefusalReasons {
				if n, ok := s.Refused[reason]; n != refused[reason] || !ok {
					t.Errorf("%s: %d refused as %q, want %d", when, n, reason, refused[reason])
				}
			}
		}
		check("while the shard is away", 0, 10)
		if n := w.shard(0).Pending; n != 10 {
			t.Errorf("the shard has %d commands", n)
		}
		if s := w.shard(0); s.State == engine.Backoff && !s.RetryAt.After(s.Since) {
			t.Errorf("in Backoff, and again at %v", s.RetryAt)
		}
		time.Sleep(2 * time.Minute)
		w.srv.SetGateway(sim.GateOpen)
		w.srv.SetResumeHost(sim.GateOpen)
		w.wait("the commands", func() bool { return len(w.srv.Ledger().Commands()) > 0 && w.engine.Status().Commands.Pending == 0 })
		check("when the shard is back", 10, 0)
		if sum := w.engine.Status().Commands.Waited.Sum; sum < 1200 {
			t.Errorf("they waited for %v s together", sum)
		}
		w.end()
		if err := send(sinks.Command{}, presence("idle")); !errors.Is(err, sinks.ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
		refused["stopped"]++
		check("after the end", 10, 0)
	})
}

// The budget of Identifies is seen to be used up, with those that wait for it.
func TestStatusOfIdentifies(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 5, MaxConcurrency: 1, IdentifyTotal: 3, IdentifyReset: 6 * time.Hour}, engine.Options{})
		began := time.Now()
		w.ready(3)
		time.Sleep(time.Hour)
		i := w.engine.Status().Identify
		if !i.Known || !i.Exhausted || i.Waiting != 2 || i.Total != 3 || i.Left != 0 || i.Reserve != 0 {
			t.Errorf("%+v", i)
		}
		if d := i.Reset.Sub(began); d < 6*time.Hour-time.Minute || d > 6*time.Hour+time.Minute {
			t.Errorf("the reset is %v after the start", d)
		}
		if err := w.engine.Live(time.Now()); err != nil {
			t.Errorf("Live: %v", err)
		}
		w.end()
	})
}

// With more shards than Options.PacketShards payloads are not counted.
func TestPacketShards(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 3, MaxConcurrency: 3}, engine.Options{PacketCounts: true, PacketShards: 2})
		w.ready(3)
		if p := w.engine.AppendPackets(nil); len(p) > 0 {
			t.Errorf("%+v", p)
		}
		w.end()
	})
}
