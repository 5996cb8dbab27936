//go:build unix

// This file tests a member that joins its fleet and cannot start.

package cli

import (
	"net"
	"strings"
	"testing"
	"time"

	"sluice/sinks/sinktest/redistest"
)

// A process that joins, and then cannot start, leaves: others do not wait for its death. Nothing of it stays connected.
func TestMemberThatCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	redis := redistest.Start(t)
	got := runCommand([]string{
		"DISCORD_TOKEN=MTIzNDU2Nzg5MDEyMzQ1Njc4.AAAAAA.bbbbbbbbbbbbbbbbbbbbbbbbbbb", "DISCORD_SHARD_IDS=auto", "DISCORD_SHARD_COUNT=4", "BROKER_TYPE=redis", "REDIS_URL=" + redis.Addr,
		"HTTP_ADDRESS=" + taken.Addr().String(), "SHARD_STORE_TYPE=redis",
	})
	if got.code == exitOK || !strings.Contains(got.stderr, "address already in use") {
		t.Fatalf("%d: %s", got.code, got.stderr)
	}
	joined := false
	for _, key := range strings.Fields(redis.CLI("keys", "*sluice:*")) {
		if strings.HasSuffix(key, ":plan") {
			joined = true
		}
		if strings.HasSuffix(key, ":members") {
			t.Errorf("members: %s", redis.CLI("hgetall", key))
		}
	}
	if !joined {
		t.Fatalf("it has not joined: %s", got.stderr)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		clients := redis.CLI("client", "list")
		if n := strings.Count(clients, "id="); n <= 1 { // this one
			return
		} else if time.Now().After(end) {
			t.Fatalf("%d clients: %s", n, clients)
		}
	}
}
