//go:build linux

// This file tests the commands of a fleet, whose shards move.

package amqp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/commands"
	"sluice/sinks/sinktest/rabbitmq"
)

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

// What was sent when the connection was lost, before its acknowledgement had arrived, is redelivered, and is not sent
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

// A shard's queue is full, and RabbitMQ refuses what is forwarded to it. Whoever leaves SEND then leaves the command there,
// to the next one.
func testFleetFull(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	a := w.join(0)
	w.read("SEND", 1)
	for i := range 2 { // the queue is declared by the first
		w.add("SEND", toShard(5, i))
	}
	until(t, "forwarding", func() bool { q, err := a.inspect("5"); return err == nil && q.Messages == 2 })
	node.Ctl("set_policy", "full", "^"+w.exchange+":5$", `{"max-length":2,"overflow":"reject-publish"}`)
	refused := func() bool {
		probe, err := w.bot.PublishWithDeferredConfirm(w.exchange, "5", false, false, amqp091.Publishing{Body: appendRaw(nil, []byte("no command"))})
		return err == nil && !probe.Wait()
	}
	until(t, "the policy", refused)
	w.add("SEND", toShard(5, 2))
	until(t, "the command in flight", func() bool {
		for _, st := range a.counts.Status() {
			if st.Source == commands.Send && st.Received == 3 {
				return true
			}
		}
		return false
	})
	a.set(func() { delete(a.runs, 0) })
	until(t, "the command given back", func() bool { q, err := a.inspect("SEND"); return err == nil && q.Messages == 1 && q.Consumers == 0 })
	node.Ctl("clear_policy", "full")
	w.join(0, 5)
	until(t, "commands", func() bool { return w.written() >= 3 })
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

// A command in a shard's own queue that is another shard's, since whoever has published it goes by the shard count before, is
// forwarded.
func testFleetCountBefore(t *testing.T, node *rabbitmq.Node) {
	w := newFleetWorld(t, node)
	m := w.join(0, 1, 2, 3)
	m.set(func() { m.others = map[int]int{1: 5} })
	w.join(4, 5, 6, 7)
	w.declared()
	for n := range 20 {
		w.add("1", numbered(n))
	}
	until(t, "the commands", func() bool { return w.written() == 20 })
	w.empty()
	if got := w.numbers(5); len(got) != 20 || !slices.IsSorted(got) {
		t.Errorf("shard 5 has sent %d", got)
	}
}
