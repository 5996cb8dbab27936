//go:build linux

// This file holds what the tests against a real broker share: consumers, a proxy
// that cuts and stalls connections, and a log to look into.

package amqp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/sinktest/rabbitmq"
)

// patience bounds every wait. A machine under load may need most of it.
const patience = 2 * time.Minute

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// logbook is a log that can be looked into.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) count(part string) int { return strings.Count(l.String(), part) }

// trial is a sink in a test, with an exchange of its own.
type trial struct {
	*Sink
	t     *testing.T
	node  *rabbitmq.Node
	log   *logbook
	acked atomic.Int64
	sent  map[int]int64 // by shard, how many events
}

// try makes a sink for the node with options, in which URLs, Exchange and Log are
// filled in if they are missing.
func try(t *testing.T, node *rabbitmq.Node, o Options) *trial {
	t.Helper()
	tr := &trial{t: t, node: node, log: new(logbook), sent: make(map[int]int64)}
	if o.URLs == nil {
		o.URLs = []string{node.URL()}
	}
	if o.Exchange == "" {
		o.Exchange = strings.ReplaceAll(t.Name(), "/", ".")
	}
	if o.Log == nil {
		o.Log = logTo(tr.log)
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = patience // a first handshake takes RabbitMQ seconds, on a machine under load many
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	tr.Sink = s
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Logf("stats: %+v, acked %d\nlog:\n%s", s.Status(), tr.acked.Load(), tr.log)
		}
	})
	return tr
}

// forward publishes a command for another process, as the relay does.
func (tr *trial) forward(ctx context.Context, key string, body []byte) error {
	return tr.Sink.publish(ctx, key, tr.forwarded(body), nil)
}

// events returns the n next events, of shards in turn, with at least size bytes each.
func (tr *trial) events(n, shards, size int) []sinks.Event {
	pad := strings.Repeat("x", size)
	all := make([]sinks.Event, n)
	for i := range all {
		shard := i % shards
		tr.sent[shard]++
		seq := tr.sent[shard]
		all[i] = sinks.Event{Shard: shard, Session: "s", Seq: seq, Type: []byte("MESSAGE_CREATE"), Data: fmt.Appendf(nil, `"%d %d %s"`, shard, seq, pad)}
	}
	return all
}

// publish publishes events in batches of 100.
func (tr *trial) publish(events []sinks.Event) {
	tr.t.Helper()
	for len(events) > 0 {
		n := min(len(events), 100)
		if err := tr.Publish(tr.t.Context(), events[:n], func(n int) { tr.acked.Add(int64(n)) }); err != nil {
			tr.t.Error(err)
			return
		}
		events = events[n:]
	}
}

func (tr *trial) untilAcked(n int64) {
	tr.t.Helper()
	until(tr.t, fmt.Sprintf("%d events acknowledged", n), func() bool { return tr.acked.Load() >= n })
	if got := tr.acked.Load(); got != n {
		tr.t.Fatalf("%d events were acknowledged of %d", got, n)
	}
}

// dial returns a plain connection to the node.
func dial(t testing.TB, url string) *amqp091.Connection {
	t.Helper()
	conn, err := amqp091.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func channel(t testing.TB, conn *amqp091.Connection) *amqp091.Channel {
	t.Helper()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// queueOf connects, and makes a durable queue of the exchange for the key.
func (tr *trial) queueOf(key string) (name string) {
	tr.t.Helper()
	if err := tr.Open(tr.t.Context()); err != nil {
		tr.t.Fatal(err)
	}
	ch := channel(tr.t, dial(tr.t, tr.node.URL()))
	name = tr.o.Exchange + ":queue"
	_, err := ch.QueueDeclare(name, true, false, false, false, nil)
	if err == nil {
		err = ch.QueueBind(name, key, tr.o.Exchange, false, nil)
	}
	if err != nil {
		tr.t.Fatal(err)
	}
	return name
}

// connect connects and makes a queue for MESSAGE_CREATE.
func (tr *trial) connect() (queue string) {
	tr.t.Helper()
	return tr.queueOf("MESSAGE_CREATE")
}

// drain takes everything out of a queue, and closes the connection.
func drain(t testing.TB, url, queue string) []amqp091.Delivery {
	t.Helper()
	conn := dial(t, url)
	defer conn.Close()
	ch := channel(t, conn)
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	from, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]amqp091.Delivery, 0, q.Messages)
	for timeout := time.After(patience); len(all) < q.Messages; {
		select {
		case d := <-from:
			all = append(all, d)
		case <-timeout:
			t.Fatalf("the queue gave %d messages of %d", len(all), q.Messages)
		}
	}
	return all
}

// check looks whether the queue has had every event, in the order of each shard, as
// events of the first time each is seen. It returns how many were repeated.
func (tr *trial) check(queue string) (repeated int) {
	tr.t.Helper()
	last := make(map[int]int64)
	for _, d := range drain(tr.t, tr.node.URL(), queue) {
		var shard int
		var seq int64
		text := string(d.Body[bytes.IndexByte(d.Body, '"'):])
		if _, err := fmt.Sscanf(text, `"%d %d `, &shard, &seq); err != nil {
			tr.t.Fatalf("%.40q: %v", text, err)
		}
		switch {
		case seq <= last[shard]:
			repeated++
		case seq == last[shard]+1:
			last[shard] = seq
		default:
			tr.t.Fatalf("shard %d: event %d after %d", shard, seq, last[shard])
		}
	}
	for shard, n := range tr.sent {
		if last[shard] != n {
			tr.t.Errorf("shard %d: %d events of %d", shard, last[shard], n)
		}
	}
	return repeated
}

// proxy stands between a sink and a broker.
type proxy struct {
	addr string // where it listens
	l    net.Listener

	mu             sync.Mutex
	conns          map[net.Conn]struct{}
	gone           bool          // there is no broker, as far as the sink can tell
	stall          chan struct{} // not nil: nothing is passed on until it is closed
	mute           chan struct{} // the same for what the broker says
	copied         atomic.Int64  // bytes to the broker
	beats, answers atomic.Int64  // heartbeats to the broker, and from it
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), l: l, conns: make(map[net.Conn]struct{})}
	t.Cleanup(func() {
		l.Close()
		p.flow()
		p.cut()
	})
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			broker, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			p.mu.Lock()
			if p.gone {
				from.Close()
				broker.Close()
			}
			p.conns[from], p.conns[broker] = struct{}{}, struct{}{}
			p.mu.Unlock()
			go p.copy(broker, from, &p.stall, &p.copied, &p.beats)
			go p.copy(from, broker, &p.mute, new(atomic.Int64), &p.answers)
		}
	}()
	return p
}

func (p *proxy) url() string { return "amqp://guest:guest@" + p.addr + "/" }

// beat is the frame of a heartbeat.
var beat = []byte{frameHeartbeat, 0, 0, 0, 0, 0, 0, frameEnd}

func (p *proxy) copy(to, from net.Conn, stalls *chan struct{}, count, beats *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 1000) // frames are cut anywhere
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		stall := *stalls
		p.mu.Unlock()
		if stall != nil {
			<-stall
		}
		count.Add(int64(n))
		beats.Add(int64(bytes.Count(b[:n], beat))) // one that lies in two reads is not seen
		if _, e := to.Write(b[:n]); e != nil || err != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

// away hides the broker until back.
func (p *proxy) away() {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) back() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = false
}

// hold passes nothing on until flow.
// hold passes nothing on until flow, and hush nothing that the broker says.
func (p *proxy) hold() {
	p.hush()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall = make(chan struct{})
}

func (p *proxy) hush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = make(chan struct{})
}

func (p *proxy) flow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stall := range []*chan struct{}{&p.stall, &p.mute} {
		if *stall != nil {
			close(*stall)
			*stall = nil
		}
	}
}

// canceled returns a context that is done.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// idle waits until the sink has looked at all that was published, and has found nothing to do.
func (tr *trial) idle() {
	tr.t.Helper()
	for range 2 { // of which it may have taken the first at the end of an earlier look
		tr.window.Wake()
		until(tr.t, "the sink to look at its window", func() bool { return len(tr.window.Woken()) == 0 })
	}
}
