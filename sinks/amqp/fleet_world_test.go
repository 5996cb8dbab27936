//go:build linux

// This file holds what the tests of a fleet's commands share: its members, with queues in place of engines.

package amqp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/sinktest/rabbitmq"
)

const fleetShards = 8

// fleetWorld is a node with several readers of commands, each with an engine.
type fleetWorld struct {
	t        *testing.T
	node     *rabbitmq.Node
	exchange string
	bot      *amqp091.Channel

	mu   sync.Mutex
	sent [fleetShards][]writing // what was written, by whomever
}

// writing is a command that a member has written.
type writing struct {
	n  int
	by *member
}

func newFleetWorld(t *testing.T, node *rabbitmq.Node) *fleetWorld {
	w := &fleetWorld{t: t, node: node, exchange: strings.ReplaceAll(t.Name(), "/", "."), bot: channel(t, dial(t, node.URL()))}
	if err := w.bot.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return w
}

// add publishes a command as a bot does.
func (w *fleetWorld) add(key, body string, change ...func(*amqp091.Publishing)) {
	w.t.Helper()
	p := amqp091.Publishing{Body: appendRaw(nil, []byte(body))}
	for _, c := range change {
		c(&p)
	}
	confirm, err := w.bot.PublishWithDeferredConfirm(w.exchange, key, false, false, p)
	if err != nil || !confirm.Wait() {
		w.t.Fatal("not published", err)
	}
}

func numbered(n int) string { return fmt.Sprintf(`{"op":8,"d":%d}`, n) }

func toShard(shard, n int) string {
	return fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, (shard+fleetShards)<<22, numbered(n))
}

func (w *fleetWorld) written() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sent := range w.sent {
		n += len(sent)
	}
	return n
}

// numbers returns what was written of a shard.
func (w *fleetWorld) numbers(shard int) (all []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sent[shard] {
		all = append(all, s.n)
	}
	return all
}

// empty waits until no queue has anything, ready or unacknowledged.
func (w *fleetWorld) empty() {
	w.t.Helper()
	until(w.t, "acknowledgements", func() bool {
		return w.node.Eval(fmt.Sprintf(`lists:sum([M || [{name, {resource, _, queue, Name}}, {messages, M}] <- rabbit_amqqueue:info_all(<<"/">>, [name, messages]),
			string:prefix(Name, %q) /= nomatch])`, w.exchange+":")) == "0"
	})
}

// member is a process of the fleet: its reader of commands, and in place of its engine queues that are
// written from time to time.
type member struct {
	*trial
	w     *fleetWorld
	proxy *proxy
	end   func() // ends reading, and then nothing is sent any more

	mu        sync.Mutex
	runs      map[int]bool
	queues    map[int][]sinks.Command
	dead      bool // it writes nothing
	untrusted bool
	stuck     map[int]bool
	others    map[int]int // shards whose commands are another shard's, by the shard count before
	counts    *commands.Counts
}

// join starts a member with shards.
func (w *fleetWorld) join(shards ...int) *member {
	w.t.Helper()
	m := &member{w: w, proxy: newProxy(w.t, w.node.Addr), runs: make(map[int]bool), queues: make(map[int][]sinks.Command),
		stuck: make(map[int]bool), counts: commands.NewCounts()}
	m.trial = try(w.t, w.node, Options{URLs: []string{m.proxy.url()}, Exchange: w.exchange, Prefetch: 16})
	for _, s := range shards {
		m.runs[s] = true
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	settled, done, writing := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		m.RelayFleet(ctx, settled, CommandFleet{Shards: m.shards, Trusted: m.trusted}, fleetShards, m.counts, m.send)
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

func (m *member) trusted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.untrusted
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
	if other, is := m.others[c.Shard]; is {
		return &sinks.NotLocalError{Shard: other}
	}
	switch {
	case c.Shard >= fleetShards:
		return errors.New("no such shard")
	case !m.runs[c.Shard]:
		return &sinks.NotLocalError{Shard: c.Shard}
	case len(m.queues[c.Shard]) >= 10:
		return sinks.ErrQueueFull
	}
	c.Packet = slices.Clone(c.Packet)
	m.queues[c.Shard] = append(m.queues[c.Shard], c)
	return nil
}

func (m *member) waits(shard int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queues[shard])
}

// write writes a few commands of one of the shards.
func (m *member) write() {
	m.mu.Lock()
	defer m.mu.Unlock()
	shard := rand.IntN(fleetShards)
	for range 1 + rand.IntN(2) {
		q := m.queues[shard]
		if len(q) == 0 || m.dead || m.stuck[shard] {
			return
		}
		var n int
		fmt.Sscanf(string(q[0].Packet), `{"op":8,"d":%d}`, &n)
		m.w.mu.Lock()
		m.w.sent[shard] = append(m.w.sent[shard], writing{n, m})
		m.w.mu.Unlock()
		q[0].Sent()
		m.queues[shard] = q[1:]
	}
}

func (m *member) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *member) add(shard int) { m.set(func() { m.runs[shard] = true }) }

// remove removes a shard, and drops what waits for it, perhaps but for what is in flight to Discord.
func (m *member) remove(shard int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, shard)
	q := m.queues[shard]
	going := min(len(q), rand.IntN(3))
	for _, c := range q[going:] {
		c.Dropped()
	}
	m.queues[shard] = q[:going]
}

// kill ends a member as SIGKILL does.
func (m *member) kill() {
	m.set(func() { m.dead = true })
	m.proxy.away()
}

// inOrder checks that what was written of each shard is in order and complete: what came by SEND, and what came
// by its own queue. It returns the repeats.
func (w *fleetWorld) inOrder(want [fleetShards]perShard) (repeats []writing) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for shard, sent := range w.sent {
		var next perShard
		for i, s := range sent {
			switch {
			case s.n == next.shared:
				next.shared++
			case s.n == direct+next.own:
				next.own++
			case s.n < next.shared || direct <= s.n && s.n < direct+next.own:
				first := slices.IndexFunc(sent, func(o writing) bool { return o.n == s.n })
				repeats = append(repeats, sent[first])
			default:
				w.t.Fatalf("shard %d: command %d is %d, want %d or %d", shard, i, s.n, next.shared, direct+next.own)
			}
		}
		if next != want[shard] {
			w.t.Errorf("shard %d: %+v came, want %+v", shard, next, want[shard])
		}
	}
	return repeats
}

// perShard counts the commands of a shard that were added to SEND, and to its own queue: these are numbered from direct on.
type perShard struct{ shared, own int }

const direct = 1_000_000

// flood adds commands to all queues, until it returns want and closes added.
func (w *fleetWorld) flood(all int) (want *[fleetShards]perShard, added chan struct{}) {
	want, added = new([fleetShards]perShard), make(chan struct{})
	go func() {
		defer close(added)
		for s, more := 0, 0; all > 0; all-- {
			if more--; more < 0 { // several at a time: those behind one that comes back must not overtake it
				s, more = rand.IntN(fleetShards), rand.IntN(8)
				time.Sleep(time.Duration(rand.Int64N(int64(16 * time.Millisecond))))
			}
			switch rand.IntN(4) {
			case 0:
				w.add(strconv.Itoa(s), numbered(direct+want[s].own))
				want[s].own++
				continue
			case 1:
				w.add("SEND", fmt.Sprintf(`{"shard":%d,"packet":%s}`, s, numbered(want[s].shared)))
			default:
				w.add("SEND", toShard(s, want[s].shared))
			}
			want[s].shared++
		}
	}()
	return want, added
}

// declared waits until all queues are there.
func (w *fleetWorld) declared() {
	w.t.Helper()
	for _, key := range []string{"SEND", "0", "1", "2", "3", "4", "5", "6", "7"} {
		w.read(key, 1)
	}
}

// read waits until a queue has so many consumers.
func (w *fleetWorld) read(key string, consumers int) {
	w.t.Helper()
	tr := &trial{node: w.node, Sink: &Sink{o: Options{Exchange: w.exchange}}}
	until(w.t, "a queue that is read", func() bool { q, err := tr.inspect(key); return err == nil && q.Consumers == consumers })
}

// nodeLog returns what the node has logged.
func (w *fleetWorld) nodeLog() (text string) {
	files, _ := filepath.Glob(filepath.Join(w.node.Dir, "log", "*.log"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		text += string(b)
	}
	return text
}
