// This file is a redis-server of the run's own.

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
)

// redisServer is a broker.
type redisServer struct {
	cmd  *exec.Cmd
	dir  string
	addr string
}

// startRedis starts one on a free port of the loopback.
func startRedis() (*redisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errors.New("load: this scenario needs redis-server: apt-get install redis-server")
	}
	addr, err := freeAddress()
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

func (b *redisServer) pid() int        { return b.cmd.Process.Pid }
func (b *redisServer) address() string { return b.addr }

func (b *redisServer) stop() {
	signalGroup(b.cmd.Process.Pid, syscall.SIGKILL)
	b.cmd.Wait() // killed, as it was told
	os.RemoveAll(b.dir)
}

// allEvents is the stream of all events where they are read: between streams there is
// no order to be checked.
const allEvents = "events"

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

// consume reads the streams. Reading each event would take more of the machine than
// writing it: with count it follows how many there are.
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

// RedisLoop adds entries like the gateway's to a stream at the address, 256 in a
// pipeline and one pipeline after the other, with nothing but rueidis.
func RedisLoop(ctx context.Context, address string) error {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		return err
	}
	defer c.Close()
	value := rueidis.BinaryString(bytes.Repeat([]byte("x"), baselineValue))
	cmds := make([]rueidis.Completed, 256)
	for n := 0; n < baselineEvents; n += len(cmds) {
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
