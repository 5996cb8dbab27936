//go:build unix

// This file tests what is logged of commands that are held, and of those that stay in Redis.

package redis

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/sinks/commands"
)

// That commands are not acknowledged is logged with what to do about it.
func TestXACKFails(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	w.address = user(t, w.srv, "commands", "-xack", baseRights, commandRights)
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	w.add("1", rawString(packet(0)))
	w.wait("a line", func() bool { return strings.Contains(w.log.String(), "XACK of commands fails") })
	if log := w.log.String(); !strings.Contains(log, "NOPERM") || !strings.Contains(log, problemText(Rights)) || !strings.Contains(log, "commands=1") {
		t.Errorf("the log: %s", log)
	}
	w.srv.CLI("ACL", "SETUSER", "commands", "+xack")
	w.wait("acknowledgements", func() bool { return w.pending("1") == 0 })
	if n := strings.Count(w.log.String(), "XACK of commands fails"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if f.count() != 1 {
		t.Errorf("%d commands, want 1", f.count())
	}
}

// A shard that takes no more for a minute is logged each minute, and no other.
func TestStalledShardsAreLogged(t *testing.T) {
	var log syncBuffer
	r := &commandReader{CommandOptions: CommandOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}, quota: commands.Quota{PerShard: 100},
		left: map[int]int{7: 50, 9: 0}, leftCount: 1234, held: make(map[entryID]int)}
	for i := range 500 {
		delivery{r, entryID{"SEND", fmt.Sprint(i)}}.settle() // refused: none of a shard's
	}
	hold := func(shard, n int) {
		for range n {
			r.quota.Hold(shard)
		}
	}
	drop := func(shard int) {
		for r.quota.Held(shard) > 0 {
			r.quota.Release(shard)
		}
	}
	hold(7, 90)
	hold(3, 100)
	hold(4, 99)
	now := time.Now()
	lines := func() int { return strings.Count(log.String(), "commands left in Redis") }
	for i := range 60 {
		r.logStalled(now.Add(time.Duration(i) * time.Second))
	}
	if lines() != 0 {
		t.Fatalf("too soon: %s", log.String())
	}
	hold(5, 100) // for a moment
	for i := range 60 {
		r.logStalled(now.Add(time.Duration(60+i) * time.Second))
		drop(5)
	}
	if got := log.String(); lines() != 1 || !strings.Contains(got, `commands=1234 held=190 shards=3 first_shards="[3 7 9]"`) {
		t.Fatalf("the log: %s", got)
	}
	r.logStalled(now.Add(2 * time.Minute))
	if lines() != 2 {
		t.Errorf("the log after two minutes: %s", log.String())
	}
	clear(r.left)
	for _, shard := range []int{3, 4, 7} {
		drop(shard)
	}
	r.logStalled(now.Add(3 * time.Minute))
	hold(7, 100)
	r.logStalled(now.Add(4 * time.Minute))
	if lines() != 2 {
		t.Errorf("what has ended is logged: %s", log.String())
	}
}

// Commands that stay in Redis are looked at while they are read.
func TestStalledShardsAreLookedAt(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	r := &commandReader{CommandOptions: CommandOptions{Group: "gateway", Consumer: "sluice-0", Timeout: time.Minute,
		Log: slog.New(slog.NewTextHandler(&w.log, nil))},
		router: commands.Router{Total: 8, Send: (&fakeEngine{stuck: map[int]bool{1: true}}).send}, quota: commands.Quota{PerShard: 1},
		client: w.bot, streams: []string{"SEND"}, count: readCount, last: make(map[string]string), seen: make(map[string]string), left: make(map[int]int),
		held: make(map[entryID]int), acked: make(map[entryID]struct{}), claimed: time.Now(),
		stalled: map[int]time.Time{1: time.Now().Add(-time.Hour)}}
	r.outage.Log = r.Log
	for i := range 3 {
		w.add("SEND", shardCommand(1, i))
	}
	if err := r.join(t.Context(), r.streams); err != nil {
		t.Fatal(err)
	}
	if err := r.readOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log := w.log.String(); !strings.Contains(log, "commands left in Redis") || !strings.Contains(log, "commands=2 held=1 shards=1 first_shards=[1]") {
		t.Errorf("the log: %s", log)
	}
}
