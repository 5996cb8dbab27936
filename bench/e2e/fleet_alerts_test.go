//go:build linux

// This file has a real Prometheus fire the alerts of a fleet.

package e2e

import (
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// A member that does not come back for its shards, and a Redis that does not answer, make the alerts fire.
func TestFleetAlertsFire(t *testing.T) {
	t.Parallel()
	const shards = 4
	redis := redistest.Start(t, "--appendonly", "yes")
	srv := startSim(t, sim.Options{Shards: shards, IdentifyWindow: time.Millisecond, Rate: 5, Seed: 1})
	gateway, address := buildGateway(t), sinktest.FreeAddress(t)
	member := func(name string, env ...string) *program {
		return startGateway(t, setup{name: gateway}, srv, append(env, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "DISCORD_SHARD_IDS=auto",
			"FLEET_SETTLE=1s", "FLEET_RETURN=10m", "FLEET_MEMBER="+name)...)
	}
	a, b := member("a", "PROMETHEUS_ADDRESS="+address), member("b")
	p := startPrometheus(t, address, quickAlerts(t), "")
	p.wait(`sum(sluice_shard_ready)`, shards/2)
	p.fire([]fault{
		{what: "a member does not come back", alerts: []string{"SluiceFleetShardsUnowned"},
			begin: func() { b.terminate(); b.exit(0) }, end: func() { b = member("b") }},
		{what: "Redis is away", alerts: []string{"SluiceFleetNotConfirmed"}, begin: redis.Kill, end: redis.Restart},
	})
	silence(srv)
	for _, m := range []*program{a, b} {
		m.terminate()
		m.exit(0)
	}
}
