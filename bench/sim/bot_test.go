// This file is a bot for the tests: a client that survives everything, so that
// what the ledger says about faults can be held against what arrived.

package sim

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"
)

// bot keeps one shard alive until its context ends.
type bot struct {
	t     testing.TB
	d     dialer
	query string
	shard int
	count int

	mu       sync.Mutex
	received []Received
	session  string
	url      string
	seq      int64
}

func (b *bot) run(ctx context.Context) {
	fails := 0
	for ctx.Err() == nil {
		before := len(b.got())
		err := b.connect(ctx, fails)
		if len(b.got()) > before {
			fails = 0
		} else {
			fails++
		}
		if end := (closed{}); errors.As(err, &end) {
			switch end.code {
			case 4003, 4007, 4009:
				b.session = ""
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, 50*time.Millisecond*time.Duration(fails))):
		}
	}
}

// got returns what was received so far.
func (b *bot) got() []Received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.received
}

// connect lives through one connection.
func (b *bot) connect(ctx context.Context, fails int) error {
	url := b.d.srv.GatewayURL()
	if b.session != "" && fails%4 < 3 {
		url = b.url
	}
	c, err := b.d.dial(b.t, url, b.query)
	if err != nil {
		return err
	}
	defer c.drop()
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	defer stop()
	c.nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	var (
		acked   = true
		ackMu   sync.Mutex
		started = make(chan struct{})
		done    = make(chan struct{})
		wg      sync.WaitGroup
	)
	defer wg.Wait()
	defer close(done)
	beat := func(interval time.Duration) {
		defer wg.Done()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			ackMu.Lock()
			zombie := !acked
			acked = false
			ackMu.Unlock()
			if zombie {
				c.nc.Close()
				return
			}
			c.frame(1, []byte(`{"op":1,"d":null}`))
		}
	}
	for {
		m, err := c.next()
		if err != nil {
			return err
		}
		switch m.Op {
		case 10:
			var hello struct {
				Interval int `json:"heartbeat_interval"`
			}
			json.Unmarshal(m.D, &hello)
			select {
			case <-started:
			default:
				close(started)
				wg.Add(1)
				go beat(time.Duration(hello.Interval) * time.Millisecond)
			}
			b.greet(c)
			c.nc.SetReadDeadline(time.Time{})
		case 11:
			ackMu.Lock()
			acked = true
			ackMu.Unlock()
		case 1:
			c.frame(1, []byte(`{"op":1,"d":null}`))
		case 7:
			c.close(4000)
			return nil
		case 9:
			if string(m.D) == "false" {
				b.session = ""
			}
			select {
			case <-done:
			case <-ctx.Done():
				return nil
			case <-time.After(2 * time.Second):
			}
			b.greet(c)
		case 0:
			if m.T == "READY" {
				var r ready
				json.Unmarshal(m.D, &r)
				b.session, b.url, b.seq = r.ID, r.URL, 0
			}
			if m.S > b.seq {
				b.seq = m.S
				b.mu.Lock()
				b.received = append(b.received, received(b.shard, b.session, m))
				b.mu.Unlock()
			}
		}
	}
}

func (b *bot) greet(c *client) {
	msg := identify(b.shard, b.count, allIntents)
	if b.session != "" {
		msg = resume(b.session, b.seq)
	}
	c.frame(1, []byte(msg))
}
