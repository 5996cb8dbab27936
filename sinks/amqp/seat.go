// This file reads one queue of commands in a fleet, for as long as this process is its reader.

package amqp

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/commands"
)

const (
	// firstSeat and lastSeat bound the pause before a queue is asked for again that another process still reads.
	firstSeat = 25 * time.Millisecond
	lastSeat  = time.Second
	// busyFor is how long another may read it before the log says so.
	busyFor = time.Minute
	// heldFor is how long a queue that is left waits for commands which a shard neither sends nor drops, since it can
	// do neither while the coordinator is unavailable.
	heldFor = time.Minute
)

// seat is the place of this process at a queue.
type seat struct {
	r      *fleetRelay
	key    string
	passed *passed
	ctx    context.Context
	leave  context.CancelFunc
	done   chan struct{} // closed when the queue is left
}

// sit has a queue read until leave.
func (r *fleetRelay) sit(key string) *seat {
	s := &seat{r: r, key: key, passed: r.passedOf(key), done: make(chan struct{})}
	s.ctx, s.leave = context.WithCancel(context.Background())
	go func() {
		defer close(s.done)
		s.run()
	}()
	return s
}

func (s *seat) queue() string { return s.r.sink.o.Exchange + ":" + s.key }

// run reads the queue over one channel after another.
func (s *seat) run() {
	retry := firstSeat
	var busy time.Time // since when another reads it
	for s.ctx.Err() == nil {
		c, ch, err := s.r.conns.channel(s.ctx)
		if err != nil {
			return
		}
		given, err := s.read(c, ch)
		s.r.conns.release(c)
		if given {
			retry, busy = firstSeat, time.Time{}
		}
		switch {
		case s.ctx.Err() != nil || err == nil || c.conn.IsClosed():
		case isExclusive(err):
			if busy.IsZero() {
				busy = time.Now()
			} else if time.Since(busy) >= busyFor {
				s.r.sink.lines.warn("RabbitMQ: another process still reads a queue of commands; waiting", "queue", s.queue(), "error", explain(err))
			}
		default:
			s.r.sink.lines.warn("RabbitMQ: a queue of commands is not read; retrying", "queue", s.queue(), "error", explain(err))
		}
		pause(s.ctx, retry)
		retry = min(2*retry, lastSeat)
	}
}

// isExclusive reports whether RabbitMQ has refused a consumer because of another.
func isExclusive(err error) bool {
	var broker *amqp091.Error
	return errors.As(err, &broker) && broker.Code == amqp091.AccessRefused && strings.Contains(broker.Reason, "in exclusive use")
}

// read reads the queue over one channel until this process is its reader no more, and reports whether anything of it was
// carried out.
func (s *seat) read(c *commandConn, ch *amqp091.Channel) (given bool, err error) {
	defer ch.Close()
	o := &s.r.sink.o
	q, err := declareQueue(o, c.at, ch, s.key)
	if err != nil {
		return false, err
	}
	if err := ch.Qos(o.Prefetch, 0, false); err != nil {
		return false, err
	}
	from, err := ch.Consume(q.Name, "", false, true, false, false, amqp091.Table{"x-consumer-timeout": consumerTimeout})
	if err != nil {
		return false, err
	}
	s.r.reads(s.key, true)
	t := &tenure{seat: s, conn: c, changed: make(chan struct{}, 1)}
	t.ctx, t.stop = context.WithCancel(s.ctx)
	defer t.stop()
	t.router = commands.Router{Total: s.r.total, Counts: s.r.sink.counts}
	if s.key != commands.Send {
		t.router.Send = t.send
	}
	deleted := false
	for t.ctx.Err() == nil && !deleted {
		select {
		case d, ok := <-from:
			if deleted = !ok; ok && t.ctx.Err() == nil {
				t.handle(d)
			}
		case <-t.ctx.Done():
		}
	}
	if deleted && !ch.IsClosed() {
		s.r.sink.lines.warn("RabbitMQ: a queue of commands was deleted, with the commands in it; declaring it again", "queue", s.queue())
	}
	s.r.reads(s.key, false)
	t.stop()
	t.settle()
	return t.given, nil
}

// tenure is what is read of a queue over one channel.
type tenure struct {
	*seat
	conn   *commandConn
	router commands.Router
	ctx    context.Context // of what is carried out; it ends when a command has come back, too
	stop   context.CancelFunc
	given  bool // owned by read

	mu       sync.Mutex
	held     int               // commands that the engine has, or that are being forwarded
	writing  int               // acknowledgements
	forwards map[int][]forward // by shard; the first is being forwarded
	changed  chan struct{}     // holds one
}

// settle waits until what is in flight is done with, or can't be.
func (t *tenure) settle() {
	late := time.NewTimer(heldFor)
	defer late.Stop()
	ended, timeout := t.r.ended, late.C
	for held := true; ; {
		t.mu.Lock()
		done := t.writing == 0 && (t.held == 0 || !held)
		t.mu.Unlock()
		if done {
			return
		}
		select {
		case <-t.changed:
		case <-t.conn.gone:
			return
		case <-ended:
			ended, held = nil, false
		case <-timeout:
			if !t.r.fleet.Trusted() {
				held = false
			}
			late.Reset(heldFor)
		}
	}
}

// handle has a command carried out, forwarded, or refused.
func (t *tenure) handle(d amqp091.Delivery) {
	counts := t.r.sink.counts
	h := &held{t: t, d: d, at: time.Now()}
	if size := t.conn.tap.guard.tooLarge(d.ConsumerTag, d.DeliveryTag); size > 0 {
		counts.Received(t.key)
		counts.Refused(t.key, commands.TooLarge)
		h.hold()
		h.Refuse(commands.TooLong(int(size), maxCommand))
		return
	}
	body := d.Body
	h.d.Body = nil // it may be large
	h.hold()
	if t.key == commands.Send {
		counts.Received(t.key)
		t.given = true
		t.router.Route(t.ctx, t.key, body, h)
		return
	}
	t.own(h, body)
}

// own has a command from a shard's own queue carried out. It waits for the shard.
func (t *tenure) own(h *held, body []byte) {
	counts := t.r.sink.counts
	id := h.d.MessageId
	if strings.HasPrefix(id, forwardedPrefix) {
		if t.passed.again(id, h) {
			return
		}
	} else {
		id = ""
	}
	counts.Received(t.key)
	command, err := commands.Parse(t.key, body)
	if err != nil {
		counts.Refused(t.key, commands.Reason(err, command, t.r.total))
		h.Refuse(err)
		return
	}
	end := func(sent bool) {
		for _, h := range t.passed.end(id, h, sent) {
			h.end(sent)
		}
	}
	command.Sent = func() {
		counts.Sent(t.key, h.at)
		end(true)
	}
	command.Dropped = func() {
		counts.Requeued(t.key)
		end(false)
	}
	t.passed.begin(id, h)
	var logged time.Time
	err = t.router.Wait(t.ctx, command, t.conn.gone, func(err error) {
		if time.Since(logged) >= logEvery {
			logged = time.Now()
			t.r.sink.lines.warn("RabbitMQ commands pending; their shard takes no more", "queue", t.queue(), "error", err)
		}
	})
	var other *sinks.NotLocalError
	switch {
	case err == nil:
		counts.Given(t.key)
		t.given = true
	case errors.As(err, &other) && strconv.Itoa(other.Shard) != t.key: // it is by the shard count before
		t.given = true
		for i, h := range t.passed.end(id, h, false) {
			if i == 0 {
				h.Forward(t.ctx, other.Shard, command.Packet)
			} else {
				h.done(nil) // it is the same
			}
		}
	case errors.As(err, &other), errors.Is(err, sinks.ErrQueueFull), !commands.Refused(t.ctx, err):
		counts.Requeued(t.key)
		end(false)
	default:
		counts.Refused(t.key, commands.Reason(err, command, t.r.total))
		for _, h := range t.passed.end(id, h, false) {
			h.Refuse(err)
		}
	}
}

// send gives the engine a command, unless one before it has come back: it would overtake that.
func (t *tenure) send(ctx context.Context, c sinks.Command) error {
	if t.ctx.Err() != nil {
		return &sinks.NotLocalError{Shard: c.Shard}
	}
	return t.r.send(ctx, c)
}

// held is a command that was read and not yet acknowledged. As one of SEND it is a commands.Delivery.
type held struct {
	t  *tenure
	d  amqp091.Delivery
	at time.Time
}

func (h *held) hold() {
	h.t.mu.Lock()
	h.t.held++
	h.t.mu.Unlock()
}

// end has the command acknowledged if it was sent, and otherwise left to the next reader of the queue, with all that
// follow it. It does not wait.
func (h *held) end(sent bool) {
	if sent {
		h.done(nil)
		return
	}
	h.t.stop()
	h.t.count(-1, 0)
}

// done has the command acknowledged, and the bot answered.
func (h *held) done(err error) {
	h.t.count(-1, 1)
	h.t.r.answers.add(answer{h.d, err, func() { h.t.count(0, -1) }})
}

func (t *tenure) count(held, writing int) {
	t.mu.Lock()
	t.held += held
	t.writing += writing
	t.mu.Unlock()
	signal(t.changed)
}

func (h *held) At() time.Time { return h.at }

// Hold lets all of SEND be forwarded.
func (h *held) Hold(int) bool { return true }

func (h *held) Release(int)                        {}
func (h *held) Sent(int)                           {}
func (h *held) Dropped(int)                        {}
func (h *held) Later(context.Context, int, []byte) {}

// Refuse logs why a message is no command, and is done with it.
func (h *held) Refuse(err error) {
	h.t.r.sink.o.Log.Warn("command refused", "queue", h.t.queue(), "error", err)
	h.done(err)
}

// Forward has the command forwarded behind those for the same shard.
func (h *held) Forward(_ context.Context, shard int, packet []byte) {
	t := h.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.forwards == nil {
		t.forwards = make(map[int][]forward)
	}
	t.forwards[shard] = append(t.forwards[shard], forward{held: h, shard: shard, packet: packet, order: t.r.order()})
	if len(t.forwards[shard]) == 1 {
		go t.forward(shard)
	}
}

// forward publishes what is to be forwarded to a shard, one by one: it keeps its order whatever RabbitMQ refuses. When
// the tenure ends, it ends what it has begun.
func (t *tenure) forward(shard int) {
	publishing, stop := context.WithCancel(t.r.publishing)
	defer stop()
	go func() { // what the connection had is handed out again
		select {
		case <-t.conn.gone:
			stop()
		case <-publishing.Done():
		}
	}()
	for {
		t.mu.Lock()
		f := t.forwards[shard][0]
		t.mu.Unlock()
		if t.publish(publishing, f) {
			t.r.sink.counts.Forwarded(t.key)
			f.held.d.ReplyTo = "" // the reply is not due yet
			f.held.done(nil)
		} else {
			t.r.sink.counts.Requeued(t.key)
			f.held.end(false)
		}
		t.mu.Lock()
		rest := t.forwards[shard][1:]
		t.forwards[shard] = rest
		if len(rest) == 0 {
			delete(t.forwards, shard)
		}
		t.mu.Unlock()
		if len(rest) == 0 {
			return
		}
	}
}

// publish publishes a command that is forwarded, and reports whether RabbitMQ has it in a queue.
func (t *tenure) publish(ctx context.Context, f forward) bool {
	key := strconv.Itoa(f.shard)
	for retry := firstRetry; t.ctx.Err() == nil; retry = min(2*retry, lastRetry) {
		err := t.r.sink.publish(ctx, key, f.message(t.r.sink, &f.held.d), func() bool { return t.ctx.Err() != nil })
		if err == nil {
			return true
		}
		if !errors.Is(err, errUnroutable) {
			return false
		}
		if err := t.r.declare(t.conn, key); err != nil {
			t.r.sink.lines.warn("command not forwarded; retrying", "shard", key, "error", explain(err))
		}
		pause(t.ctx, retry)
	}
	return false
}
