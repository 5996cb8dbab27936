//go:build linux

// This file tests the program with Redis as its broker.

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

var (
	brokerEvents   = flag.Int("broker-events", eventsOfBroker, "events for each of 8 shards while the broker is restarted")
	brokerRestarts = flag.Int("broker-restarts", restartsOfBroker, "how often it is")
)

// streamReader reads the entries of the stream "events" as they come, and calls progress with
// their number, if it is not nil.
func streamReader(ctx context.Context, t *testing.T, address string, want int, progress func(n int)) []sim.Received {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var received []sim.Received
	for last := "0"; len(received) < want; {
		got, err := c.Do(ctx, c.B().Xread().Count(1000).Block(100).Streams().Key("events").Id(last).Build()).AsXRead()
		if ctx.Err() != nil {
			t.Errorf("%d of %d events have come", len(received), want)
			return received
		}
		if err != nil {
			if !rueidis.IsRedisNil(err) {
				time.Sleep(20 * time.Millisecond) // it is being restarted
			}
			continue
		}
		for _, e := range got["events"] {
			last = e.ID
			v := e.FieldValues
			shard, _ := strconv.Atoi(v["shard"])
			seq, _ := strconv.ParseInt(v["seq"], 10, 64)
			received = append(received, sim.Received{Shard: shard, Session: v["session"], Seq: seq, Type: v["event"], Hash: sim.Hash([]byte(v["data"]))})
		}
		if progress != nil {
			progress(len(received))
		}
	}
	return received
}

// All events arrive in Redis, once and in order, while it is killed and started
// again.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	rec, err := sim.Record(*brokerEvents, "zstd-stream")
	if err != nil {
		t.Fatal(err)
	}
	srv := startSim(t, sim.Options{TLS: true, Shards: floodShards, IdentifyWindow: time.Millisecond, Recording: rec, Rate: -1, Seed: 1})
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "BROKER_ENCODING=json",
		"REDIS_STREAM=events", "REDIS_FIELDS=event,shard,session,seq", "BROKER_BUFFER=8MiB")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	want := floodShards * (*brokerEvents + 1) // with READY
	restarts := 0
	received := streamReader(ctx, t, redis.Addr, want, func(n int) {
		if restarts < *brokerRestarts && n > want*(restarts+1)/(*brokerRestarts+2) {
			restarts++
			redis.Kill()
			redis.Restart()
		}
	})
	if restarts < *brokerRestarts {
		t.Errorf("it was restarted %d times", restarts)
	}
	r := srv.Ledger().Check(received)
	if r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	if n := strings.TrimSpace(redis.CLI("XLEN", "events")); n != strconv.Itoa(want) {
		t.Errorf("%s entries, want %d", n, want)
	}
	if s := srv.Ledger().Summary(); s.Connects != floodShards {
		t.Errorf("%v", s)
	}
	t.Logf("%v", r)
	p.terminate()
	p.exit(0)
}

// A server that is away for long: the gateway holds what it may, reads no further,
// and keeps its shards alive.
func TestRedisOutage(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		testRedisOutage(t, "")
	})
	t.Run("spool", func(t *testing.T) {
		t.Parallel()
		testRedisOutage(t, filepath.Join(t.TempDir(), "spool"))
	})
}

// testRedisOutage has the events go to a spool when memory is full, if there is one: then
// the shards read on.
func testRedisOutage(t *testing.T, spool string) {
	const shards, heartbeat = 4, stallHeartbeat
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Guilds: -1, Rate: 250, ReplayLimit: 1 << 20,
		HeartbeatInterval: heartbeat, HeartbeatGrace: 30 * time.Second, Seed: 1})
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "BROKER_ENCODING=json",
		"REDIS_STREAM=events", "REDIS_FIELDS=event,shard,session,seq", "BROKER_BUFFER=1MiB", "SPOOL_DIRECTORY="+spool)
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards })
	redis.Kill()
	waitBeats(t, srv, shards)
	if spool != "" {
		size := int64(0)
		names, _ := filepath.Glob(filepath.Join(spool, "*.spool"))
		for _, name := range names {
			if info, err := os.Stat(name); err == nil {
				size += info.Size()
			}
		}
		if behind := srv.Ledger().Summary().Events * 500; size < behind/2 {
			t.Errorf("%d bytes in the spool, want about %d", size, behind)
		}
		t.Logf("%d MiB in %d segments", size>>20, len(names))
	}
	want := silence(srv)
	redis.Restart()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	r := srv.Ledger().Check(streamReader(ctx, t, redis.Addr, want, nil))
	if r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	if s := srv.Ledger().Summary(); s.Connects != shards {
		t.Errorf("a shard that waits is cut: %v", s)
	}
	peak := p.peakMemory()
	t.Logf("%v; %d heartbeats; peak memory %d MiB", r, len(srv.Ledger().Heartbeats()), peak>>20)
	most := 100 << 20
	if spool != "" {
		most = 160 << 20 // what is read from the disk is with Redis in batches of 1 MiB
	}
	if peak > memoryFactor*most {
		t.Errorf("%d MiB of memory with a buffer of 1 MiB", peak>>20)
	}
	p.terminate()
	p.exit(0)
	if names, _ := filepath.Glob(filepath.Join(spool, "*.spool")); spool != "" && len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// peakMemory returns the most resident memory that the program had, in bytes.
func (p *program) peakMemory() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib := 0
	fmt.Sscan(rest, &kib)
	return kib << 10
}

// A server that takes TLS only, asks for a certificate, and has another name than its
// address.
func TestRedisTLS(t *testing.T) {
	t.Parallel()
	name := buildGateway(t)
	files := sinktest.NewCertificates(t)
	port := strconv.Itoa(sinktest.FreePort(t))
	redis := redistest.Start(t, "--tls-port", port, "--tls-cert-file", files.Server, "--tls-key-file", files.ServerKey,
		"--tls-ca-cert-file", files.Authority, "--tls-auth-clients", "yes")
	tls := []string{"BROKER_TYPE=redis", "REDIS_URL=rediss://127.0.0.1:" + port, "REDIS_STREAM=events", "REDIS_FIELDS=event,shard,session,seq", "BROKER_ENCODING=json"}
	certificate := []string{"REDIS_CERT_FILE=" + files.Client, "REDIS_KEY_FILE=" + files.ClientKey}
	trusted := append(append(certificate, "REDIS_CA_FILE="+files.Authority), tls...)
	for _, tt := range []struct {
		env  []string
		text string
	}{
		{append(certificate, tls...), "redis.ca_file"},
		{append(trusted, "REDIS_SERVER_NAME=other.example.com"), "redis.server_name"},
	} {
		p := startGateway(t, setup{name: name}, startSim(t, sim.Options{TLS: true, Shards: 1}), tt.env...)
		p.exit(2)
		if log := p.stderr.String(); !strings.Contains(log, tt.text) {
			t.Errorf("want %s in\n%s", tt.text, log)
		}
	}
	srv := startSim(t, sim.Options{TLS: true, Shards: 1, Guilds: -1}) // or more might come than is counted below
	p := startGateway(t, setup{name: name}, srv, append(trusted, "REDIS_SERVER_NAME=broker.example.com")...)
	waitFor(t, "a session", func() bool { return srv.Ledger().Summary().Sessions == 1 })
	srv.Burst(0, 1000)
	want := silence(srv)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r := srv.Ledger().Check(streamReader(ctx, t, redis.Addr, want, nil)); r.Received != want || r.Lost+r.OutOfOrder+r.Repeated > 0 {
		t.Errorf("%v", r)
	}
	p.terminate()
	p.exit(0)
}

// What is wrong with the broker at the start is told in a line.
func TestRedisMistakes(t *testing.T) {
	t.Parallel()
	name := buildGateway(t)
	srv := startSim(t, sim.Options{TLS: true, Shards: 1})
	redis := redistest.Start(t, "--requirepass", "right")
	for _, tt := range []struct {
		env  []string
		code int
		text string
	}{
		{[]string{"REDIS_URL=redis://:wrong-password@" + redis.Addr}, 2, "redis.urls: WRONGPASS"},
		{[]string{"REDIS_URL=" + redis.Addr}, 2, "redis.urls: NOAUTH"},
		{[]string{"REDIS_URL=redis://:right@" + redis.Addr + "/99"}, 2, "DB index is out of range"},
		{[]string{"REDIS_URL=127.0.0.1:1", "BROKER_REQUIRED=true"}, 1, "broker.required is set"},
	} {
		p := startGateway(t, setup{name: name}, srv, append(tt.env, "BROKER_TYPE=redis")...)
		p.exit(tt.code)
		log := p.stderr.String()
		if !strings.Contains(log, tt.text) || strings.Contains(log, "wrong-password") || strings.Contains(log, "panic") {
			t.Errorf("%v: want %q in\n%s", tt.env, tt.text, log)
		}
	}
}
