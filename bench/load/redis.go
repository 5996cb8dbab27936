// This file is the broker of the scenarios with Redis, what arrives there, and what it
// could do by itself.

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
)

// redisKind is Redis.
var redisKind = &brokerKind{missing: redisMissing, start: startRedis, baselines: redisBaselines, events: 1_000_000}

// maxEntries bounds the streams: in a flood nobody reads them.
const maxEntries = 20_000

// redisServer is a redis-server.
type redisServer struct {
	cmd  *exec.Cmd
	dir  string
	addr string
}

func redisMissing() error {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return errors.New("redis-server is needed: apt-get install redis-server")
	}
	return nil
}

// startRedis starts a server on a free port of the loopback.
func startRedis() (broker, error) {
	addr, err := sinktest.Address()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gateway-bench-redis-")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	b := &redisServer{dir: dir, addr: addr}
	b.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	b.cmd.SysProcAttr = ownGroup()
	if err := b.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("load: start redis-server: %w", err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return b, nil
		}
		if time.Now().After(end) {
			b.stop()
			return nil, fmt.Errorf("load: redis-server does not listen: %w", err)
		}
	}
}

func (b *redisServer) stop() {
	signalGroup(b.cmd.Process.Pid, syscall.SIGKILL)
	b.cmd.Wait() // killed, as asked
	os.RemoveAll(b.dir)
}

func (b *redisServer) address() string { return b.addr }

func (b *redisServer) pid() int { return b.cmd.Process.Pid }

// allEvents is the stream of all events where they are read: between streams there is
// no order to be checked.
const allEvents = "events"

// env has all events go to one stream if they are read.
func (b *redisServer) env(count bool) []string {
	env := []string{"BROKER_TYPE=redis", "REDIS_URL=" + b.addr, "REDIS_MAX_LENGTH=" + strconv.Itoa(maxEntries)}
	if !count {
		env = append(env, "REDIS_STREAM="+allEvents, "REDIS_FIELDS=event,shard,seq")
	}
	return env
}

// client returns a client of the broker.
func (b *redisServer) client() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{b.addr}, DisableCache: true, ForceSingleClient: true})
}

func (b *redisServer) consume(ctx context.Context, p *process, count bool) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	go func() {
		defer c.Close()
		read := func() { p.readStream(ctx, c) }
		if count {
			read = func() { p.countStreams(ctx, c) }
		}
		read()
	}()
	return nil
}

// readStream reads the entries of the stream of all events.
func (p *process) readStream(ctx context.Context, c rueidis.Client) {
	last := "0"
	for ctx.Err() == nil {
		got, err := c.Do(ctx, c.B().Xread().Count(1000).Block(50).Streams().Key(allEvents).Id(last).Build()).ToMap()
		if err != nil {
			if !rueidis.IsRedisNil(err) {
				time.Sleep(pollPeriod)
			}
			continue
		}
		now := time.Now()
		entries := got[allEvents]
		list, _ := entries.ToArray() // what Redis answers is one
		p.mu.Lock()
		for _, e := range list {
			entry, _ := e.ToArray()
			last, _ = entry[0].ToString()
			values, _ := entry[1].AsStrSlice() // data, its value, event, its value, shard, its value, seq, its value
			shard, _ := strconv.Atoi(values[5])
			seq, _ := strconv.ParseInt(values[7], 10, 64)
			p.event(shard, seq, now)
		}
		p.mu.Unlock()
	}
}

// countStreams follows the number of entries that were ever added.
func (p *process) countStreams(ctx context.Context, c rueidis.Client) {
	for ctx.Err() == nil {
		var total int64
		var cmds []rueidis.Completed
		for _, name := range sim.EventNames() {
			cmds = append(cmds, c.B().XinfoStream().Key(name).Build())
		}
		for _, r := range c.DoMulti(ctx, cmds...) {
			info, err := r.AsMap()
			if err != nil {
				continue // no such stream yet
			}
			added := info["entries-added"]
			n, _ := added.AsInt64()
			total += n
		}
		p.mu.Lock()
		p.shards[0] = &shardSeen{last: total}
		p.mu.Unlock()
		time.Sleep(pollPeriod)
	}
}

// redisBaselines are a loop that does nothing but pipeline, and redis-benchmark.
func redisBaselines(simulator []string) []Subject {
	value := string(bytes.Repeat([]byte("x"), baselineValue))
	return []Subject{
		{Name: "rueidis, 256 in a pipeline", Baseline: true, Compression: none, Command: []string{simulator[0], "redis-loop", "ADDR", "EVENTS"}},
		{Name: "redis-benchmark -P 256 -c 8", Baseline: true, Compression: none, Command: []string{"redis-benchmark", "-p", "PORT", "-P", "256", "-c", "8",
			"-n", "EVENTS", "-q", "XADD", "MESSAGE_CREATE", "MAXLEN", "~", strconv.Itoa(maxEntries), "*", "data", value}},
	}
}

// RedisLoop adds so many entries like the gateway's to a stream at the address, 256 in
// a pipeline and one pipeline after the other, with nothing but rueidis.
func RedisLoop(ctx context.Context, address string, events int) error {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		return err
	}
	defer c.Close()
	value := rueidis.BinaryString(bytes.Repeat([]byte("x"), baselineValue))
	cmds := make([]rueidis.Completed, 256)
	for n := 0; n < events; n += len(cmds) {
		cmds = cmds[:min(len(cmds), events-n)]
		for i := range cmds {
			cmds[i] = c.B().Xadd().Key("MESSAGE_CREATE").Maxlen().Almost().Threshold(strconv.Itoa(maxEntries)).Id("*").FieldValue().FieldValue("data", value).Build()
		}
		for _, r := range c.DoMulti(ctx, cmds...) {
			if err := r.Error(); err != nil {
				return err
			}
		}
	}
	return nil
}
