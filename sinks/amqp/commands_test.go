//go:build linux

// This file tests the way of commands through a real RabbitMQ.

package amqp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/sinktest/rabbitmq"
)

// listener takes commands.
type listener struct {
	mu   sync.Mutex
	got  map[string][]string // by key
	held []*command
	hold bool
}

// listen reads commands until the test ends or stop is called.
func (tr *trial) listen(shards []int, hold bool) (l *listener, stop func()) {
	l = &listener{got: make(map[string][]string), hold: hold}
	ctx, cancel := context.WithCancel(tr.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tr.commands(ctx, shards, func(c *command) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.got[c.key] = append(l.got[c.key], string(c.body))
			if l.hold {
				l.held = append(l.held, c)
				return
			}
			c.done(nil)
		})
	}()
	stop = func() { cancel(); <-done }
	tr.t.Cleanup(stop)
	return l, stop
}

func (l *listener) count(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got[key])
}

// bound waits until there is a queue for the keys.
func (tr *trial) bound(keys ...string) {
	tr.t.Helper()
	for _, key := range keys {
		until(tr.t, "a queue for "+key, func() bool { return tr.forward(tr.t.Context(), key, []byte("hello")) == nil })
	}
}

func testCommands(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	l, _ := tr.listen([]int{3, 11}, false)
	tr.bound("SEND", "3", "11")
	ch := channel(t, dial(t, node.URL()))
	keys := []string{"SEND", "3", "11"}
	for i := range 1000 {
		for _, key := range keys {
			if err := ch.Publish(tr.o.Exchange, key, false, false, amqp091.Publishing{Body: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range keys {
		until(t, "all commands", func() bool { return l.count(key) >= 1001 })
		l.mu.Lock()
		for i, got := range l.got[key] {
			if want := fmt.Sprint(i - 1); got != want && i > 0 {
				t.Fatalf("%s: command %d is %q, want %q", key, i, got, want)
			}
		}
		l.mu.Unlock()
	}

	for _, key := range keys {
		until(t, "acknowledgements", func() bool { q, err := tr.inspect(key); return err == nil && q.Messages == 0 })
	}
}

func testForward(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{Persistent: true, Expiration: time.Minute})
	queue := tr.connect()
	if err := tr.forward(t.Context(), "7", []byte("x")); !errors.Is(err, errUnroutable) {
		t.Errorf("forward to nobody: %v", err)
	}
	tr.publish(tr.events(1000, 1, 10)) // the two ways of publishing don't disturb each other
	large := strings.Repeat("y", 300_000)
	if err := tr.forward(t.Context(), "MESSAGE_CREATE", []byte(large)); err != nil {
		t.Fatal(err)
	}
	tr.publish(tr.events(1000, 1, 10))
	tr.untilAcked(2000)
	found := 0
	for _, d := range drain(t, node.URL(), queue) {
		if string(d.Body) == large {
			found++
			if d.DeliveryMode != 2 || d.Expiration != "60000" {
				t.Errorf("delivery mode %d, expiration %q", d.DeliveryMode, d.Expiration)
			}
		}
	}
	if found != 1 {
		t.Errorf("the command came %d times", found)
	}
}

// testCommandsCut has the connection cut before commands are done: they come again.
func testCommandsCut(t *testing.T, node *rabbitmq.Node) {
	p := newProxy(t, node.Addr)
	tr := try(t, node, Options{URLs: []string{p.url()}, Prefetch: 5})
	l, _ := tr.listen([]int{1}, true)
	direct := try(t, node, Options{Exchange: tr.o.Exchange})
	direct.bound("1")
	for i := range 10 {
		if err := direct.forward(t.Context(), "1", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a full prefetch", func() bool { return l.count("1") == 5 })
	l.mu.Lock()
	l.hold = false
	l.got = make(map[string][]string)
	l.mu.Unlock()
	p.cut()
	until(t, "all commands", func() bool { return l.count("1") >= 11 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := strings.Join(l.got["1"], " "); got != "hello 0 1 2 3 4 5 6 7 8 9" {
		t.Errorf("after the cut: %s", got)
	}
}

// testSentLate has the engine send a command between the end of reading and its own: it is
// acknowledged, or the next process would send it again.
func testSentLate(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	sent, settled, done := make(chan func(), 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tr.Relay(ctx, settled, []int{0}, 16, nil, func(_ context.Context, c sinks.Command) error {
			sent <- c.Sent
			return nil
		})
	}()
	until(t, "the queue", func() bool {
		q, err := tr.inspect("0")
		return err == nil && q.Consumers == 1
	})
	ch := channel(t, dial(t, node.URL()))
	p := amqp091.Publishing{Body: appendRaw(nil, []byte(`{"op":4,"d":{}}`))}
	if err := ch.Publish(tr.o.Exchange, "0", false, false, p); err != nil {
		t.Fatal(err)
	}
	late := <-sent
	cancel()
	for range 100 { // round trips, in which it could return
		tr.inspect("0")
	}
	select {
	case <-done:
		t.Fatal("Relay has returned while commands can be sent")
	default:
	}
	late()
	close(settled)
	<-done
	if q, err := tr.inspect("0"); err != nil || q.Messages != 0 {
		t.Errorf("%d commands are not acknowledged, %v", q.Messages, err)
	}
}

// testForwardLate has a busy broker confirm what is forwarded some time after the end of reading, with the sink closed
// meanwhile, too, as a gateway that ends does: the command is in one queue then.
func testForwardLate(t *testing.T, node *rabbitmq.Node) {
	for name, end := range map[string]func(*trial){
		"read on": func(*trial) {},
		"closed":  func(tr *trial) { tr.Close() },
	} {
		p := newProxy(t, node.Addr)
		tr := try(t, node, Options{URLs: []string{p.url()}})
		tr.connect()
		direct := try(t, node, Options{Exchange: tr.o.Exchange})
		queue := direct.queueOf("7")
		ch := channel(t, dial(t, node.URL()))
		ctx, cancel := context.WithCancel(t.Context())
		settled, done := make(chan struct{}), make(chan struct{})
		const total = 2 // what the first is forwarded by is there when the second comes
		n := 0
		go func() {
			defer close(done)
			tr.Relay(ctx, settled, []int{0}, 16, nil, func(_ context.Context, c sinks.Command) error {
				if n++; n == total {
					p.hush()
					time.AfterFunc(200*time.Millisecond, func() { // it may be in flight by then, or stays where it is
						cancel()
						end(tr)
						close(settled)
					})
					time.AfterFunc(2*time.Second, p.flow)
				}
				return &sinks.NotLocalError{Shard: c.Shard}
			})
		}()
		direct.bound(commands.Send)
		for i := range total {
			if err := direct.forward(t.Context(), commands.Send, appendRaw(nil, []byte(`{"shard":7,"packet":{"op":4,"d":{}}}`))); err != nil {
				t.Fatal(err)
			}
			until(t, "the first in the other queue", func() bool {
				q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
				return i > 0 || err == nil && q.Messages > 0
			})
		}
		<-done
		q, err := direct.inspect(commands.Send)
		if n := q.Messages + len(drain(t, node.URL(), queue)); err != nil || n != total {
			t.Errorf("%s: of %d commands there are %d, %v", name, total, n, err)
		}
	}
}

// testRelay has commands of all kinds on their way to an engine.
func testRelay(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	queue := tr.queueOf("9")
	var mu sync.Mutex
	var got []string
	full := 2
	counts := commands.NewCounts()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tr.Relay(ctx, nil, []int{0}, 16, counts, func(_ context.Context, c sinks.Command) error {
			mu.Lock()
			defer mu.Unlock()
			if c.Guild == 0 {
				full--
			}
			switch {
			case full >= 0 && c.Guild == 0:
				return sinks.ErrQueueFull
			case c.Guild == 9<<22:
				return &sinks.NotLocalError{Shard: 9}
			case c.Guild == 8<<22:
				return &sinks.NotLocalError{Shard: 8}
			}
			got = append(got, fmt.Sprintf("%d %d %s", c.Guild, c.Shard, c.Packet))
			c.Sent()
			return nil
		})
	}()
	defer func() { cancel(); <-done }()
	const packet = `{"op":4,"d":{}}`
	send := func(guild uint64) string { return fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, guild, packet) }
	ch := channel(t, dial(t, node.URL()))
	replies, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	replied, err := ch.Consume(replies.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A queue is there before it is bound, and bound before it has a consumer.
	until(t, "the queues", func() bool {
		q, err := tr.inspect("0")
		return err == nil && q.Consumers == 1
	})
	for _, c := range []struct{ key, body string }{
		{"SEND", send(16 << 22)},
		{"SEND", "nonsense"},
		{"SEND", send(9 << 22)},
		{"SEND", send(8 << 22)},
		{"0", packet},
	} {
		p := amqp091.Publishing{Body: appendRaw(nil, []byte(c.body)), ReplyTo: replies.Name, CorrelationId: c.body}
		if err := ch.Publish(tr.o.Exchange, c.key, false, false, p); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the commands and the refusals", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == 2 && tr.log.count("command refused") == 2
	})
	slices.Sort(got)
	// The second has been through the queue of its shard, which was full at first.
	if want := []string{"0 0 " + packet, "0 0 " + packet}; !slices.Equal(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
	for range 5 {
		d := <-replied
		good := d.CorrelationId == packet || d.CorrelationId == send(16<<22) || d.CorrelationId == send(9<<22)
		if text := string(d.Body); good != (text == "\x81\xa2ok\xc3") || !good && !strings.HasPrefix(text, "\x82\xa2ok\xc2\xa5error") {
			t.Errorf("%s: the reply is %q", d.CorrelationId, text)
		}
	}
	until(t, "the counts", func() bool { return counts.Status()[1].Given == 2 })
	if st := counts.Status(); len(st) != 2 || st[0].Source != "SEND" || st[0].Received != 4 || st[0].Requeued != 1 || st[0].Forwarded != 1 || st[0].Given != 0 ||
		st[0].Refused[commands.Malformed] != 1 || st[0].Refused[commands.NotLocal] != 1 || st[0].Waiting != 0 ||
		st[1].Source != "shard" || st[1].Received != 2 || st[1].Sent != 2 || st[1].Waiting != 0 || st[1].Waited.Sum <= 0 {
		t.Errorf("the counts: %+v", st)
	}
	if all := drain(t, node.URL(), queue); len(all) != 1 || string(all[0].Body) != "\xaf"+packet {
		t.Errorf("forwarded: %v", all)
	}
	for _, key := range []string{"SEND", "0"} {
		until(t, "acknowledgements", func() bool { q, err := tr.inspect(key); return err == nil && q.Messages == 0 })
	}
}

// stuckEngine takes commands of the shards 0 to 2 of 4, and sends none of shard 1's
// until free. It holds 40 of them.
type stuckEngine struct {
	mu    sync.Mutex
	got   map[int][]string
	sents []func()
}

func (e *stuckEngine) send(_ context.Context, c sinks.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	shard := c.Shard
	if c.Guild != 0 {
		shard = int(c.Guild >> 22 % 4)
	}
	if shard == 1 {
		if len(e.sents) >= 40 {
			return fmt.Errorf("shard 1: %w", sinks.ErrQueueFull)
		}
		e.sents = append(e.sents, c.Sent)
	} else {
		c.Sent()
	}
	e.got[shard] = append(e.got[shard], string(c.Packet))
	return nil
}

// free has what waits for shard 1 sent.
func (e *stuckEngine) free() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sent := range e.sents {
		sent()
	}
	e.sents = nil
}

func (e *stuckEngine) take(shard int) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got[shard])
}

// testStuckShard has hundreds of commands for a shard that is not ready: they hold up no
// other, outlive the relay, and come once and in order, each with its reply.
func testStuckShard(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{Prefetch: 16})
	var counts *commands.Counts
	relay := func() (e *stuckEngine, stop func()) {
		counts = commands.NewCounts()
		e = &stuckEngine{got: make(map[int][]string)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			tr.Relay(ctx, nil, []int{0, 1, 2}, 4, counts, e.send)
		}()
		stop = func() { cancel(); <-done }
		t.Cleanup(stop)
		return e, stop
	}
	e, stop := relay()
	ch := channel(t, dial(t, node.URL()))
	replies, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	replied, err := ch.Consume(replies.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the queues", func() bool {
		q, err := tr.inspect("2")
		return err == nil && q.Consumers == 1
	})
	packet := func(n int) string { return fmt.Sprintf(`{"op":8,"d":%d}`, n) }
	publish := func(key, body string) {
		t.Helper()
		p := amqp091.Publishing{Body: appendRaw(nil, []byte(body)), ReplyTo: replies.Name, CorrelationId: body}
		if err := ch.Publish(tr.o.Exchange, key, false, false, p); err != nil {
			t.Fatal(err)
		}
	}
	send := func(shard, n int) {
		t.Helper()
		publish("SEND", fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, (shard+4)<<22, packet(n)))
	}
	inOrder := func(packets []string) {
		t.Helper()
		for i, p := range packets {
			if p != packet(i) {
				t.Fatalf("command %d is %s", i, p)
			}
		}
	}
	const all = 300
	for i := range all {
		send(1, i)
	}
	for i := range 50 {
		send(2, i)
		publish("0", packet(i))
	}
	for _, shard := range []int{0, 2} {
		until(t, "commands of other shards", func() bool { return len(e.take(shard)) == 50 })
		inOrder(e.take(shard))
	}
	for range 100 {
		if d := <-replied; string(d.Body) != "\x81\xa2ok\xc3" {
			t.Errorf("%s: the reply is %q", d.CorrelationId, d.Body)
		}
	}
	stop() // nothing of shard 1 was sent

	e, _ = relay()
	send(2, 0)
	until(t, "a command of another shard", func() bool { return len(e.take(2)) == 1 })
	<-replied
	for sent := 0; sent < all; {
		until(t, "more", func() bool { return len(e.take(1)) > sent })
		sent = len(e.take(1))
		e.free()
	}
	inOrder(e.take(1))
	corr := map[string]int{}
	for range all {
		d := <-replied
		if corr[d.CorrelationId]++; string(d.Body) != "\x81\xa2ok\xc3" {
			t.Errorf("%s: the reply is %q", d.CorrelationId, d.Body)
		}
	}
	sent, waiting := int64(0), int64(0)
	for _, st := range counts.Status() {
		sent, waiting = sent+st.Sent, waiting+st.Waiting
	}
	if sent != all+1 || waiting != 0 {
		t.Errorf("%d are counted as sent, %d as waiting, want %d and none: %+v", sent, waiting, all+1, counts.Status())
	}
	if len(corr) != all || len(e.take(1)) != all {
		t.Errorf("%d commands and %d replies, want %d", len(e.take(1)), len(corr), all)
	}
	for _, key := range []string{"SEND", "0", "1", "2"} {
		until(t, "acknowledgements", func() bool { q, err := tr.inspect(key); return err == nil && q.Messages == 0 })
	}
}

// inspect returns what the broker says of the queue of commands with that key.
func (tr *trial) inspect(key string) (amqp091.Queue, error) {
	conn, err := amqp091.Dial(tr.node.URL())
	if err != nil {
		return amqp091.Queue{}, err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return amqp091.Queue{}, err
	}
	return ch.QueueDeclarePassive(tr.o.Exchange+":"+key, true, false, false, false, nil)
}
