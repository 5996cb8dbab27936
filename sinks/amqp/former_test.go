//go:build linux

// This file tests the commands of a bot that is resharded to fewer shards.

package amqp

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/sinktest/rabbitmq"
	"sluice/wire"
)

// countedEngine stands in place of an engine that runs shards of one count, and sends at once, or while it is full never.
type countedEngine struct {
	total int
	ids   []int
	full  bool

	mu   sync.Mutex
	sent map[uint64][]string // by guild: the nonces
	lost []error
}

func (e *countedEngine) send(_ context.Context, c sinks.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	parsed, err := wire.ParseCommand(c.Packet)
	if err != nil {
		e.lost = append(e.lost, err)
		return err
	}
	shard := c.Shard
	if c.Guild != 0 {
		shard = wire.ShardOf(c.Guild, e.total)
	}
	if shard >= e.total {
		err := fmt.Errorf("shard %d does not exist", shard)
		e.lost = append(e.lost, err)
		return err
	}
	if parsed.Guild != 0 { // as an engine after a reshard
		shard = wire.ShardOf(parsed.Guild, e.total)
	}
	switch {
	case !slices.Contains(e.ids, shard):
		return &sinks.NotLocalError{Shard: shard}
	case e.full:
		return sinks.ErrQueueFull
	}
	if e.sent == nil {
		e.sent = make(map[uint64][]string)
	}
	var nonce string
	if i := slices.Index(c.Packet, '#'); i >= 0 {
		nonce = string(c.Packet[i+1 : i+5])
	}
	e.sent[parsed.Guild] = append(e.sent[parsed.Guild], nonce)
	c.Sent()
	return nil
}

func (e *countedEngine) count() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sent := range e.sent {
		n += len(sent)
	}
	return n
}

// testFleetFewer has 4 shards after 6: what waits in the queues of 4 and 5, and what still comes there, is sent once, by its guild,
// in order, by one process and in a fleet, and after a restart.
func testFleetFewer(t *testing.T, node *rabbitmq.Node) {
	for _, fleet := range []bool{false, true} {
		t.Run(fmt.Sprint("fleet ", fleet), func(t *testing.T) { fewer(t, node, fleet) })
	}
}

func fewer(t *testing.T, node *rabbitmq.Node, fleet bool) {
	w := newFleetWorld(t, node)
	read := func(e *countedEngine) (stop func()) {
		tr := try(t, node, Options{Exchange: w.exchange, Prefetch: 16})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if fleet {
				f := CommandFleet{Shards: func() []int { return e.ids }, Trusted: func() bool { return true }}
				tr.RelayFleet(ctx, nil, f, e.total, commands.NewCounts(), e.send)
			} else {
				tr.Relay(ctx, nil, e.ids, e.total, commands.NewCounts(), e.send)
			}
		}()
		stop = func() { cancel(); <-done }
		t.Cleanup(stop)
		return stop
	}
	added := 0
	add := func() { // as a bot that goes by 6
		for range 20 {
			for g := range 24 {
				guild := uint64(24+g) << 22
				w.add(strconv.Itoa(g%6), fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","user_ids":["1"],"nonce":"#%04d"}}`, guild, added))
				added++
			}
		}
	}
	stop := read(&countedEngine{total: 6, ids: []int{0, 1, 2, 3, 4, 5}, full: true})
	for _, key := range []string{"SEND", "0", "1", "2", "3", "4", "5"} {
		w.read(key, 1)
	}
	add()
	w.add("4", `{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`)
	stop()
	sent := make(map[uint64][]string)
	before := 0
	for range 2 { // the second is after a restart
		engines := []*countedEngine{{total: 4, ids: []int{0, 1, 2, 3}}}
		if fleet {
			engines = []*countedEngine{{total: 4, ids: []int{0, 1}}, {total: 4, ids: []int{2, 3}}}
		}
		var stops []func()
		for _, e := range engines {
			stops = append(stops, read(e))
		}
		add()
		until(t, "commands", func() bool {
			n := before
			for _, e := range engines {
				n += e.count()
			}
			return n >= added+1
		})
		w.empty()
		for i, stop := range stops {
			stop()
			before += engines[i].count()
			for guild, nonces := range engines[i].sent {
				sent[guild] = append(sent[guild], nonces...)
			}
			if lost := engines[i].lost; len(lost) > 0 {
				t.Errorf("%d were refused, the first since %v", len(lost), lost[0])
			}
		}
	}
	for guild, nonces := range sent {
		if want := 60; guild != 0 && (len(nonces) != want || !slices.IsSorted(nonces)) {
			t.Errorf("guild %d: sent %v, want %d in order", guild>>22, nonces, want)
		}
	}
	if n := len(sent[0]); n != 1 {
		t.Errorf("a presence was sent %d times", n)
	}
}
