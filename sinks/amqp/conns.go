// This file keeps the connections over which a member of a fleet reads commands.

package amqp

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/broker"
)

// maxChannels bounds the channels of a connection: RabbitMQ allows 2,047 by default.
const maxChannels = 1000

// conns are connections whose channels read a queue each. Any goroutine may use them.
type conns struct {
	sink *Sink
	turn chan struct{} // holds one: who has put it there owns what follows

	brokers brokers
	outage  recovery

	mu   sync.Mutex // of what follows
	open []*commandConn
}

// commandConn is one of them.
type commandConn struct {
	at       *address
	conn     *amqp091.Connection
	tap      *tap
	began    time.Time
	channels int           // guarded by the mutex of conns
	gone     chan struct{} // closed with the connection
	err      error         // why; set before gone is closed
}

func newConns(s *Sink) *conns {
	return &conns{sink: s, turn: make(chan struct{}, 1), brokers: brokers{o: &s.o, addresses: s.addresses},
		outage: recovery{Outage: broker.Outage{Log: s.o.Log, Broker: "RabbitMQ", Commands: true}}}
}

// take waits for the turn.
func (p *conns) take(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// channel opens a channel, on a new connection if it has to. It fails only at the end of ctx.
func (p *conns) channel(ctx context.Context) (*commandConn, *amqp091.Channel, error) {
	if err := p.take(ctx); err != nil {
		return nil, nil, err
	}
	defer func() { <-p.turn }()
	for ctx.Err() == nil {
		c, err := p.find(ctx)
		if err == nil {
			var ch *amqp091.Channel
			if ch, err = c.conn.Channel(); err == nil {
				return c, ch, nil
			}
			p.release(c)
			c.tap.Close() // who cannot open one cannot close one either
			<-c.gone
			continue
		}
		if ctx.Err() == nil {
			pause(ctx, p.outage.Failed(explain(err)))
		}
	}
	return nil, nil, context.Cause(ctx)
}

// find returns a connection with a channel more. The turn is the caller's.
func (p *conns) find(ctx context.Context) (*commandConn, error) {
	if c, err := p.lookUp(); c != nil || err != nil {
		return c, err
	}
	return p.dial(ctx)
}

// lookUp is find for those that are there, if one has room. The error is that of one which was lost.
func (p *conns) lookUp() (*commandConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost error
	p.open = slices.DeleteFunc(p.open, func(c *commandConn) bool {
		select {
		case <-c.gone:
			lost = c.err
			return true
		default:
			return false
		}
	})
	if lost != nil {
		return nil, lost
	}
	for _, c := range p.open {
		if c.channels < min(maxChannels, int(c.conn.Config.ChannelMax)-1) { // one for the check of the topology
			c.channels++
			return c, nil
		}
	}
	return nil, nil
}

// dial makes another.
func (p *conns) dial(ctx context.Context) (*commandConn, error) {
	c := &commandConn{gone: make(chan struct{}), began: time.Now(), channels: 1}
	conn, t, err := p.brokers.connect(ctx, func(a *address, conn *amqp091.Connection, t *tap) error {
		t.guard.allow(p.sink.o.Prefetch, maxCommand)
		c.at = a
		ch, err := declareExchange(&p.sink.o, a, conn)
		if err == nil {
			err = ch.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.conn, c.tap = conn, t
	closes := conn.NotifyClose(make(chan *amqp091.Error, 1))
	go func() {
		e := <-closes
		c.err = fmt.Errorf("amqp: the connection for commands: %w", withDefault(e, amqp091.ErrClosed))
		if fault := t.guard.failed(); fault != nil {
			c.err = fmt.Errorf("amqp: the connection for commands: %w", fault)
		}
		close(c.gone)
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, c)
	return c, nil
}

// release is the end of a channel of a connection.
func (p *conns) release(c *commandConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.channels--
}

// any returns a connection that is open, or nil, and ends the outage when that is due. It does not wait.
func (p *conns) any() *commandConn {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		select {
		case <-c.gone:
		default:
			if p.outage.due(time.Since(c.began)) {
				p.outage.end()
			}
			return c
		}
	}
	return nil
}

// hangUp ends all, which are made anew.
func (p *conns) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.tap.Close()
	}
}

// close closes all, when nobody opens any more.
func (p *conns) close() {
	var closing sync.WaitGroup
	for _, c := range p.open {
		closing.Go(func() {
			hangUp(c.conn, c.tap, settleTimeout)
			<-c.gone
		})
	}
	closing.Wait()
}
