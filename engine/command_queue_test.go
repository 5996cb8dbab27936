// This file tests the queue of commands.

package engine

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

func TestCommandQueue(t *testing.T) {
	now := time.Unix(1000, 0)
	presence := wire.Command{Op: wire.OpPresenceUpdate}
	voice := func(guild uint64) wire.Command { return wire.Command{Op: wire.OpVoiceStateUpdate, Guild: guild} }
	members := func(guild uint64) wire.Command {
		return wire.Command{Op: wire.OpRequestGuildMembers, Guild: guild, AllMembers: true}
	}
	sounds := wire.Command{Op: wire.OpRequestSoundboardSounds}

	add := func(t *testing.T, q *commandQueue, c wire.Command, packet string) {
		t.Helper()
		if err := q.add(c, []byte(packet), fate{}); err != nil {
			t.Fatal(err)
		}
	}
	drain := func(q *commandQueue, now time.Time) (got string, again time.Time) {
		for {
			w, again := q.next(now)
			if w == nil {
				return got, again
			}
			got += string(w.packet)
			w.done()
		}
	}

	t.Run("in order", func(t *testing.T) {
		q := commandQueue{limit: 3}
		add(t, &q, sounds, "a")
		add(t, &q, voice(1), "b")
		add(t, &q, sounds, "c")
		if err := q.add(sounds, []byte("d"), fate{}); !errors.Is(err, sinks.ErrQueueFull) {
			t.Errorf("the fourth command: %v", err)
		}
		if got, again := drain(&q, now); got != "abc" || !again.IsZero() {
			t.Errorf("got %q, again %v", got, again)
		}
	})
	t.Run("newer presence and voice state replace", func(t *testing.T) {
		q := commandQueue{limit: 4}
		add(t, &q, presence, "a")
		add(t, &q, voice(1), "b")
		add(t, &q, voice(2), "c")
		add(t, &q, sounds, "d")
		add(t, &q, voice(1), "B")
		add(t, &q, presence, "A") // also when the queue is full
		if got, _ := drain(&q, now); got != "ABcd" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("all members once in 30 s for each guild, others pass", func(t *testing.T) {
		q := commandQueue{limit: 10}
		add(t, &q, members(1), "a")
		add(t, &q, members(1), "b")
		add(t, &q, members(2), "c")
		add(t, &q, sounds, "d")
		got, again := drain(&q, now)
		if got != "acd" || !again.Equal(now.Add(allMembersPause)) {
			t.Errorf("got %q, again %v", got, again)
		}
		if got, _ := drain(&q, again.Add(-1)); got != "" {
			t.Errorf("before its time: %q", got)
		}
		if got, _ := drain(&q, again); got != "b" {
			t.Errorf("at its time: %q", got)
		}
		if len(q.requested) != 1 {
			t.Errorf("%d guilds remembered, want 1", len(q.requested))
		}
	})
	t.Run("five presences in 20 s, the last one is not lost", func(t *testing.T) {
		q := commandQueue{limit: 10}
		for _, packet := range []string{"1", "2", "3", "4", "5"} {
			add(t, &q, presence, packet)
			if got, _ := drain(&q, now); got != packet {
				t.Fatalf("got %q, want %q", got, packet)
			}
		}
		add(t, &q, presence, "6")
		add(t, &q, presence, "7")
		got, again := drain(&q, now)
		if got != "" || !again.Equal(now.Add(presenceWindow)) {
			t.Fatalf("got %q, again %v", got, again)
		}
		if got, _ := drain(&q, again); got != "7" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("leaves go out, joins that they make obsolete do not", func(t *testing.T) {
		// A capital is a leave.
		for _, c := range []struct{ add, want string }{
			{"ab", "b"},
			{"aX", "X"},
			{"Xa", "Xa"},
			{"aa", "a"},
			{"XX", "X"},
			{"XY", "XY"},
			{"Xab", "Xb"},
			{"XaX", "X"},
			{"XaY", "XY"},
			{"aXa", "Xa"},
			{"XaXa", "Xa"},
			{"XaXaX", "X"},
			{"XaXYb", "XYb"},
			{"aXbXcX", "X"},
		} {
			q := commandQueue{limit: 100}
			acked := 0
			for _, r := range c.add {
				cmd := voice(1)
				cmd.Leave = r < 'a'
				if err := q.add(cmd, []byte(string(r)), fate{sent: func() { acked++ }}); err != nil {
					t.Fatal(err)
				}
				add(t, &q, voice(2), "") // another guild's
			}
			if q.merged > len(c.add) || q.merged < 0 {
				t.Errorf("%s: %d are merged", c.add, q.merged)
			}
			if got, _ := drain(&q, now); got != c.want || acked != len(c.add) {
				t.Errorf("%s: sent %s, want %s; %d of %d are acknowledged", c.add, got, c.want, acked, len(c.add))
			}
			if q.merged != 0 || q.bytes != 0 || q.waiting != nil {
				t.Errorf("%s: afterwards %d merged, %d bytes", c.add, q.merged, q.bytes)
			}
		}
	})
	t.Run("equal requests are sent once, each acknowledged then", func(t *testing.T) {
		q := commandQueue{limit: 1000}
		acked := 0
		for range 300 {
			if err := q.add(members(1), []byte("a"), fate{sent: func() { acked++ }}); err != nil {
				t.Fatal(err)
			}
		}
		add(t, &q, members(1), "b")
		if acked != 0 || len(q.waiting) != 2 || q.merged != 299 {
			t.Errorf("%d acknowledged, %d wait, %d merged", acked, len(q.waiting), q.merged)
		}
		got, again := drain(&q, now)
		if got != "a" || acked != 300 {
			t.Errorf("sent %q, %d acknowledged", got, acked)
		}
		if got, _ := drain(&q, again); got != "b" || q.merged != 0 {
			t.Errorf("sent %q, %d merged", got, q.merged)
		}
	})
	t.Run("what was merged counts", func(t *testing.T) {
		q := commandQueue{limit: 3}
		for i := range 5 {
			err := q.add(sounds, []byte("a"), fate{sent: func() {}})
			if errors.Is(err, sinks.ErrQueueFull) != (i >= 3) {
				t.Errorf("command %d: %v", i, err)
			}
		}
		add(t, &q, sounds, "a") // nobody waits for it
	})
	t.Run("bytes are bounded", func(t *testing.T) {
		var share atomic.Int64
		share.Store(10 * (1000 + commandOverhead))
		q := commandQueue{limit: 1000, share: &share}
		packet := bytes.Repeat([]byte("x"), 1000)
		for i := range 20 {
			packet[0] = byte(i)
			err := q.add(sounds, bytes.Clone(packet), fate{})
			if errors.Is(err, sinks.ErrQueueFull) != (i >= 10) || q.bytes > int(share.Load()) {
				t.Errorf("command %d: %v; %d bytes", i, err, q.bytes)
			}
		}
		if err := q.add(sounds, bytes.Clone(packet[:1]), fate{}); !errors.Is(err, sinks.ErrQueueFull) {
			t.Errorf("another: %v", err)
		}
		drain(&q, now)
		if q.bytes != 0 {
			t.Errorf("%d bytes of nothing", q.bytes)
		}
	})
	t.Run("what may not be sent is not looked through again", func(t *testing.T) {
		q := commandQueue{limit: 1000}
		for i := range 900 {
			add(t, &q, members(1), fmt.Sprint(i))
		}
		_, again := drain(&q, now)
		if !q.idle.Equal(again) {
			t.Errorf("idle until %v, want %v", q.idle, again)
		}
		add(t, &q, sounds, "x")
		if got, _ := drain(&q, now.Add(time.Second)); got != "x" {
			t.Errorf("got %q", got)
		}
	})
}

// A queue that is closed says why, and takes none: nobody would send it.
func TestClosedCommandQueue(t *testing.T) {
	q := commandQueue{limit: 10}
	if err := q.add(wire.Command{Op: wire.OpPresenceUpdate}, []byte("{}"), fate{}); err != nil {
		t.Fatal(err)
	}
	q.close(sinks.ErrStopped)
	for range 2 { // one that would be merged, too
		if err := q.add(wire.Command{Op: wire.OpPresenceUpdate}, []byte("{}"), fate{}); !errors.Is(err, sinks.ErrStopped) {
			t.Errorf("add: %v", err)
		}
	}
	if w, _ := q.next(time.Now()); w != nil || q.bytes != 0 {
		t.Errorf("%+v waits, %d bytes", w, q.bytes)
	}
}
