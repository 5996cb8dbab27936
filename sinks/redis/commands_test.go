//go:build unix

// This file tests the commands that come through streams.

package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/msgpack"
	"sluice/sinks/sinktest/redistest"
)

// fakeEngine takes commands of the shards 0 to 3 of 8.
type fakeEngine struct {
	mu    sync.Mutex
	got   map[int][]string // packets by shard
	late  bool             // Sent is not called
	stuck map[int]bool     // nor is it for these shards
	sents []func()         // what has not been called for them
	full  int              // so many times the queue is full
}

func (f *fakeEngine) send(_ context.Context, c sinks.Command) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	shard := c.Shard
	if c.Guild != 0 {
		shard = int(c.Guild >> 22 % 8)
	}
	switch {
	case shard >= 8:
		return errors.New("no such shard")
	case shard >= 4:
		return &sinks.NotLocalError{Shard: shard}
	case f.full > 0:
		f.full--
		return fmt.Errorf("shard: %w", sinks.ErrQueueFull)
	}
	if f.got == nil {
		f.got = make(map[int][]string)
	}
	f.got[shard] = append(f.got[shard], string(c.Packet))
	switch {
	case f.stuck[shard]:
		f.sents = append(f.sents, c.Sent)
	case !f.late:
		c.Sent()
	}
	return nil
}

func (f *fakeEngine) count() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, packets := range f.got {
		n += len(packets)
	}
	return n
}

// commandWorld is a server, a reader of commands, and a bot that sends them.
type commandWorld struct {
	t       *testing.T
	srv     *redistest.Server
	address string // as read reaches it
	bot     rueidis.Client
	log     syncBuffer
	counts  *commands.Counts // of the readers; nil: nothing is counted
}

func newCommandWorld(t *testing.T) *commandWorld {
	w := &commandWorld{t: t, srv: redistest.Start(t)}
	w.address = w.srv.Addr
	var err error
	w.bot, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{w.srv.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.bot.Close)
	return w
}

// read runs a reader until stop is called.
func (w *commandWorld) read(f *fakeEngine, consumer string, timeout time.Duration) (stop func()) {
	return w.readUntil(f, consumer, timeout, nil)
}

func (w *commandWorld) readUntil(f *fakeEngine, consumer string, timeout time.Duration, settled <-chan struct{}) (stop func()) {
	option, err := NewClientOption([]string{w.address}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ReadCommands(ctx, CommandOptions{Client: option, Group: "gateway", Consumer: consumer, Shards: []int{0, 1, 2, 3}, Total: 8, Discordjs: true,
			Timeout: timeout, Send: f.send, Settled: settled, Counts: w.counts, Log: logTo(&w.log)})
	}()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	return stop
}

func (w *commandWorld) add(stream, value string) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // after a restart
		if err = w.bot.Do(context.Background(), w.bot.B().Xadd().Key(stream).Id("*").FieldValue().FieldValue("data", value).Build()).Error(); err == nil {
			return
		}
	}
	w.t.Error(err)
}

// pending returns how many entries are read and not acknowledged; -1 before there is a group.
func (w *commandWorld) pending(streams ...string) (n int64) {
	for _, s := range streams {
		answer, err := w.bot.Do(context.Background(), w.bot.B().Xpending().Key(s).Group("gateway").Build()).ToArray()
		if err != nil && strings.HasPrefix(err.Error(), "NOGROUP") {
			return -1
		}
		if err != nil {
			w.t.Fatal(err)
		}
		p, _ := answer[0].AsInt64()
		n += p
	}
	return n
}

func (w *commandWorld) wait(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("no %s\n%s", what, w.log.String())
		}
	}
}

func rawString(s string) string { return string(msgpack.AppendRaw(nil, []byte(s))) }

func packet(n int) string { return fmt.Sprintf(`{"op":8,"d":%d}`, n) }

var allStreams = []string{"SEND", "gateway_send", "0", "1", "2", "3"}

// What the engine sends between the end of reading and its own is acknowledged: or the next
// process would send it again.
func TestCommandsSentLate(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	f := &fakeEngine{stuck: map[int]bool{0: true}}
	settled := make(chan struct{})
	stop := w.readUntil(f, "a", time.Minute, settled)
	w.add("0", rawString(packet(1)))
	w.wait("command", func() bool { return f.count() == 1 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	looks := 0 // in a row with no reader that waits; between two reads there is none for an instant
	w.wait("end of reading", func() bool {
		if looks++; !strings.Contains(w.srv.CLI("INFO", "clients"), "blocked_clients:0") {
			looks = 0
		}
		return looks == 20
	})
	select {
	case <-stopped:
		t.Fatal("the reader has returned while commands can be sent")
	default:
	}
	f.sents[0]()
	close(settled)
	<-stopped
	if n := w.pending("0"); n != 0 {
		t.Errorf("%d commands are not acknowledged", n)
	}
}

// A command that is being forwarded at the end of reading is in one stream then, also if Redis answers late.
func TestForwardLate(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.address = l.Addr().String()
	hushed, answer := make(chan struct{}), make(chan struct{})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", w.srv.Addr)
			if err != nil {
				conn.Close()
				continue
			}
			go func() { defer up.Close(); io.Copy(up, conn) }()
			go func() {
				defer conn.Close()
				for b := make([]byte, 4096); ; {
					n, err := up.Read(b)
					select {
					case <-hushed:
						<-answer
					default:
					}
					if _, e := conn.Write(b[:n]); e != nil || err != nil {
						return
					}
				}
			}()
		}
	}()
	option, err := NewClientOption([]string{w.address}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ReadCommands(ctx, CommandOptions{Client: option, Group: "gateway", Consumer: "a", Shards: []int{0}, Total: 8, Timeout: time.Minute,
			Send: func(_ context.Context, c sinks.Command) error {
				close(hushed)
				return &sinks.NotLocalError{Shard: 5}
			}, Log: logTo(&w.log)})
	}()
	w.add("SEND", shardCommand(5, 1))
	w.wait("forwarded command", func() bool { return strings.TrimSpace(w.srv.CLI("XLEN", "5")) == "1" })
	cancel()
	time.AfterFunc(time.Second, func() { close(answer) })
	<-done
	if n := w.pending("SEND"); n != 0 {
		t.Errorf("%d commands are forwarded, and would be again", n)
	}
}

// 10,000 commands arrive once and in order, while the process that reads them is
// started anew twice, each time with some not yet in flight to Discord.
func TestCommands(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	const all = 10_000
	go func() {
		for i := range all {
			shard := i % 4
			switch i % 3 {
			case 0: // guilds of the shard
				w.add("SEND", rawString(fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, (shard+8)<<22, packet(i))))
			default:
				w.add("SEND", rawString(fmt.Sprintf(`{"shard":%d,"packet":%s}`, shard, packet(i))))
			}
		}
	}()
	var got [4][]string
	take := func(f *fakeEngine) {
		for shard, packets := range f.got {
			got[shard] = append(got[shard], packets...)
		}
	}
	for range 2 {
		f := &fakeEngine{full: 2}
		stop := w.read(f, "sluice-0", time.Minute)
		n := f.count()
		w.wait("progress", func() bool { return f.count() > n+1000 })
		f.mu.Lock()
		f.late = true // from here on the process keeps them, until it ends
		late := 0
		for _, p := range f.got {
			late += len(p)
		}
		before := map[int]int{}
		for shard, p := range f.got {
			before[shard] = len(p)
		}
		f.mu.Unlock()
		w.wait("a full house", func() bool { return f.count() == late+4*maxShardHeld })
		stop()
		for shard, packets := range f.got {
			f.got[shard] = packets[:before[shard]]
		}
		take(f)
	}
	f := new(fakeEngine)
	stop := w.read(f, "sluice-0", time.Minute)
	rest := all - len(got[0]) - len(got[1]) - len(got[2]) - len(got[3])
	w.wait("the rest", func() bool { return f.count() >= rest })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	stop()
	take(f)
	for shard := range got {
		for i, p := range got[shard] {
			if want := packet(4*i + shard); p != want {
				t.Fatalf("shard %d: command %d is %s, want %s", shard, i, p, want)
			}
		}
		if len(got[shard]) != all/4 {
			t.Errorf("shard %d: %d commands", shard, len(got[shard]))
		}
	}
}

func TestCommandStreams(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	w.add("3", rawString(packet(1))) // before the group exists
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	w.add("0", rawString(packet(2)))
	value, err := msgpack.AppendFromJSON(nil, []byte(`{"shardId":2,"payload":`+packet(3)+`}`))
	if err != nil {
		t.Fatal(err)
	}
	w.add("gateway_send", string(value))
	w.wait("commands", func() bool { return f.count() == 3 })
	f.mu.Lock()
	if f.got[3][0] != packet(1) || f.got[0][0] != packet(2) || f.got[2][0] != packet(3) {
		t.Errorf("got %v", f.got)
	}
	f.mu.Unlock()
	// One for a shard of another process is forwarded.
	w.add("SEND", rawString(fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, 5<<22, packet(4))))
	w.wait("forwarding", func() bool { return strings.Contains(w.srv.CLI("XRANGE", "5", "-", "+"), packet(4)) })
	entry, err := w.bot.Do(t.Context(), w.bot.B().Xrange().Key("5").Start("-").End("+").Build()).AsXRange()
	if err != nil || len(entry) != 1 || entry[0].FieldValues["data"] != rawString(packet(4)) || len(entry[0].FieldValues) != 1 {
		t.Errorf("forwarded: %q, %v", entry, err)
	}
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
}

// What is no command is acknowledged and logged, and harms nothing.
func TestPoisonousCommands(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	bad := []string{"", "\xc1", "\xda\xff\xff", rawString("{"), rawString(`{"guild_id":"1"}`), rawString(`{"guild_id":12345,"packet":{"op":3}}`),
		rawString(`{"shard":9,"packet":{"op":3}}`), "\xdf\xff\xff\xff\xff", rawString(strings.Repeat("x", 1<<20))}
	for _, value := range bad {
		w.add("SEND", value)
	}
	w.srv.CLI("XADD", "SEND", "*", "other", "field")
	w.add("SEND", rawString(fmt.Sprintf(`{"shard":1,"packet":%s}`, packet(1))))
	w.wait("the good one", func() bool { return f.count() == 1 })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	if n := strings.Count(w.log.String(), "command refused"); n != len(bad)+1 {
		t.Errorf("logged %d times, want %d\n%s", n, len(bad)+1, w.log.String())
	}
	if strings.Contains(w.log.String(), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") {
		t.Error("the log has a large value in it")
	}
}

// What a consumer that has died was given is taken over. Redis emptied in between
// is Redis with groups to be made.
func TestDeadConsumer(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	for i := range 600 {
		w.add("SEND", rawString(fmt.Sprintf(`{"shard":1,"packet":%s}`, packet(i))))
	}
	w.srv.CLI("XGROUP", "CREATE", "SEND", "gateway", "0")
	w.srv.CLI("XREADGROUP", "GROUP", "gateway", "dead", "COUNT", "400", "STREAMS", "SEND", ">")
	f := new(fakeEngine)
	w.read(f, "sluice-0", 200*time.Millisecond)
	w.wait("commands", func() bool { return f.count() >= 600 })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	if f.count() != 600 {
		t.Errorf("%d commands, want 600", f.count())
	}
	w.srv.CLI("FLUSHALL")
	w.wait("groups", func() bool { return strings.Contains(w.srv.CLI("EXISTS", "SEND"), "1") })
	w.add("2", rawString(packet(7)))
	w.wait("a command", func() bool { return f.count() == 601 })
	lines := strings.Count(w.log.String(), "unavailable; reading no commands")
	w.srv.Kill()
	w.wait("word of it", func() bool { return strings.Count(w.log.String(), "unavailable; reading no commands") > lines })
	w.srv.Restart()
	w.wait("groups", func() bool { return strings.Contains(w.srv.CLI("EXISTS", "SEND"), "1") })
	w.add("2", rawString(packet(8)))
	w.wait("another", func() bool { return f.count() == 602 })
}

// shardCommand is command n for a guild of a shard, which goes to SEND.
func shardCommand(shard, n int) string {
	return rawString(fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, (shard+8)<<22, packet(n)))
}

// inOrder reports whether the packets are from, from+1 and so on.
func inOrder(t *testing.T, packets []string, from int) {
	t.Helper()
	for i, p := range packets {
		if p != packet(from+i) {
			t.Fatalf("command %d is %s, want %s", i, p, packet(from+i))
		}
	}
}

// take returns what a shard has got so far.
func (f *fakeEngine) take(shard int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got[shard])
}

// free has what waits for stuck shards sent.
func (f *fakeEngine) free() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sent := range f.sents {
		sent()
	}
	f.sents = nil
}

// 2,500 commands for a shard that is not ready hold up no other, in SEND, in its own stream
// or in gateway_send. What it does not hold stays with Redis, over a restart too, and
// comes in order when it is ready.
func TestCommandsOfAStuckShard(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	const all = 2500
	for i := range all {
		w.add("SEND", shardCommand(1, i))
	}
	w.add("1", rawString(packet(9999)))
	f := &fakeEngine{stuck: map[int]bool{1: true}}
	stop := w.read(f, "sluice-0", time.Minute)
	for i := range 100 {
		w.add("SEND", shardCommand(2, i))
		w.add("3", rawString(packet(i)))
		w.add("gateway_send", fmt.Sprintf(`{"shardId":0,"payload":%s}`, packet(i)))
	}
	for _, shard := range []int{0, 2, 3} {
		w.wait("commands of other shards", func() bool { return len(f.take(shard)) == 100 })
		inOrder(t, f.take(shard), 0)
	}
	if n := len(f.take(1)); n > maxShardHeld {
		t.Errorf("the shard was given %d, want at most %d", n, maxShardHeld)
	}
	w.wait("acknowledgements of the others", func() bool { return w.pending("SEND", "gateway_send", "3", "1") <= all+1 })
	if n := w.pending("SEND"); n != all {
		t.Errorf("%d commands are pending, want %d", n, all)
	}
	stop() // nothing of it was sent

	f = &fakeEngine{stuck: map[int]bool{1: true}}
	w.read(f, "sluice-0", time.Minute)
	w.add("SEND", shardCommand(2, 0))
	w.wait("a command of another shard", func() bool { return len(f.take(2)) == 1 })
	w.wait("as much as the shard holds", func() bool { return len(f.take(1)) == maxShardHeld })
	for len(f.take(1)) < all+1 {
		n := len(f.take(1))
		f.free()
		w.wait("more", func() bool { return len(f.take(1)) >= min(n+maxShardHeld/2, all+1) })
	}
	f.free()
	got := slices.DeleteFunc(f.take(1), func(p string) bool { return p == packet(9999) })
	inOrder(t, got, 0)
	if len(got) != all {
		t.Errorf("%d commands, want %d", len(got), all)
	}
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
}

// What a living process holds for long is not taken over by another, which would send
// it twice.
func TestHeldCommandsAreNotClaimed(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	f := &fakeEngine{stuck: map[int]bool{1: true}}
	const timeout = 4 * time.Second // a process that is held up for most of it does not count as dead
	w.read(f, "sluice-0", timeout)
	w.add("SEND", shardCommand(1, 0))
	w.wait("a command", func() bool { return f.count() == 1 })
	other := new(fakeEngine)
	w.read(other, "sluice-4", timeout)
	idle := func() string { return w.srv.CLI("XPENDING", "SEND", "gateway", "-", "+", "10") }
	looked := func() (n int) { // how often the two have looked for what they might claim
		for line := range strings.Lines(w.srv.CLI("INFO", "commandstats")) {
			fmt.Sscanf(line, "cmdstat_xautoclaim:calls=%d,", &n)
		}
		return n / len(allStreams)
	}
	// Each looks three times in the timeout: they have for two of it.
	for i, begin := 0, looked(); looked() < begin+2*3*2; i++ {
		w.add("SEND", shardCommand(2, i))
		w.wait("another", func() bool { return f.count()+other.count() >= 2+i })
		if !strings.Contains(idle(), "sluice-0") {
			t.Fatalf("taken over: %s", idle())
		}
	}
	f.free()
	w.wait("acknowledgements", func() bool { return w.pending("SEND") == 0 })
	if got := len(f.take(1)) + len(other.take(1)); got != 1 {
		t.Errorf("it was sent %d times", got)
	}
}

// A stream in which nothing can be put is no reason to hold up other shards.
func TestForwardRefused(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	w.srv.CLI("SET", "5", "no stream")
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	w.add("SEND", shardCommand(5, 0))
	w.add("SEND", shardCommand(2, 0))
	w.add("SEND", shardCommand(5, 1))
	w.wait("a command of another shard", func() bool { return f.count() == 1 })
	w.wait("a word", func() bool { return strings.Contains(w.log.String(), "command not forwarded") })
	w.srv.CLI("DEL", "5")
	w.wait("both", func() bool { return strings.Count(w.srv.CLI("XRANGE", "5", "-", "+"), "data") == 2 })
	if got := w.srv.CLI("XRANGE", "5", "-", "+"); strings.Index(got, packet(0)) > strings.Index(got, packet(1)) {
		t.Errorf("out of order: %s", got)
	}
	w.wait("acknowledgements", func() bool { return w.pending("SEND") == 0 })
}

// Groups and streams that are deleted while they are read are made again, and no command is
// carried out twice.
func TestGroupDestroyed(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	f := new(fakeEngine)
	w.read(f, "sluice-0", time.Minute)
	for i := range 5 {
		w.add("SEND", rawString(fmt.Sprintf(`{"shard":1,"packet":%s}`, packet(i))))
		w.add("2", rawString(packet(i)))
	}
	w.wait("commands", func() bool { return f.count() == 10 })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	w.srv.CLI("XGROUP", "DESTROY", "SEND", "gateway")
	w.srv.CLI("DEL", "2", "3")
	for _, s := range []string{"SEND", "2", "3"} {
		w.wait("group of "+s, func() bool {
			return strings.Contains(w.srv.CLI("EXISTS", s), "1") && strings.Contains(w.srv.CLI("XINFO", "GROUPS", s), "gateway")
		})
	}
	w.add("SEND", rawString(fmt.Sprintf(`{"shard":1,"packet":%s}`, packet(5))))
	w.add("2", rawString(packet(5)))
	w.add("3", rawString(packet(5)))
	w.wait("commands", func() bool { return f.count() >= 13 })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.got[1]) != 6 || len(f.got[2]) != 6 || len(f.got[3]) != 1 {
		t.Errorf("%d, %d and %d commands, want 6, 6 and 1", len(f.got[1]), len(f.got[2]), len(f.got[3]))
	}
}
