//go:build linux

// This file tests the sink against a broker that attacks.

package amqp

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/rabbitmq"
)

var hostileFor = flag.Duration("hostile", hostileTime, "how long the broker of testHostile attacks, in all")

// hostileMemory bounds the heap of sinks and attackers together.
const hostileMemory = 512 << 20

// front is where a sink connects: to a broker that attacks, and then to the real one.
type front struct {
	l    net.Listener
	real string

	mu       sync.Mutex
	rng      *rand.Rand
	peaceful bool
	conns    map[net.Conn]struct{}
	taken    map[[2]int64]bool // events that the attacker confirmed
	commands int64
	methods  map[uint32]int // that it sent
	second   time.Time
	accepted int // in that second
	fastest  int // in any second
	all      int
	wg       sync.WaitGroup
}

func newFront(t *testing.T, to string, seed uint64) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{l: l, real: to, rng: rand.New(rand.NewPCG(seed, 5)), conns: make(map[net.Conn]struct{}),
		taken: make(map[[2]int64]bool), methods: make(map[uint32]int)}
	f.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.end()
		f.wg.Wait()
	})
	return f
}

// end ends all connections, and the attacks.
func (f *front) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peaceful = true
	for c := range f.conns {
		c.Close()
	}
}

func (f *front) serve(conn net.Conn) {
	defer conn.Close()
	f.mu.Lock()
	f.conns[conn] = struct{}{}
	f.all++
	if now := time.Now(); now.Sub(f.second) >= time.Second {
		f.second, f.accepted = now, 0
	}
	f.accepted++
	f.fastest = max(f.fastest, f.accepted)
	peaceful := f.peaceful
	seed, life := f.rng.Uint64(), time.Duration(f.rng.IntN(1500))*time.Millisecond
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.conns, conn)
		f.mu.Unlock()
	}()
	if !peaceful {
		a := &assault{conn: conn, rng: rand.New(rand.NewPCG(seed, 6)),
			took: func(shard int, seq int64) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.taken[[2]int64{int64(shard), seq}] = true
			},
			sent: func(method uint32) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.methods[method]++
			},
		}
		a.run(life)
		return
	}
	broker, err := net.Dial("tcp", f.real)
	if err != nil {
		return
	}
	p := &proxy{}
	f.wg.Go(func() { p.copy(broker, conn, new(chan struct{}), new(atomic.Int64), new(atomic.Int64)) })
	p.copy(conn, broker, new(chan struct{}), new(atomic.Int64), new(atomic.Int64))
}

// testHostile has several sinks attacked at once, for the time that the flag says: nothing
// panics, no memory grows without a bound, nothing is tried more than 20 times a second, no
// event is set aside, and with a real broker all arrive in order.
func testHostile(t *testing.T, node *rabbitmq.Node) {
	const sinks, round = 12, 10 * time.Second
	var stop atomic.Bool
	var peak uint64
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for !stop.Load() {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			time.Sleep(20 * time.Millisecond)
		}
	})
	methods := make(map[uint32]int)
	connections, fastest, taken, rounds, commands := 0, 0, 0, 0, int64(0)
	for end := time.Now().Add(*hostileFor); ; rounds++ {
		left := time.Until(end)
		if rounds > 0 && left <= 0 || t.Failed() {
			break
		}
		left = min(left, round)
		var fronts []*front
		t.Run(fmt.Sprint(rounds), func(t *testing.T) {
			var all sync.WaitGroup // t.Parallel has no more at once than there are cores
			for i := range sinks {
				seed := uint64(rounds*sinks + i)
				f := newFront(t, node.Addr, seed)
				fronts = append(fronts, f)
				all.Go(func() { t.Run(fmt.Sprint(seed), func(t *testing.T) { f.besiege(t, node, left) }) })
			}
			all.Wait()
		})
		for _, f := range fronts {
			f.mu.Lock()
			for _, m := range methodNumbers {
				if n := f.methods[m]; n > 0 {
					methods[m] += n
				}
			}
			connections += f.all
			fastest = max(fastest, f.fastest)
			taken += len(f.taken)
			commands += f.commands
			f.mu.Unlock()
		}
	}
	stop.Store(true)
	sampler.Wait()
	t.Logf("%d rounds, %d connections, %d at most of a sink in a second, %d kinds of methods of %d, %d events confirmed by the attacker, %d commands of his, heap %d MiB at most",
		rounds, connections, fastest, len(methods), len(methodNumbers), taken, commands, peak>>20)
	if peak > hostileMemory {
		t.Errorf("the heap had %d MiB", peak>>20)
	}
}

// besiege has a sink attacked for a time.
func (f *front) besiege(t *testing.T, node *rabbitmq.Node, d time.Duration) {
	tr := try(t, node, Options{URLs: []string{"amqp://guest:guest@" + f.l.Addr().String() + "/"}, Window: 64, Prefetch: 8, Heartbeat: time.Second,
		ConnectTimeout: time.Second, Persistent: true,
		DeadLetter: func(ev *sinks.Event, reason error) error {
			t.Errorf("an event is dead-lettered: %v", reason)
			return nil
		}})
	// Its queue is there before.
	direct := try(t, node, Options{Exchange: tr.o.Exchange})
	queue := direct.connect()
	direct.Close()

	ctx, cancel := context.WithCancel(t.Context())
	var commands atomic.Int64
	var running sync.WaitGroup
	running.Go(func() {
		tr.Relay(ctx, nil, []int{0, 1}, 2, nil, func(_ context.Context, c sinks.Command) error {
			commands.Add(1)
			if c.Sent != nil {
				c.Sent()
			}
			return nil
		})
	})
	var over atomic.Bool
	published := make(chan int64)
	running.Go(func() {
		n := int64(0)
		for ; !over.Load(); n += 20 {
			tr.publish(tr.events(20, 4, 10))
		}
		published <- n
	})
	pause(t.Context(), d)
	over.Store(true)
	f.end()
	tr.untilAcked(<-published)
	cancel()
	running.Wait()
	tr.Close()

	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands = commands.Load()
	// Events, commands and replies have a connection each, and a password that seems wrong is
	// tried twice.
	if f.fastest > 3*2*20 {
		t.Errorf("%d connections in a second", f.fastest)
	}
	if n := strings.Count(tr.log.String(), "\n"); n > 60 {
		t.Errorf("%d lines in the log", n)
	}
	seen := make(map[[2]int64]bool)
	last := make(map[int64]int64)
	for _, d := range drain(t, node.URL(), queue) {
		var shard, seq int64
		text := string(d.Body[bytes.IndexByte(d.Body, '"'):])
		if _, err := fmt.Sscanf(text, `"%d %d `, &shard, &seq); err != nil {
			t.Fatalf("%.40q: %v", text, err)
		}
		if ev := [2]int64{shard, seq}; !seen[ev] {
			seen[ev] = true
			if seq < last[shard] {
				t.Fatalf("shard %d: event %d after %d", shard, seq, last[shard])
			}
			last[shard] = seq
		}
	}
	for shard, n := range tr.sent {
		for seq := int64(1); seq <= n; seq++ {
			if ev := [2]int64{int64(shard), seq}; !seen[ev] && !f.taken[ev] {
				t.Fatalf("shard %d: event %d of %d is lost", shard, seq, n)
			}
		}
	}
}
