//go:build linux

// This file tests the program with consumers that others wrote, as they are.

package e2e

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

var foreignCount = strconv.Itoa(floodShards * eventsOfForeign)

// Events are read by the libraries of the old gateway's users, in a group of
// their own, and a command that each sends reaches Discord.
func TestForeignConsumers(t *testing.T) {
	t.Parallel()
	dir := installNode(t, "consumers", "redis.mjs", "amqp.mjs")
	name := buildGateway(t)
	events := "EVENTS=" + strings.Join(sim.EventNames(), ",")
	for _, library := range []string{"spectacles", "discordjs"} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			consumer := startConsumer(t, dir, []string{"node", "redis.mjs", library, redis.Addr, foreignCount}, events)
			foreignConsumer(t, name, consumer, library, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr)
		})
	}
	t.Run("spectacles with RabbitMQ", func(t *testing.T) {
		t.Parallel()
		url := sharedVhost(t)
		consumer := startConsumer(t, dir, []string{"node", "amqp.mjs", strings.TrimPrefix(url, "amqp://"), "gateway", foreignCount}, events)
		waitFor(t, "the consumer's queues", func() bool { return strings.Contains(consumer.out.String(), "bound") })
		foreignConsumer(t, name, consumer, "spectacles", "BROKER_TYPE=amqp", "AMQP_URL="+url)
		if out := consumer.out.String(); !strings.Contains(out, `"reply":{"ok":true}`) {
			t.Errorf("the command was answered: %s", out)
		}
	})
}

// foreignConsumer runs the gateway until the consumer has all events and its command
// has reached Discord.
func foreignConsumer(t *testing.T, gateway string, c *consumer, nonce string, env ...string) {
	t.Helper()
	rec, err := sim.Record(eventsOfForeign, "zstd-stream")
	if err != nil {
		t.Fatal(err)
	}
	srv := startSim(t, sim.Options{TLS: true, Shards: floodShards, IdentifyWindow: time.Millisecond, Recording: rec, Rate: -1, Seed: 1})
	p := startGateway(t, setup{name: gateway}, srv, env...)
	select {
	case err := <-c.ended:
		if err != nil || !strings.Contains(c.out.String(), `"count":`+foreignCount) {
			t.Fatalf("%v\n%s", err, c.out.String())
		}
	case <-time.After(patience):
		t.Fatalf("the consumer waits for more:\n%s", c.out.String())
	}
	waitFor(t, "command at Discord", func() bool {
		return slices.ContainsFunc(srv.Ledger().Commands(), func(c sim.Command) bool {
			return bytes.Contains(c.Raw, []byte(`"nonce":"`+nonce+`"`))
		})
	})
	p.terminate()
	p.exit(0)
}
