//go:build linux

// This file tests the program with consumers that others wrote, as they are.

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

// 100,000 events are read by the libraries of the old gateway's users, in a group of
// their own, and a command that each sends reaches Discord.
func TestForeignConsumers(t *testing.T) {
	dir := installNode(t, "consumers", "redis.mjs")
	name := buildGateway(t)
	for _, library := range []string{"spectacles", "discordjs"} {
		t.Run(library, func(t *testing.T) {
			rec, err := sim.Record(1, 12_500, "zstd-stream")
			if err != nil {
				t.Fatal(err)
			}
			srv := startSim(t, sim.Options{TLS: true, Shards: floodShards, IdentifyWindow: time.Millisecond, Recording: rec, Rate: -1, Seed: 1})
			redis := redistest.Start(t)
			p := startGateway(t, setup{name: name}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr)
			consumer := exec.CommandContext(t.Context(), "node", "redis.mjs", library, redis.Addr, "100000")
			consumer.Dir = dir
			consumer.Env = append(os.Environ(), "EVENTS="+strings.Join(sim.EventNames(), ","))
			out, err := consumer.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte(`"count":100000`)) {
				t.Fatalf("%v\n%s", err, out)
			}
			sent := func() bool {
				for _, c := range srv.Ledger().Commands() {
					if bytes.Contains(c.Raw, []byte(`"nonce":"`+library+`"`)) {
						return true
					}
				}
				return false
			}
			for end := time.Now().Add(20 * time.Second); !sent(); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the command has not reached Discord")
				}
			}
			p.terminate()
			p.exit(0)
		})
	}
}
