//go:build linux

// This file tests what follows when the broker, or the way to it, fails.

package amqp

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/sinktest/rabbitmq"
)

// testNack has a queue that refuses messages while it is full.
func testNack(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	if err := tr.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ch := channel(t, dial(t, node.URL()))
	queue := tr.o.Exchange + ":small"
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{"x-max-length": 10, "x-overflow": "reject-publish"}); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, "MESSAGE_CREATE", tr.o.Exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	go tr.publish(tr.events(50, 1, 10))
	until(t, "a refusal", func() bool {
		st := tr.Status()
		return st.Nacked > 0 && !st.Available && st.Error == errRefused.Error()
	})
	got := 0
	for got < 50 || tr.acked.Load() < 50 {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if ok && d.Body != nil {
			got++
		}
	}
	tr.untilAcked(50)
	until(t, "the broker to count as available", func() bool { return tr.Status().Available })
}

func testExchangeDeleted(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{})
	tr.connect()
	tr.publish(tr.events(1000, 4, 10))
	tr.untilAcked(1000)
	if err := channel(t, dial(t, node.URL())).ExchangeDelete(tr.o.Exchange, false, false); err != nil {
		t.Fatal(err)
	}
	tr.publish(tr.events(1000, 4, 10))
	tr.untilAcked(2000)
	if st := tr.Status(); st.Connections < 2 || st.Resent == 0 {
		t.Errorf("%+v", st)
	}
	if tr.log.count("NOT_FOUND") == 0 {
		t.Errorf("the log does not say what happened")
	}
}

// stream publishes events while disturb disturbs and a little longer, and checks
// that nothing is lost. No more than ahead of them wait, so that the queue is short.
func (tr *trial) stream(queue string, disturb func()) (repeated int) {
	tr.t.Helper()
	const ahead = 2000
	var enough atomic.Bool
	published := make(chan int64)
	go func() {
		n := int64(0)
		for ; !enough.Load(); n += 100 {
			tr.publish(tr.events(100, 4, 200))
			until(tr.t, "acknowledgements", func() bool { return tr.acked.Load() > n-ahead })
		}
		published <- n
	}()
	until(tr.t, "a beginning", func() bool { return tr.acked.Load() > 1000 })
	disturb()
	now := tr.acked.Load()
	until(tr.t, "events after it", func() bool { return tr.acked.Load() > now+1000 })
	enough.Store(true)
	tr.untilAcked(<-published)
	return tr.check(queue)
}

func testCut(t *testing.T, node *rabbitmq.Node) {
	p := newProxy(t, node.Addr)
	tr := try(t, node, Options{URLs: []string{p.url()}, Window: 500})
	queue := tr.connect()
	const each, cuts = cutEvents, 8
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range cuts {
			tr.publish(tr.events(each, 4, 200))
		}
	}()
	for i := range int64(cuts) {
		until(t, "the next part", func() bool { return tr.acked.Load() > i*each+each/2 })
		p.cut()
	}
	<-done
	tr.untilAcked(cuts * each)
	repeated := tr.check(queue)
	st := tr.Status()
	if st.Connections < 1+cuts/2 || int64(repeated) > st.Resent || st.Published != cuts*each {
		t.Errorf("%d repeated, %+v", repeated, st)
	}
}

// testSeveral has a broker that is away and one that is there.
func testSeveral(t *testing.T, node *rabbitmq.Node) {
	p := newProxy(t, node.Addr)
	tr := try(t, node, Options{URLs: []string{"amqp://127.0.0.1:1", p.url(), node.URL()}})
	queue := tr.connect()
	tr.publish(tr.events(100, 1, 10))
	tr.untilAcked(100)
	p.l.Close()
	p.cut()
	tr.publish(tr.events(100, 1, 10))
	tr.untilAcked(200)
	tr.check(queue)
}

// testAlarm has a broker that is short of memory.
func testAlarm(t *testing.T, node *rabbitmq.Node) {
	p := newProxy(t, node.Addr)
	tr := try(t, node, Options{URLs: []string{p.url()}})
	queue := tr.connect()
	tr.publish(tr.events(100, 1, 10))
	tr.untilAcked(100)
	_, stop := tr.listen([]int{1}, false)
	tr.bound("1")
	stop()
	if err := tr.forward(t.Context(), "1", []byte("waiting")); err != nil {
		t.Fatal(err)
	}

	node.Block(true)
	defer node.Block(false)
	tr.publish(tr.events(10, 1, 10)) // a broker blocks who publishes
	until(t, "the broker to block", func() bool { return tr.Status().Blocked })
	until(t, "a line of it", func() bool { return tr.log.count("RabbitMQ blocked; buffering events") > 0 })
	before := p.copied.Load()
	tr.publish(tr.events(1000, 4, 100))
	tr.idle()
	beats := p.beats.Load()
	until(t, "a heartbeat", func() bool { return p.beats.Load() > beats }) // of those that are there for a while
	if n := p.copied.Load() - before; n > 100 {
		t.Errorf("%d bytes were sent to a broker that asked for none", n)
	}
	if st := tr.Status(); st.Pending != 1010 || st.Available || !strings.HasPrefix(st.Error, "blocked: ") || st.Oldest <= 0 {
		t.Errorf("%+v", st)
	}
	l, _ := tr.listen([]int{1}, false)
	until(t, "a command", func() bool { return l.count("1") > 0 })

	node.Block(false)
	tr.publish(tr.events(10_000, 4, 10))
	tr.untilAcked(11_110)
	tr.check(queue)
	if st := tr.Status(); st.Blocked || !st.Available || st.Error != "" || st.Unavailable <= 0 || st.Connections > 1 {
		t.Errorf("%+v", st)
	}
	if n := tr.log.count("RabbitMQ blocked; buffering events"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// testPaused has a broker that does nothing for so long that the connection is given
// up, and connections to it are not answered.
func testPaused(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{Heartbeat: 2 * time.Second, ConnectTimeout: time.Second})
	queue := tr.connect()
	tr.stream(queue, func() {
		node.Pause()
		defer node.Resume()
		until(t, "the end of the connection", func() bool { return !tr.Status().Available })
		until(t, "a failed try", func() bool { return tr.log.count("level=WARN") > 0 })
	})
	until(t, "the end of the outage told", func() bool { return tr.log.count("available again") > 0 })
	// It was silent since the last confirm, and not since the connection was given up.
	if st := tr.Status(); !st.Available || st.Unavailable < time.Second || tr.log.count(" waiting=") == 0 || tr.log.count(" for=0s") > 0 {
		t.Errorf("%+v", st)
	}
}

// testStalled has a way to the broker that does nothing for less time than that.
func testStalled(t *testing.T, node *rabbitmq.Node) {
	p := newProxy(t, node.Addr)
	tr := try(t, node, Options{URLs: []string{p.url()}})
	queue := tr.connect()
	repeated := tr.stream(queue, func() {
		p.hold()
		until(t, "events that wait", func() bool { return tr.Status().Pending > 1000 })
		p.flow()
	})
	if st := tr.Status(); repeated != 0 || st.Resent != 0 || st.Connections > 1 {
		t.Errorf("%d repeated, %+v", repeated, st)
	}
}

func testRestart(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{Persistent: true, Window: 500})
	queue := tr.connect()
	repeated := tr.stream(queue, func() {
		node.Stop()
		until(t, "a warning", func() bool { return tr.log.count("level=WARN") > 0 })
		node.Restart()
	})
	if st := tr.Status(); st.Connections < 2 || int64(repeated) > st.Resent {
		t.Errorf("%d repeated, %+v", repeated, st)
	}
	if tr.log.count("available again") == 0 {
		t.Errorf("the end of the outage is not told")
	}
}

func testKill(t *testing.T, node *rabbitmq.Node) {
	tr := try(t, node, Options{Persistent: true, Window: 500})
	queue := tr.connect()
	node.Settle()
	repeated := tr.stream(queue, func() {
		node.Kill()
		until(t, "a warning", func() bool { return tr.log.count("level=WARN") > 0 })
		node.Restart()
	})
	if st := tr.Status(); st.Connections < 2 || int64(repeated) > st.Resent {
		t.Errorf("%d repeated, %+v", repeated, st)
	}
}

// impatience is how many heartbeats amqp091-go sends in the time that it waits for a sign of
// life: it sends two in the time that was agreed on, and waits for half as long again.
const impatience = 3

// testSilent publishes for longer than amqp091-go waits for a sign of life. The
// broker sends nothing but confirms in that time, which it does not see.
func testSilent(t *testing.T, node *rabbitmq.Node) {
	p := newProxy(t, node.Addr)
	tr := try(t, node, Options{URLs: []string{p.url()}, Heartbeat: 2 * time.Second})
	tr.connect()
	sent := int64(0)
	for ; p.beats.Load() < impatience+1; sent += 10 {
		tr.publish(tr.events(10, 1, 10))
		tr.untilAcked(sent + 10)
	}
	if st := tr.Status(); st.Connections > 1 {
		t.Errorf("%+v\n%s", st, tr.log)
	}
}

// testBlockedWrite has a broker block in the middle of a write, for longer than
// amqp091-go waits for a sign of life: while it can't write a heartbeat it does not
// note those that it reads.
func testBlockedWrite(t *testing.T, node *rabbitmq.Node) {
	p := newProxy(t, node.Addr)
	tr := try(t, node, Options{URLs: []string{p.url()}, Heartbeat: 2 * time.Second})
	queue := tr.connect()
	tr.publish(tr.events(10, 1, 10))
	tr.untilAcked(10)
	node.Block(true)
	defer node.Block(false)
	tr.publish(tr.events(100, 1, 300_000))
	until(t, "the broker to block", func() bool { return tr.Status().Blocked })
	answers := p.answers.Load()
	until(t, "the broker's heartbeats", func() bool { return p.answers.Load() >= answers+impatience+1 })
	if st := tr.Status(); st.Connections > 1 || st.Available || st.Error == "" {
		t.Errorf("%+v", st)
	}
	stuck := try(t, node, Options{Heartbeat: time.Second, Exchange: tr.o.Exchange})
	stuck.publish(stuck.events(100, 1, 300_000))
	until(t, "the broker to block", func() bool { return stuck.Status().Blocked })
	stuck.Close() // ends although the broker reads nothing
	node.Block(false)
	tr.untilAcked(110)
	if n := len(drain(t, node.URL(), queue)); n < 110 {
		t.Errorf("%d messages of 110", n)
	}
}
