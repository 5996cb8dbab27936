//go:build unix

// This file tests the commands of a fleet, whose shards move.

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/commands"
)

const fleetShards = 8

// fleetWorld is a server with several readers of commands, each with an engine.
type fleetWorld struct {
	*commandWorld
	timeout atomic.Int64

	mu   sync.Mutex
	sent [fleetShards][]int // by shard: the numbers of what was written, by whomever
	gone map[string]bool
}

func newFleetWorld(t *testing.T) *fleetWorld {
	w := &fleetWorld{commandWorld: newCommandWorld(t), gone: make(map[string]bool)}
	w.timeout.Store(int64(time.Hour))
	return w
}

func (w *fleetWorld) written() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sent := range w.sent {
		n += len(sent)
	}
	return n
}

// member is a process of the fleet: its reader of commands, and in place of its engine queues that are
// written from time to time.
type member struct {
	w      *fleetWorld
	user   string
	end    func() // ends reading, and then nothing is sent any more
	mu     sync.Mutex
	name   string // of its consumer
	runs   map[int]bool
	queues map[int][]sinks.Command
	alive  bool // it writes
	counts *commands.Counts
	stuck  map[int]bool
	others map[int]int // shards whose commands are another shard's, by the shard count before
}

// join starts a member with shards.
func (w *fleetWorld) join(name string, shards ...int) *member {
	w.t.Helper()
	m := &member{w: w, user: name, name: name, runs: make(map[int]bool), queues: make(map[int][]sinks.Command), alive: true, stuck: make(map[int]bool), counts: commands.NewCounts()}
	for _, s := range shards {
		m.runs[s] = true
	}
	option, err := NewClientOption([]string{user(w.t, w.srv, name, "", baseRights, commandRights, fleetCommandRights)}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	settled, done, writing := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ReadCommands(ctx, CommandOptions{Client: option, Group: "gateway", Total: fleetShards, Discordjs: true, Counts: m.counts,
			TimeoutNow: func() time.Duration { return time.Duration(w.timeout.Load()) },
			Fleet:      &CommandFleet{Consumer: m.consumer, Shards: m.shards, Gone: w.isGone},
			Send:       m.send, Settled: settled, Log: logTo(&w.log)})
	}()
	go func() {
		defer close(writing)
		for ctx.Err() == nil {
			m.write()
			time.Sleep(time.Duration(rand.Int64N(int64(4 * time.Millisecond))))
		}
	}()
	m.end = sync.OnceFunc(func() {
		cancel()
		<-writing
		close(settled)
		<-done
	})
	w.t.Cleanup(m.end)
	return m
}

func (w *fleetWorld) isGone(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone[name]
}

func (m *member) consumer() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.name
}

func (m *member) shards() (ids []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.runs {
		ids = append(ids, s)
	}
	slices.Sort(ids)
	return ids
}

func (m *member) send(_ context.Context, c sinks.Command) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	shard := c.Shard
	if c.Guild != 0 {
		shard = int(c.Guild >> 22 % fleetShards)
	}
	if other, is := m.others[shard]; is {
		return &sinks.NotLocalError{Shard: other}
	}
	switch {
	case shard >= fleetShards:
		return errors.New("no such shard")
	case !m.runs[shard]:
		return &sinks.NotLocalError{Shard: shard}
	case len(m.queues[shard]) >= 50:
		return sinks.ErrQueueFull
	}
	c.Packet = slices.Clone(c.Packet)
	m.queues[shard] = append(m.queues[shard], c)
	return nil
}

// write writes a few commands of one of the shards.
func (m *member) write() {
	m.mu.Lock()
	defer m.mu.Unlock()
	shard := rand.IntN(fleetShards)
	for range 1 + rand.IntN(8) {
		q := m.queues[shard]
		if len(q) == 0 || !m.alive || m.stuck[shard] {
			return
		}
		var n int
		fmt.Sscanf(string(q[0].Packet), `{"op":8,"d":%d}`, &n)
		m.w.mu.Lock()
		m.w.sent[shard] = append(m.w.sent[shard], n)
		m.w.mu.Unlock()
		q[0].Sent()
		m.queues[shard] = q[1:]
	}
}

func (m *member) add(shard int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs[shard] = true
}

// remove removes a shard, and drops what waits for it.
func (m *member) remove(shard int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, shard)
	for _, c := range m.queues[shard] {
		c.Dropped()
	}
	delete(m.queues, shard)
}

// kill ends a member that lets go of nothing.
func (m *member) kill() {
	m.mu.Lock()
	m.alive = false
	m.mu.Unlock()
	m.w.srv.CLI("ACL", "SETUSER", m.user, "-xclaim")
	m.end() // what it has written is acknowledged
	m.w.isGoneNow(m.name)
}

func (w *fleetWorld) isGoneNow(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[name] = true
}

// consumers returns the names of a stream's consumers.
func (w *fleetWorld) consumers(stream string) string {
	return w.srv.CLI("XINFO", "CONSUMERS", stream, "gateway")
}

var fleetStreams = []string{"SEND", "gateway_send", "0", "1", "2", "3", "4", "5", "6", "7"}

// Shards move all the time, and members die, some of them with the shard 0: each command arrives once, in the order
// of its stream.
func TestCommandsWhileShardsMove(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t)
	const all, direct = 2000, 1_000_000
	members := []*member{w.join("a", 0, 1, 2), w.join("b", 3, 4, 5), w.join("c", 6, 7)}
	owner := make([]*member, fleetShards)
	for _, m := range members {
		for _, s := range m.shards() {
			owner[s] = m
		}
	}
	var want [fleetShards]struct{ shared, own int }
	added := make(chan struct{})
	go func() {
		defer close(added)
		for range all {
			s := rand.IntN(fleetShards)
			switch rand.IntN(4) {
			case 0:
				w.add(strconv.Itoa(s), rawString(packet(direct+want[s].own)))
				want[s].own++
				continue
			case 1:
				w.add("SEND", rawString(fmt.Sprintf(`{"shard":%d,"packet":%s}`, s, packet(want[s].shared))))
			default:
				w.add("SEND", shardCommand(s, want[s].shared))
			}
			want[s].shared++
			time.Sleep(time.Duration(rand.Int64N(int64(4 * time.Millisecond))))
		}
	}()
	var former []string
	for step := 0; ; step++ {
		select {
		case <-added:
		default:
			s := rand.IntN(fleetShards)
			if step%50 == 24 {
				dies := owner[s]
				if step%100 == 24 {
					dies = owner[0]
				}
				dies.kill()
				members = append(slices.DeleteFunc(members, func(m *member) bool { return m == dies }), w.join(fmt.Sprint("d", step)))
				for s := range owner {
					if owner[s] == dies {
						owner[s] = members[rand.IntN(len(members))]
						owner[s].add(s)
					}
				}
			}
			if m := owner[s]; step%50 == 40 { // it was deposed, and joins again
				for s := range owner {
					if owner[s] == m {
						m.remove(s)
					}
				}
				m.mu.Lock()
				former = append(former, m.name)
				m.name += "again"
				m.mu.Unlock()
				for s := range owner {
					if owner[s] == m {
						owner[s] = members[rand.IntN(len(members))]
						owner[s].add(s)
					}
				}
			}
			owner[s].remove(s)
			time.Sleep(time.Duration(rand.Int64N(int64(10 * time.Millisecond))))
			owner[s] = members[rand.IntN(len(members))]
			owner[s].add(s)
			time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
			continue
		}
		break
	}
	w.wait("commands", func() bool { return w.written() >= all })
	w.wait("acknowledgements", func() bool { return w.pending(fleetStreams...) == 0 })
	for s, sent := range w.sent {
		next := want[s]
		next.shared, next.own = 0, 0
		for i, n := range sent {
			switch n {
			case next.shared:
				next.shared++
			case direct + next.own:
				next.own++
			default:
				t.Fatalf("shard %d: command %d is %d, want %d or %d", s, i, n, next.shared, direct+next.own)
			}
		}
		if next != want[s] {
			t.Errorf("shard %d: %+v came, want %+v", s, next, want[s])
		}
	}
	for _, name := range former {
		w.isGoneNow(name)
	}
	w.timeout.Store(int64(time.Second)) // others' consumers are looked for three times in that
	w.wait("removal of consumers", func() bool {
		return !slices.ContainsFunc(fleetStreams, func(s string) bool {
			for name := range w.gone {
				if strings.Contains(w.consumers(s), "\n"+name+"\n") {
					return true
				}
			}
			return false
		})
	})
	for _, m := range members {
		for _, st := range m.counts.Status() {
			if st.Waiting != 0 {
				t.Errorf("%s, %s: %d commands count as waiting: %+v", m.name, st.Source, st.Waiting, st)
			}
		}
	}
	if len(w.gone) == 0 {
		t.Error("nobody has died")
	}
}

// looks returns how often readers have looked for what they might claim.
func (w *fleetWorld) looks() (n int) {
	for line := range strings.Lines(w.srv.CLI("INFO", "commandstats")) {
		fmt.Sscanf(line, "cmdstat_xautoclaim:calls=%d,", &n)
	}
	return n
}

// What is in flight to Discord when its shard goes is its former owner's until it is sent, and what follows waits.
func TestCommandOnItsWayWhenItsShardGoes(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t)
	a, b := w.join("a", 0, 1), w.join("b", 2)
	a.mu.Lock()
	a.stuck[1] = true
	a.mu.Unlock()
	w.add("1", rawString(packet(0)))
	held := func() (n int) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.queues[1])
	}
	w.wait("a command", func() bool { return held() == 1 })
	a.mu.Lock()
	delete(a.runs, 1)
	a.mu.Unlock()
	b.add(1)
	w.add("1", rawString(packet(1)))
	begin := w.looks()
	w.wait("looks", func() bool { return w.looks() > begin+20 || w.written() > 0 })
	if w.written() != 0 {
		t.Fatalf("written: %v", w.sent)
	}
	a.mu.Lock()
	a.stuck[1] = false
	a.mu.Unlock()
	w.wait("both", func() bool { return w.written() >= 2 && w.pending("SEND", "0", "1", "2") == 0 })
	if !slices.Equal(w.sent[1], []int{0, 1}) {
		t.Errorf("written: %v", w.sent[1])
	}
}

// A member that ends lets go of what it has not sent, and what a shard that nobody runs is sent waits for its next owner.
func TestCommandsOfAMemberThatEnds(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t)
	a, b := w.join("a", 0, 1), w.join("b", 2)
	a.mu.Lock()
	a.stuck[1] = true
	a.mu.Unlock()
	for i := range 40 {
		w.add("SEND", shardCommand(1, i))
	}
	w.wait("commands", func() bool { return w.pending("1") == 40 })
	a.end()
	w.add("SEND", shardCommand(1, 40))
	b.add(0)
	w.wait("a command to be forwarded", func() bool { return strings.Contains(w.srv.CLI("XRANGE", "1", "-", "+"), packet(40)) })
	b.add(1)
	w.wait("commands", func() bool { return w.written() >= 41 && w.pending("SEND", "0", "1", "2") == 0 })
	for i, n := range w.sent[1] {
		if i != n {
			t.Fatalf("command %d is %d", i, n)
		}
	}
	if got := w.consumers("1"); strings.Contains(got, "\na\n") && !strings.Contains(got, "\nb\n") {
		t.Errorf("consumers: %s", got)
	}
}

// A command is forwarded once, though the answer was lost or another consumer has claimed it, and not lost if its
// shard's stream refuses it.
func TestForwardedOnce(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t)
	w.add("SEND", shardCommand(3, 0))
	w.add("SEND", shardCommand(4, 1))
	w.add("SEND", shardCommand(4, 2))
	w.srv.CLI("XGROUP", "CREATE", "SEND", "gateway", "0")
	w.srv.CLI("XREADGROUP", "GROUP", "gateway", "a", "STREAMS", "SEND", ">")
	entries, err := w.bot.Do(t.Context(), w.bot.B().Xrange().Key("SEND").Start("-").End("+").Build()).AsXRange()
	if err != nil {
		t.Fatal(err)
	}
	w.srv.CLI("SET", "no stream", "x")
	forward := func(by string, to ...string) []string {
		var keys []string
		args := []string{"gateway", by, "0"}
		for i, s := range to {
			keys = append(keys, "SEND", s)
			args = append(args, entries[i].ID, "value")
		}
		said, err := forwardScript.Exec(t.Context(), w.bot, keys, args).AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		return said
	}
	for range 2 {
		if said := forward("a", "3"); !slices.Equal(said, []string{""}) {
			t.Errorf("said %q", said)
		}
	}
	if said := forward("b", "3", "4", "4"); !slices.Equal(said, []string{"", "", ""}) {
		t.Errorf("of another's it said %q", said)
	}
	// What follows for the same stream waits.
	if said := forward("a", "3", "no stream", "no stream"); said[0] != "" || !strings.HasPrefix(said[1], "WRONGTYPE") || said[2] != said[1] {
		t.Errorf("of a key that is no stream it said %q", said)
	}
	if n := strings.TrimSpace(w.srv.CLI("XLEN", "3")); n != "1" {
		t.Errorf("forwarded %s times", n)
	}
	if out := w.srv.CLI("EXISTS", "4"); strings.TrimSpace(out) != "0" {
		t.Error("another's was forwarded")
	}
	if n := w.pending("SEND"); n != 2 {
		t.Errorf("%d are pending, want the two that were refused", n)
	}
}

// A shard's stream in which nothing can be put holds up no other shard, and loses nothing and no order.
func TestForwardRefusedInFleet(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t)
	w.srv.CLI("SET", "5", "no stream")
	for i := range 100 {
		w.add("SEND", shardCommand(5, i))
		w.add("SEND", shardCommand(2, i))
	}
	a := w.join("a", 0, 2)
	w.wait("commands of another shard", func() bool { return w.written() == 100 })
	w.wait("a word", func() bool { return strings.Contains(w.log.String(), "command not forwarded") })
	for i := range 10 {
		w.add("SEND", shardCommand(5, 100+i))
	}
	w.srv.CLI("DEL", "5")
	w.wait("forwarding", func() bool { return strings.TrimSpace(w.srv.CLI("XLEN", "5")) == "110" })
	a.add(5)
	w.wait("commands", func() bool { return w.written() == 210 })
	for i, n := range w.sent[5] {
		if i != n {
			t.Fatalf("command %d is %d", i, n)
		}
	}
	if n := strings.Count(w.log.String(), "command not forwarded"); n > 20 {
		t.Errorf("logged %d times", n)
	}
}

// A command in a shard's own stream that is another shard's, since whoever has written it goes by the shard count before, is forwarded.
func TestForwardedByCountBefore(t *testing.T) {
	t.Parallel()
	w := newFleetWorld(t)
	m := w.join("a", 0, 1, 2, 3)
	m.mu.Lock()
	m.others = map[int]int{1: 5}
	m.mu.Unlock()
	w.join("b", 4, 5, 6, 7)
	for n := range 20 {
		w.add("1", rawString(packet(n)))
	}
	w.wait("the commands", func() bool { return w.written() == 20 && w.pending("1") == 0 && w.pending("5") == 0 })
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.sent[5]; len(got) != 20 || !slices.IsSorted(got) {
		t.Errorf("shard 5 has sent %d", got)
	}
}
