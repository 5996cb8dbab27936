// This file tests the queue of commands.

package engine

import (
	"errors"
	"testing"
	"time"

	"sluice/wire"
)

func TestCommandQueue(t *testing.T) {
	now := time.Unix(1000, 0)
	presence := wire.Command{Op: wire.OpPresenceUpdate}
	voice := func(guild string) wire.Command { return wire.Command{Op: wire.OpVoiceStateUpdate, Guild: guild} }
	members := func(guild string) wire.Command {
		return wire.Command{Op: wire.OpRequestGuildMembers, Guild: guild, AllMembers: true}
	}
	sounds := wire.Command{Op: wire.OpRequestSoundboardSounds}

	add := func(t *testing.T, q *commandQueue, c wire.Command, packet string) {
		t.Helper()
		if err := q.add(c, []byte(packet), nil); err != nil {
			t.Fatal(err)
		}
	}
	drain := func(q *commandQueue, now time.Time) (got string, again time.Time) {
		for {
			packet, _, again := q.next(now)
			if packet == nil {
				return got, again
			}
			got += string(packet)
		}
	}

	t.Run("in order", func(t *testing.T) {
		q := commandQueue{limit: 3}
		add(t, &q, sounds, "a")
		add(t, &q, voice("1"), "b")
		add(t, &q, sounds, "c")
		if err := q.add(sounds, []byte("d"), nil); !errors.Is(err, ErrQueueFull) {
			t.Errorf("the fourth command: %v", err)
		}
		if got, again := drain(&q, now); got != "abc" || !again.IsZero() {
			t.Errorf("got %q, again %v", got, again)
		}
	})
	t.Run("newer presence and voice state replace", func(t *testing.T) {
		q := commandQueue{limit: 4}
		add(t, &q, presence, "a")
		add(t, &q, voice("1"), "b")
		add(t, &q, voice("2"), "c")
		add(t, &q, sounds, "d")
		add(t, &q, voice("1"), "B")
		add(t, &q, presence, "A") // also when the queue is full
		if got, _ := drain(&q, now); got != "ABcd" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("all members once in 30 s for each guild, others pass", func(t *testing.T) {
		q := commandQueue{limit: 10}
		add(t, &q, members("1"), "a")
		add(t, &q, members("1"), "b")
		add(t, &q, members("2"), "c")
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
}
