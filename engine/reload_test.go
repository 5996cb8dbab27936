// This file tests the options that change while an engine runs.

package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// The names of the events to publish change while events flow: from then on those of the new names
// come, all of them and in order, and no other.
func TestSetEvents(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, Rate: 50, Seed: 1}, engine.Options{Events: map[string]struct{}{"READY": {}}})
		w.ready(2)
		time.Sleep(time.Minute)
		if all, ready := w.sink.count(""), w.sink.count("READY"); all != 2 || ready != 2 {
			t.Errorf("%d events, %d of them READY", all, ready)
		}
		names := map[string]struct{}{"TYPING_START": {}}
		w.engine.SetEvents(names)
		names["MESSAGE_CREATE"] = struct{}{} // the caller's
		w.srv.Burst(0, 100)
		time.Sleep(time.Minute)
		if all, typing := w.sink.count(""), w.sink.count("TYPING_START"); all != typing+2 || typing < 100 {
			t.Errorf("%d events, %d of them TYPING_START", all, typing)
		}
		w.engine.SetEvents(nil)
		before := w.sink.count("")
		seq := w.srv.Burst(1, 1)
		w.wait("all events", func() bool {
			w.sink.mu.Lock()
			defer w.sink.mu.Unlock()
			for _, ev := range w.sink.received[before:] {
				if ev.Shard == 1 && ev.Seq == seq {
					return true
				}
			}
			return false
		})
		time.Sleep(time.Minute)
		if n := w.sink.count("") - before; n < 100 {
			t.Errorf("%d events", n)
		}
		w.srv.Silence()
		w.wait("quiet", func() bool { return w.engine.Status().Counts.Filtered > 0 })
		if r := w.end(); r.OutOfOrder+r.Repeated+r.Unknown > 0 {
			t.Errorf("%v", r)
		}
	})
}

func presenceOf(status string) string {
	return fmt.Sprintf(`{"since":null,"activities":[{"name":"é","type":0}],"status":"%s","afk":false}`, status)
}

// lastIdentify returns the presence of the last Identify of the shard, of which there are n.
func (w *world) lastIdentify(shard, n int) (presence string) {
	w.t.Helper()
	w.wait("an Identify", func() bool {
		found := 0
		for _, id := range w.srv.Ledger().Identifies() {
			if id.Shard == shard {
				presence = id.Presence
				found++
			}
		}
		return found == n
	})
	return presence
}

// newSessions has every shard begin another session.
func (w *world) newSessions(shards int) {
	w.t.Helper()
	for shard := range shards {
		w.srv.Do(shard, sim.Action{Kind: sim.InvalidSession})
	}
	w.wait("the end of the sessions", func() bool { return w.engine.Status().Ready < shards })
	w.ready(shards)
}

// A presence that a bot has sent is that of the sessions to come, of its shard, until the process ends.
func TestPresenceFollows(t *testing.T) {
	for _, follow := range []bool{true, false} {
		t.Run(fmt.Sprint(follow), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				options := engine.Options{Presence: []byte(presenceOf("online")), FollowPresence: follow}
				w := newWorld(t, reader, sim.Options{Shards: 2}, options)
				w.ready(2)
				if got := w.lastIdentify(0, 1); got != presenceOf("online") {
					t.Errorf("identified with %s", got)
				}
				for _, status := range []string{"idle", "dnd"} {
					if err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(`{"d":` + presenceOf(status) + `,"op":3}`)}); err != nil {
						t.Fatal(err)
					}
					w.wait("the command", func() bool {
						sent := w.sentOps(0, wire.OpPresenceUpdate)
						return len(sent) > 0 && strings.Contains(sent[len(sent)-1], status)
					})
				}
				w.newSessions(2)
				want := presenceOf("dnd")
				if !follow {
					want = presenceOf("online")
				}
				if got := w.lastIdentify(0, 2); got != want {
					t.Errorf("identified again with %s", got)
				}
				if got := w.lastIdentify(1, 2); got != presenceOf("online") {
					t.Errorf("the other shard identified again with %s", got)
				}
				w.stop()
				<-w.ended
				time.Sleep(time.Minute) // the bucket is free again
				w.start(options)
				w.ready(2)
				if got := w.lastIdentify(0, 3); got != presenceOf("online") {
					t.Errorf("another process identified with %s", got)
				}
				sound(t, w)
				w.end()
			})
		})
	}
}

// A presence that is too large for an Identify is not kept, nor one over which Discord has closed the
// connection.
func TestPresenceNotFollowed(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{FollowPresence: true})
		w.ready(1)
		send := func(presence string) {
			sent := len(w.sentOps(0, wire.OpPresenceUpdate))
			if err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(`{"op":3,"d":` + presence + `}`)}); err != nil {
				t.Fatal(err)
			}
			w.wait("the command", func() bool { return len(w.sentOps(0, wire.OpPresenceUpdate)) > sent })
		}
		send(presenceOf("dnd"))
		send(strings.Replace(presenceOf("idle"), "é", strings.Repeat("x", 3500), 1))
		w.newSessions(1)
		if got := w.lastIdentify(0, 2); got != "" {
			t.Errorf("identified again with %s", got)
		}
		send(presenceOf("dnd"))
		w.srv.Do(0, sim.Action{Kind: sim.CloseFrame, Code: wire.CloseDecodeError})
		w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 1 })
		w.newSessions(1)
		if got := w.lastIdentify(0, 3); got != "" {
			t.Errorf("identified after 4002 with %s", got)
		}
		w.end()
	})
}

// Another presence is for the next Identifies, and for the running sessions if it is asked for: within
// Discord's limits, however often.
func TestSetPresence(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		const shards = 3
		w := newWorld(t, reader, sim.Options{Shards: shards}, engine.Options{FollowPresence: true})
		w.ready(shards)
		if got := w.lastIdentify(0, 1); got != "" {
			t.Errorf("identified with %s", got)
		}
		set := func(presence string, send bool) {
			t.Helper()
			var p []byte
			if presence != "" {
				p = []byte(presence)
			}
			if err := w.engine.SetPresence(p, send); err != nil {
				t.Fatal(err)
			}
		}
		set(presenceOf("idle"), false)
		time.Sleep(time.Minute)
		if sent := w.sentOps(0, wire.OpPresenceUpdate); len(sent) != 0 {
			t.Errorf("sent %s", sent)
		}
		w.newSessions(shards)
		if got := w.lastIdentify(2, 2); got != presenceOf("idle") {
			t.Errorf("identified with %s", got)
		}
		for range 50 {
			set(presenceOf("dnd"), true)
			time.Sleep(100 * time.Millisecond)
		}
		set("", true)
		time.Sleep(time.Minute)
		for shard := range shards {
			sent := w.sentOps(shard, wire.OpPresenceUpdate)
			if last := sent[len(sent)-1]; !strings.Contains(last, `"online"`) {
				t.Errorf("shard %d shows %s", shard, last)
			}
		}
		for _, wrong := range []string{`{"status":"dnd"}`, `[`, ``, strings.Replace(presenceOf("dnd"), "é", strings.Repeat("x", 4000), 1)} {
			if err := w.engine.SetPresence([]byte(wrong), true); err == nil {
				t.Errorf("%.30q is taken", wrong)
			}
		}
		w.newSessions(shards)
		if got := w.lastIdentify(0, 3); !strings.Contains(got, `"online"`) {
			t.Errorf("identified with %s", got)
		}
		if n := w.srv.Ledger().Summary().DroppedPresences; n > 0 {
			t.Errorf("Discord dropped %d presences", n)
		}
		sound(t, w)
		w.end()
	})
}
