// This file tests processes that join a fleet, or do not.

package e2e

import (
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

// asked returns what /livez or /readyz answers, 0 if nobody does.
func asked(address, path string) (code int, body string) {
	code, body, err := answered(asker(nil), "GET", "http://"+address+path+"?verbose", "")
	if err != nil {
		return 0, ""
	}
	return code, body
}

// A process that cannot join lives, is not ready, and says why; SIGTERM ends it well. When Redis is there it
// joins by itself. One whose intents are others does not join, and ends with a line that names them.
func TestFleetJoin(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Kill()
	srv := startSim(t, sim.Options{Shards: 2, IdentifyWindow: time.Millisecond})
	gateway := buildGateway(t)
	member := func(name, address string, env ...string) *program {
		return startGateway(t, setup{name: gateway}, srv, append(env, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "DISCORD_SHARD_IDS=auto",
			"DISCORD_SHARD_COUNT=2", "FLEET_MEMBER="+name, "HTTP_ADDRESS="+address)...)
	}
	first, second := freeAddress(t), freeAddress(t)
	p, q := member("p", first), member("q", second)
	for _, address := range []string{first, second} {
		waitFor(t, "a line that says why it is not ready", func() bool {
			code, body := asked(address, "/readyz")
			return code == 503 && strings.Contains(body, "fleet: not joined yet: ") && strings.Contains(body, "connection refused")
		})
		if code, body := asked(address, "/livez"); code != 200 {
			t.Errorf("/livez of a process that waits: %d %q", code, body)
		}
	}
	q.terminate()
	q.exit(0)
	redis.Restart()
	waitFor(t, "member", func() bool {
		code, body := asked(first, "/readyz")
		return code == 200 && strings.Contains(body, "2 of 2 ready")
	})
	odd := member("odd", freeAddress(t), "DISCORD_RAW_INTENTS=1")
	odd.exit(2)
	if text := odd.stderr.String(); !strings.Contains(text, "fleet: intents: 1 here, and ") || !strings.Contains(text, " for member p") {
		t.Errorf("it says\n%s", text)
	}
	p.terminate()
	p.exit(0)
}
