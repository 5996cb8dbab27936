// This file is the sink as the engine sees it.

package amqp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/commands"
	"sluice/sinks/window"
)

// Sink publishes events to RabbitMQ. It implements sinks.Opener.
//
// One goroutine at a time may call Publish; the other methods any.
type Sink struct {
	o      Options
	window *window.Window
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	closing    chan struct{}  // closed when Close begins
	forwarding sync.WaitGroup // calls of publish

	addresses []address
	trying    sync.Mutex // held by Open

	mu      sync.Mutex    // of what follows; held shortly
	started bool          // run was started
	begin   *link         // from Open, for run
	link    *link         // the present one, nil if there is none
	changed chan struct{} // closed when link is set
	ended   chan struct{} // closed when run has returned

	lines   limiter
	replies chan botReply // to commands
	rebind  chan struct{} // wakes the check of the topology; holds one
	every   time.Duration // how often that happens otherwise

	stuckAfter time.Duration // how often the log says that the broker takes nothing
	retry      time.Duration // before a message that was refused is published again, the first time

	counts     *commands.Counts // of Relay
	figures    *broker.Figures
	unroutable atomic.Int64 // messages that no queue took
	blockedAt  atomic.Int64 // since when the broker blocks, in nanoseconds since 1970; 0: it does not
}

// New returns a sink. It connects when Open or Publish is called. The error is of
// options that can't be right; it holds no password.
func New(o Options) (*Sink, error) {
	o, addresses, err := o.complete()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Sink{
		o: o, addresses: addresses, window: window.New(o.Window), ctx: ctx, cancel: cancel,
		changed: make(chan struct{}), ended: make(chan struct{}),
		lines: limiter{log: o.Log}, replies: make(chan botReply, maxReplies),
		closing: make(chan struct{}), rebind: make(chan struct{}, 1), every: checkEvery, stuckAfter: logEvery, retry: firstRetry,
		figures: broker.NewFigures(DeadLetterReasons, o.DeadLetter),
	}, nil
}

// Open tries each broker once. After nil the connection is there and is kept. A
// *ConfigError (errors.As) is a mistake that waiting does not mend; after any
// other error, which may be gone the next time, the caller may call Open
// again, or just publish. Once events are published it does nothing.
func (s *Sink) Open(ctx context.Context) error {
	s.trying.Lock()
	defer s.trying.Unlock()
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	if started {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	tried := time.Now()
	l, err := newLink(ctx, &brokers{o: &s.o, addresses: s.addresses}, s)
	if s.ctx.Err() != nil && err != nil {
		return ErrClosed
	}
	if err != nil {
		if ctx.Err() == nil {
			s.figures.Lost(tried, err)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.ctx.Err() != nil {
		l.close()
		return s.ctx.Err()
	}
	s.begin = l
	s.start()
	return nil
}

// start starts run, once. mu is held.
func (s *Sink) start() {
	if !s.started && s.ctx.Err() == nil {
		s.started = true
		go s.run()
	}
}

// Publish takes the events of batch. It waits while Options.Window events are not
// acknowledged, and so for as long as the broker is unavailable. It fails only when ctx
// ends or the sink is closed. What it has taken by then stays borrowed until
// Close, and may still be acknowledged.
func (s *Sink) Publish(ctx context.Context, batch []sinks.Event, acked func(n int)) error {
	s.mu.Lock()
	s.start()
	s.mu.Unlock()
	for {
		if s.ctx.Err() != nil {
			return ErrClosed
		}
		if ctx.Err() != nil {
			return fmt.Errorf("amqp: publish: %w", context.Cause(ctx))
		}
		if batch = batch[s.window.Add(batch, acked):]; len(batch) == 0 {
			return nil
		}
		select {
		case <-s.window.Headroom():
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
}

// Close ends the connection and everything that the sink has started. What is not
// acknowledged by then never will be, and is no longer borrowed.
func (s *Sink) Close() error {
	s.mu.Lock()
	if !s.closes() {
		close(s.closing)
	}
	s.mu.Unlock()
	// A command that the broker has been given to forward would be a duplicate if its confirmation were not awaited.
	late := time.AfterFunc(settleTimeout, s.cancel)
	s.forwarding.Wait()
	late.Stop()
	s.cancel()
	s.mu.Lock()
	started := s.started
	if s.link != nil {
		// run may be in the middle of a write to a broker that does not read.
		s.link.tap.SetWriteDeadline(time.Now().Add(closeTimeout))
	}
	s.mu.Unlock()
	if started {
		<-s.ended
	}
	return nil
}

// closes reports whether Close was called.
func (s *Sink) closes() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// block notes that the broker blocks, or that it does so no more.
func (s *Sink) block(active bool, reason string) {
	if active && s.blocks(reason) {
		s.lines.warn("RabbitMQ blocked; buffering events", "reason", reason)
	}
	if !active {
		if d := s.unblock(); d > 0 {
			s.lines.say(slog.LevelInfo, "RabbitMQ unblocked", "after", d.Round(time.Millisecond))
		}
	}
	s.window.Wake()
}

// blocks notes that the broker blocks. It returns false if that is known.
func (s *Sink) blocks(reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.blockedAt.CompareAndSwap(0, time.Now().UnixNano()) {
		return false
	}
	s.figures.Block(reason)
	return true
}

// unblock notes that the broker does not block. It returns for how long it did.
func (s *Sink) unblock() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.blockedAt.Swap(0)
	if at == 0 {
		return 0
	}
	s.figures.Block("")
	return time.Since(time.Unix(0, at))
}

// setLink makes l, or nil, the present link.
func (s *Sink) setLink(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
	if l != nil {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}
