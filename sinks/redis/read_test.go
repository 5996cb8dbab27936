//go:build unix

// This file tests commands that are larger than a reply may be.

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks/commands"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

var largeTests sync.Mutex

// large has one test at a time go on from here, of those that fill a good part of the memory.
func large(t *testing.T) {
	largeTests.Lock()
	t.Cleanup(largeTests.Unlock)
}

// addMany adds entries with that many bytes to each of the streams. The server makes the bytes itself,
// which is cheaper than sending them.
func (w *commandWorld) addMany(streams []string, each, size int) {
	w.t.Helper()
	script := rueidis.NewLuaScriptNoSha(`
local value, size = 'x', tonumber(ARGV[2])
while #value < size do value = value .. string.sub(value, 1, size - #value) end
for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'data', value) end`)
	for _, s := range streams {
		if err := script.Exec(w.t.Context(), w.bot, []string{s}, []string{fmt.Sprint(each), fmt.Sprint(size)}).Error(); err != nil && !rueidis.IsRedisNil(err) {
			w.t.Fatal(err)
		}
	}
}

// A command that the guard does not let through is refused with its id, whether it is there at
// the start or comes later, and all others come once and in order.
func TestHugeCommand(t *testing.T) {
	t.Parallel()
	large(t)
	w := newCommandWorld(t)
	w.address = user(t, w.srv, "commands", "", baseRights, commandRights)
	huge := strings.Repeat("x", maxBulk+1<<20)
	w.add("SEND", huge)
	w.add("2", huge)
	w.add("SEND", shardCommand(1, 0))
	w.add("SEND", huge)
	w.add("SEND", shardCommand(1, 1))
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	w.add("3", rawString(packet(0)))
	w.wait("commands of other shards", func() bool { return len(f.take(1)) == 2 && len(f.take(3)) == 1 })
	w.add("0", huge)
	for i := range 20 {
		w.add("SEND", shardCommand(1, 2+i))
	}
	w.wait("more commands", func() bool { return len(f.take(1)) == 22 })
	inOrder(t, f.take(1), 0)
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	log := w.log.String()
	if n := strings.Count(log, "command refused"); n != 4 || !strings.Contains(log, "has a string of 68157440 bytes") {
		t.Errorf("%d commands refused, want 4\n%s", n, log)
	}
	id := strings.Fields(w.srv.CLI("XRANGE", "2", "-", "+", "COUNT", "1"))[0]
	if !strings.Contains(log, "stream=2 entry="+id) {
		t.Errorf("the entry %s of the stream 2 is not in the log\n%s", id, log)
	}
	if strings.Contains(log, "NOPERM") {
		t.Errorf("a right is missing: %s", log)
	}
}

// Commands that the guard lets through, but not all of them in one reply.
func TestLargeCommands(t *testing.T) {
	t.Parallel()
	large(t)
	w := newCommandWorld(t)
	for i := range 3 {
		w.add("SEND", shardCommand(1, i))
	}
	w.addMany(allStreams, 16, maxReply/(15*len(allStreams))) // 16 of each are asked for, and three of them are small
	w.add("SEND", shardCommand(1, 3))
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	w.wait("commands", func() bool { return len(f.take(1)) == 4 })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	inOrder(t, f.take(1), 0)
	if n := strings.Count(w.log.String(), "command refused"); n != 16*len(allStreams) {
		t.Errorf("%d commands refused, want %d", n, 16*len(allStreams))
	}
}

// A connection that ends whenever many commands are asked for, as one does that needs longer for them
// than an answer may take, brings them all the same, fewer at a time.
func TestReadsLessWhenCut(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	s := newHostile(t, w.srv.Addr, 1)
	s.cutAt = []byte("COUNT\r\n$2\r\n") // of ten and more
	w.address = s.Addr().String()
	for i := range 5 {
		w.add("SEND", shardCommand(1, i))
		w.add("2", rawString(packet(i)))
	}
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	w.wait("commands", func() bool { return f.count() == 10 })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	inOrder(t, f.take(1), 0)
	inOrder(t, f.take(2), 0)
}

// Without the right to XPENDING the stream of the huge command waits, and no other.
func TestHugeCommandWithoutXPENDING(t *testing.T) {
	t.Parallel()
	large(t)
	w := newCommandWorld(t)
	w.address = user(t, w.srv, "commands", "-xpending", baseRights, commandRights)
	w.add("2", strings.Repeat("x", maxBulk+1))
	w.add("SEND", shardCommand(1, 0))
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	w.wait("the command of another stream", func() bool { return len(f.take(1)) == 1 })
	w.add("SEND", shardCommand(1, 1))
	w.wait("another", func() bool { return len(f.take(1)) == 2 })
	if !strings.Contains(w.log.String(), problemText(Rights)) {
		t.Errorf("the problem is not in the log\n%s", w.log.String())
	}
}

// In a cluster each stream has a reply of its own, and all of them together no more room.
func TestLargeCommandsInCluster(t *testing.T) {
	t.Parallel()
	large(t)
	w := &commandWorld{t: t, srv: redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(sinktest.FreePort(t)))}
	w.srv.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	w.wait("cluster", func() bool { return strings.Contains(w.srv.CLI("CLUSTER", "INFO"), "cluster_state:ok") })
	o, err := NewClientOption([]string{w.srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.ConnWriteTimeout = patience // it is the size that is tested, and not the time that it takes
	if w.bot, err = Connect(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.bot.Close)
	if w.bot.Mode() != rueidis.ClientModeCluster {
		t.Fatal("no cluster")
	}
	streams := []string{"SEND"}
	var shards []int
	for i := range 16 {
		shards = append(shards, i)
		streams = append(streams, fmt.Sprint(i))
	}
	const size = maxReply/(8*15) + 1<<16
	w.addMany(streams[:8], 15, size) // as many streams as are asked for at once, and a little more than one reply may have
	r := &commandReader{CommandOptions: CommandOptions{Group: "other", Consumer: "sluice-0"}, client: w.bot, streams: streams,
		last: make(map[string]string), seen: make(map[string]string), quota: commands.Quota{PerShard: maxShardHeld}}
	if err := r.join(t.Context(), streams); err != nil {
		t.Fatal(err)
	}
	var bad *ReplyError
	if _, err := r.read(t.Context(), streams, 16); !errors.As(err, &bad) || !bad.Large {
		t.Errorf("%d MiB: %v", 8*15*size>>20, err)
	}
	w.add("3", strings.Repeat("x", maxBulk+1))
	for _, s := range []string{"SEND", "0", "3"} {
		w.add(s, rawString(fmt.Sprintf(`{"shard":1,"packet":%s}`, packet(0))))
	}
	f := new(fakeEngine)
	ctx, cancel := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		ReadCommands(ctx, CommandOptions{Client: o, Group: "gateway", Consumer: "sluice-0", Shards: shards, Timeout: time.Minute,
			Send: f.send, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	})
	defer reader.Wait()
	defer cancel()
	w.wait("commands", func() bool { return f.count() == 3 })
	w.wait("acknowledgements", func() bool { return w.pending(streams...) == 0 })
	if n := strings.Count(w.log.String(), "command refused"); n != 8*15+1 {
		t.Errorf("%d commands refused, want %d", n, 8*15+1)
	}
}
