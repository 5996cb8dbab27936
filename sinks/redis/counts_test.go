//go:build unix

// This file tests that commands are counted.

package redis

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"sluice/sinks/commands"
)

// Each entry is counted once as received, however often it is read, and once as what becomes of it; the
// next process counts what this one has left.
func TestCommandsAreCounted(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	w.counts = commands.NewCounts()
	f := &fakeEngine{full: 7, stuck: map[int]bool{1: true}}
	stop := w.read(f, "sluice-0", time.Minute)
	to := func(shard int) string {
		return rawString(fmt.Sprintf(`{"shard":%d,"packet":%s}`, shard, packet(shard)))
	}
	for range 20 { // of which the engine has no room for some, again and again
		w.add("SEND", to(0))
	}
	w.add("SEND", to(5)) // another process'
	w.add("SEND", to(9)) // there is none
	w.add("SEND", "nonsense")
	w.add("SEND", rawString(`{"op":3}`))
	if err := w.bot.Do(context.Background(), w.bot.B().Xadd().Key("SEND").Id("*").FieldValue().FieldValue("else", "x").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	w.add("1", rawString(packet(1)))
	w.add("1", rawString(packet(2)))
	w.add("2", rawString(packet(3)))
	w.wait("all outcomes", func() bool {
		all := w.counts.Status()
		return len(all) == 3 && all[0].Waiting == 0 && all[0].Received == 25 && all[1].Given == 3 && all[1].Sent == 1
	})
	is := func(st commands.Status, source string, received, given, sent, forwarded, waiting int64, refused string) {
		t.Helper()
		maps.DeleteFunc(st.Refused, func(_ string, n int64) bool { return n == 0 })
		if st.Source != source || st.Received != received || st.Given != given || st.Sent != sent || st.Forwarded != forwarded || st.Waiting != waiting || st.Requeued != 0 || fmt.Sprint(st.Refused) != refused {
			t.Errorf("%+v", st)
		}
	}
	all := w.counts.Status()
	is(all[0], "SEND", 25, 20, 20, 1, 0, "map[malformed:3 wrong shard:1]")
	is(all[1], "shard", 3, 3, 1, 0, 2, "map[]")
	is(all[2], "gateway_send", 0, 0, 0, 0, 0, "map[]")
	if all[0].Waited.Sum <= 0 {
		t.Errorf("they have not waited: %+v", all[0].Waited)
	}
	stop()

	w.counts = commands.NewCounts()
	w.srv.CLI("XTRIM", "1", "MAXLEN", "1") // the first of those that wait
	w.read(new(fakeEngine), "sluice-0", time.Minute)
	w.add("1", rawString(packet(4)))
	w.wait("the rest", func() bool { all := w.counts.Status(); return len(all) == 3 && all[1].Sent == 2 && all[1].Given == 2 })
	is(w.counts.Status()[1], "shard", 3, 2, 2, 0, 0, "map[expired:1]")
}

// What another consumer has left is counted when it is taken over.
func TestClaimedCommandsAreCounted(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	stop := w.read(&fakeEngine{late: true}, "dead", time.Minute)
	for n := range 5 {
		w.add("2", rawString(packet(n)))
	}
	w.wait("them to be read", func() bool { return w.pending("2") == 5 })
	stop()
	w.counts = commands.NewCounts()
	w.read(new(fakeEngine), "alive", 300*time.Millisecond)
	w.add("2", rawString(packet(5))) // which is later than those that are taken over
	w.wait("all", func() bool { all := w.counts.Status(); return len(all) == 3 && all[1].Sent == 6 })
	if st := w.counts.Status()[1]; st.Received != 6 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}
