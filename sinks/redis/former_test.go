//go:build unix

// This file tests the commands of a bot that is resharded to fewer shards.

package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/commands"
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

// readFor runs a reader for an engine until stop is called, in a fleet if it has a name there.
func (w *commandWorld) readFor(e *countedEngine, member string) (stop func()) {
	w.t.Helper()
	option, err := NewClientOption([]string{w.address}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	o := CommandOptions{Client: option, Group: "gateway", Consumer: "sluice-0", Shards: e.ids, Total: e.total, Timeout: time.Hour,
		Send: e.send, Counts: w.counts, Log: logTo(&w.log)}
	if member != "" {
		o.Fleet = &CommandFleet{Consumer: func() string { return member }, Shards: func() []int { return e.ids }, Gone: func(string) bool { return false }}
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ReadCommands(ctx, o)
	}()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	return stop
}

func guildPacket(guild uint64, n int) string {
	return fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","user_ids":["1"],"nonce":"#%04d"}}`, guild, n)
}

// After 6 shards there are 4: what waits in the streams of 4 and 5, and what still comes there, is sent once, by its guild,
// in order, by one process and in a fleet, and after a restart.
func TestCommandsOfFewerShards(t *testing.T) {
	t.Parallel()
	for _, fleet := range []bool{false, true} {
		t.Run(fmt.Sprint("fleet ", fleet), func(t *testing.T) {
			t.Parallel()
			w := newCommandWorld(t)
			w.counts = commands.NewCounts()
			added := 0
			add := func() { // as a bot that goes by 6
				for range 20 {
					for g := range 24 {
						guild := uint64(24+g) << 22
						w.add(strconv.Itoa(g%6), rawString(guildPacket(guild, added)))
						added++
					}
				}
			}
			member := func(name string) string {
				if fleet {
					return name
				}
				return ""
			}
			stop := w.readFor(&countedEngine{total: 6, ids: []int{0, 1, 2, 3, 4, 5}, full: true}, member("a"))
			w.wait("streams", func() bool { return w.pending("SEND", "0", "1", "2", "3", "4", "5") >= 0 })
			add()
			w.wait("commands that wait", func() bool { return w.pending("4") > 0 && w.pending("5") > 0 })
			stop()
			w.add("4", rawString(`{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`))
			w.srv.CLI("SET", "6", "no stream")
			sent := make(map[uint64][]string)
			for range 2 { // the second is after a restart
				engines := []*countedEngine{{total: 4, ids: []int{0, 1, 2, 3}}}
				if fleet {
					engines = []*countedEngine{{total: 4, ids: []int{0, 1}}, {total: 4, ids: []int{2, 3}}}
				}
				before := 0
				for _, s := range sent {
					before += len(s)
				}
				var stops []func()
				for i, e := range engines {
					stops = append(stops, w.readFor(e, member(fmt.Sprint("b", i))))
				}
				add()
				w.wait("commands", func() bool {
					n := before
					for _, e := range engines {
						n += e.count()
					}
					return n >= added+1 && w.pending("SEND", "0", "1", "2", "3", "4", "5") == 0
				})
				for i, stop := range stops {
					stop()
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
		})
	}
}
