//go:build linux

// This file tests the commands of a fleet, whose shards move.

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
		for _, line := range strings.Split(w.node.Ctl("list_queues", "--silent", "name", "messages"), "\n") {
			name, n, _ := strings.Cut(line, "\t")
			if strings.HasPrefix(name, w.exchange+":") && n != "0" {
				return false
			}
		}
		return true
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

// remove removes a shard, and drops what waits for it, perhaps but for what is on its way to Discord.
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

// Shards move all the time, shard 0 among them: each command arrives once, in the order of its queue.
func testFleetCommands(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	const all = 2000
	members := []*member{w.join(0, 1, 2), w.join(3, 4, 5), w.join(6, 7)}
	owner := []*member{0: members[0], members[0], members[0], members[1], members[1], members[1], members[2], members[2]}
	w.declared()
	want, added := w.flood(all)
	for moving := true; moving; {
		select {
		case <-added:
			moving = false
		default:
			s := rand.IntN(fleetShards)
			owner[s].remove(s)
			time.Sleep(time.Duration(rand.Int64N(int64(10 * time.Millisecond))))
			owner[s] = members[rand.IntN(len(members))]
			owner[s].add(s)
			time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
		}
	}
	until(t, "commands", func() bool { return w.written() >= all })
	w.empty()
	if repeats := w.inOrder(*want); len(repeats) > 0 {
		t.Errorf("%d were sent again: %v", len(repeats), repeats[0].n)
	}
	requeued := int64(0)
	for _, m := range members {
		m.end()
		for _, st := range m.counts.Status() {
			if requeued += st.Requeued; st.Waiting != 0 {
				t.Errorf("%s: %d commands count as waiting: %+v", st.Source, st.Waiting, st)
			}
		}
	}
	if requeued == 0 {
		t.Error("none was given back")
	}
}

// Members are killed and cut off: none is lost, and no order. Only what one of these has sent, or forwarded from SEND,
// and not acknowledged in time, is sent again.
func testFleetKilled(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	const all = 1000
	members := []*member{w.join(0, 1, 2), w.join(3, 4, 5), w.join(6, 7)}
	owner := []*member{0: members[0], members[0], members[0], members[1], members[1], members[1], members[2], members[2]}
	w.declared()
	want, added := w.flood(all)
	unlucky := make(map[*member]bool)
	for step, moving := 0, true; moving; step++ {
		select {
		case <-added:
			moving = false
		default:
			m := owner[0]
			if step%2 == 1 {
				m = owner[rand.IntN(fleetShards)]
			}
			unlucky[m] = true
			if step%4 > 1 {
				m.proxy.cut()
			} else {
				m.kill()
				members = append(slices.DeleteFunc(members, func(o *member) bool { return o == m }), w.join())
				for s := range owner {
					if owner[s] == m {
						owner[s] = members[rand.IntN(len(members))]
						owner[s].add(s)
					}
				}
			}
			time.Sleep(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
		}
	}
	until(t, "commands", func() bool { return w.written() >= all })
	w.empty()
	repeats := w.inOrder(*want)
	for _, r := range repeats {
		if r.n >= direct && !unlucky[r.by] {
			t.Errorf("%d was sent again, by a member that has lived", r.n)
		}
	}
	t.Logf("%d of %d were sent again, with %d members that had to do with it", len(repeats), all, len(unlucky))
}

// What was sent when the connection was lost, before its acknowledgement had arrived, comes again, and is not sent
// again: that which has come by SEND. What was not sent is sent.
func testFleetCut(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	a := w.join(1)
	w.join(0, 2, 3, 4, 5, 6, 7)
	w.declared()
	a.set(func() { a.stuck[1] = true })
	for i := range 6 {
		w.add("SEND", toShard(1, i))
	}
	until(t, "commands", func() bool { return a.waits(1) == 6 })
	a.proxy.hold()
	a.set(func() {
		for range 3 {
			m := a.queues[1][0]
			a.queues[1] = a.queues[1][1:]
			m.Sent()
		}
	})
	a.proxy.cut()
	a.proxy.flow()
	until(t, "a connection that has them again", func() bool {
		q, err := a.inspect("1")
		return err == nil && q.Consumers == 1 && q.Messages == 0
	})
	for i := range 3 {
		w.add("SEND", toShard(1, 6+i))
	}
	a.set(func() { a.stuck[1] = false })
	until(t, "commands", func() bool { return w.written() >= 6 })
	w.empty()
	if got := w.numbers(1); !slices.Equal(got, []int{3, 4, 5, 6, 7, 8}) {
		t.Errorf("written after the three that were sent: %v", got)
	}
}

// What is in flight to Discord when its shard goes is its former owner's until it is sent, and what follows waits.
func testFleetInFlight(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	a, b := w.join(0, 1), w.join(2)
	a.set(func() { a.stuck[1] = true })
	w.read("1", 1)
	w.add("1", numbered(0))
	until(t, "a command", func() bool { return a.waits(1) == 1 })
	a.set(func() { delete(a.runs, 1) })
	b.add(1)
	want := []int{0}
	for n := 1; n < 10; n++ {
		w.add("1", numbered(n))
		want = append(want, n)
	}
	tries := func() int { return strings.Count(w.nodeLog(), w.exchange+":1' in vhost '/' in exclusive use") }
	until(t, "tries", func() bool { return tries() >= 3 || w.written() > 0 })
	if w.written() != 0 {
		t.Fatalf("written: %v", w.numbers(1))
	}
	a.set(func() { a.stuck[1] = false })
	until(t, "all", func() bool { return w.written() >= len(want) })
	w.empty()
	if got := w.numbers(1); !slices.Equal(got, want) {
		t.Errorf("written: %v", got)
	}
}

// A member that is not known to be alive leaves its queues, and reads them again when it is.
func testFleetSuspect(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	a := w.join(0, 1)
	keys := []string{"SEND", "0", "1"}
	for _, key := range keys {
		w.read(key, 1)
	}
	a.set(func() { a.untrusted = true })
	for _, key := range keys {
		w.read(key, 0)
	}
	w.add("SEND", toShard(1, 0))
	a.set(func() { a.untrusted = false })
	until(t, "a command", func() bool { return w.written() == 1 })
}

// What a shard that nobody has ever run is sent waits for its owner, and is answered when it is sent. Nonsense is refused.
func testFleetUnrouted(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	a := w.join(0)
	w.read("SEND", 1)
	replies, err := w.bot.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	replied, err := w.bot.Consume(replies.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(p *amqp091.Publishing) { p.ReplyTo, p.CorrelationId = replies.Name, "x" }
	for i := range 30 {
		w.add("SEND", toShard(5, i), ask)
	}
	for _, wrong := range []string{"nonsense", fmt.Sprintf(`{"shard":%d,"packet":{}}`, fleetShards), strings.Repeat("x", maxCommand+1)} {
		w.add("SEND", wrong, ask)
		if d := <-replied; !strings.HasPrefix(string(d.Body), "\x82\xa2ok\xc2\xa5error") {
			t.Errorf("%.40s: the reply is %q", wrong, d.Body)
		}
	}
	until(t, "forwarding", func() bool { q, err := a.inspect("5"); return err == nil && q.Messages == 30 })
	a.end()
	w.join(5)
	for range 30 {
		if d := <-replied; string(d.Body) != "\x81\xa2ok\xc3" {
			t.Errorf("the reply is %q", d.Body)
		}
	}
	w.empty()
	for i, n := range w.numbers(5) {
		if i != n {
			t.Fatalf("command %d is %d", i, n)
		}
	}
}

// A queue that is deleted is declared and read again, and a binding that is removed is restored.
func testFleetQueueDeleted(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	a := w.join(0, 1)
	for i, key := range []string{"SEND", "1"} {
		w.read(key, 1)
		if _, err := w.bot.QueueDelete(w.exchange+":"+key, false, false, false); err != nil {
			t.Fatal(err)
		}
		w.read(key, 1)
		body := numbered(i)
		if key == "SEND" {
			body = toShard(1, i)
		}
		w.add(key, body)
		until(t, "a command", func() bool { return w.written() == i+1 })
	}
	if err := w.bot.QueueUnbind(w.exchange+":1", "1", w.exchange, nil); err != nil {
		t.Fatal(err)
	}
	signal(a.rebind)
	until(t, "the binding", func() bool { return a.forward(t.Context(), "1", appendRaw(nil, []byte(numbered(2)))) == nil })
	until(t, "a command", func() bool { return w.written() >= 3 })
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
