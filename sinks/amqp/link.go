// This file is the connection that events are published on.

package amqp

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/window"
)

// A broker sends confirms by ones and twos. One read for those of confirmPause costs
// less, and a window of patientWindow events or more is not used up meanwhile. Not if each is waited
// for.
const (
	confirmPause  = 2 * time.Millisecond
	patientWindow = 1024
	// forwardSides bounds the commands that are forwarded at once, to as many shards.
	forwardSides = 8
)

// link is one connection with the channel that publishes. It is given up at the
// first trouble: a channel costs about what a connection does.
type link struct {
	conn    *amqp091.Connection
	tap     *tap
	enc     *encoder
	blocked atomic.Bool // the broker asks that nothing be published

	forwards [forwardSides]side // commands for other processes

	once   sync.Once
	err    error         // why it failed; set before failed is closed
	failed chan struct{} // closed at the first failure
	ended  sync.WaitGroup
}

// newLink connects to a broker, declares the exchange, and makes the channel ready.
func newLink(ctx context.Context, b *brokers, s *Sink) (*link, error) {
	l := &link{failed: make(chan struct{})}
	for i := range l.forwards {
		l.forwards[i].busy = make(chan struct{}, 1)
	}
	conn, t, err := b.connect(ctx, func(a *address, conn *amqp091.Connection, t *tap) error {
		ch, err := declareExchange(b.o, a, conn)
		if err != nil {
			return err
		}
		if err := ch.Confirm(false); err != nil {
			return explainOpen(a, b.o.External, err)
		}
		t.replies = func(r []window.Reply) error {
			if !s.window.Confirm(l, r) {
				return errors.New("it replies to a message that was not sent, or twice")
			}
			if s.patient() {
				time.Sleep(confirmPause)
			}
			return nil
		}
		t.returned = func() { s.unroutable.Add(1) }
		t.closed = func(err *closedError) { l.fail(err) }
		l.enc = newEncoder(b.o, t.takeOut(), conn.Config.FrameSize)
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.conn, l.tap = conn, t
	s.figures.Connections.Add(1)
	closes := conn.NotifyClose(make(chan *amqp091.Error, 1))
	t.onPress(func(active bool, reason string) {
		l.blocked.Store(active)
		s.block(active, reason)
	})
	l.ended.Go(func() {
		err, ok := <-closes // until the connection ends
		if fault := t.guard.failed(); fault != nil {
			l.fail(fault) // which amqp091-go makes a text of
		}
		if ok {
			l.fail(err)
		}
		l.fail(amqp091.ErrClosed)
	})
	return l, nil
}

// forward returns the side for a shard's commands.
func (l *link) forward(key string) *side {
	shard, _ := strconv.ParseUint(key, 10, 31) // another key has no order to keep
	return &l.forwards[shard%forwardSides]
}

// patient reports whether confirms may be a little late.
func (s *Sink) patient() bool { return s.o.Window >= patientWindow && !s.window.Watched() }

// fail notes why the link is of no use any more.
func (l *link) fail(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.failed)
	})
}

// failure returns why the link failed, or nil if it has not.
func (l *link) failure() error {
	select {
	case <-l.failed:
		return l.err
	default:
		return nil
	}
}

// close closes the connection and waits for its goroutine.
func (l *link) close() {
	hangUp(l.conn, l.tap, closeTimeout)
	l.ended.Wait()
}
