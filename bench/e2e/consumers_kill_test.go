//go:build linux

// This file kills the consumers of docs/consumers and the gateway, each or both at once, and compares
// what has come of the events in the consumer's own store with what Discord has sent.

package e2e

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
)

var (
	consumerKills = flag.Int("consumerkills", defaultKills, "how often TestConsumersKilled kills each consumer, or the gateway, or both")
	killSeed      = flag.Uint64("killseed", 1, "of what is killed when in TestConsumersKilled")
)

// doneEvent is an event in a consumer's store, or at the broker: its name, but for its session's shard.
type doneEvent struct {
	event   string
	shard   int
	session string
	seq     int64
}

// killBroker is a broker as a run with kills sees it.
type killBroker interface {
	// gateway and consumer return the environment of each; consumers is how many there are.
	gateway() []string
	consumer(n int) []string
	consumers() int
	// arguments are the names of streams or events for the consumer.
	arguments() []string
	// bound reports whether a consumer that has logged this will get every event from now on.
	bound(log string) bool
	// disturb has a member of the consumer's group take events and die, if there are groups.
	disturb()
	// arrived returns what has arrived at the broker, each once, and where sessions have ended
	// by a GATEWAY_GAP; done what is in the consumer's store, as often as it is there.
	arrived() (events map[doneEvent]bool, ends map[string]int64)
	done() []doneEvent
}

// shortRuns has each language, broker and layout without the tag long.
const shortRuns = "go/redis/default python/redis/one javascript/amqp/default"

// TestConsumersKilled: every event that has come to the broker is processed once, and every gap; and
// none is missing there but those of sessions that Discord has not continued.
func TestConsumersKilled(t *testing.T) {
	gateway := buildGateway(t)
	languages := consumerLanguages(t)
	for _, broker := range []struct {
		name    string
		start   func(t *testing.T, one bool) killBroker
		command func(l consumerLanguage) []string
	}{
		{"redis", newKillRedis, func(l consumerLanguage) []string { return l.redis }},
		{"amqp", newKillAMQP, func(l consumerLanguage) []string { return l.amqp }},
	} {
		for _, l := range languages {
			for _, layout := range []string{"default", "one"} {
				name := strings.Join([]string{l.name, broker.name, layout}, "/")
				if defaultKills < 100 && !strings.Contains(shortRuns, name) {
					continue
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					dir := l.prepare(t)
					killConsumers(t, gateway, dir, broker.command(l), broker.start(t, layout == "one"))
				})
			}
		}
	}
}

// killConsumers is a run.
func killConsumers(t *testing.T, gateway, dir string, command []string, b killBroker) {
	const shards = 4
	srv := startSim(t, sim.Options{
		TLS: true, Shards: shards, Guilds: -1, IdentifyWindow: time.Millisecond, IdentifyTotal: 1 << 30, RESTLimit: 1 << 20,
		ReadyDelay: 20 * time.Millisecond, InvalidSessionDelay: time.Millisecond, Rate: 100, ReplayLimit: 1 << 20, Seed: *killSeed, LargeEvery: -1, LogLimit: 1 << 20,
	})
	rng := rand.New(rand.NewPCG(*killSeed, 0))
	state := filepath.Join(t.TempDir(), "state")
	env := append(b.gateway(), "SHARD_STORE_DIRECTORY="+state, "DISCORD_SHARD_IDENTIFY_RESERVE=0")
	launchConsumer := func(n int) *consumer {
		return startConsumer(t, dir, append(command[:len(command):len(command)], b.arguments()...), b.consumer(n)...)
	}
	consumers := make([]*consumer, b.consumers())
	t.Cleanup(func() {
		for n, c := range consumers {
			for line := range strings.Lines(c.out.String()) {
				if t.Failed() && !strings.HasPrefix(line, "{") {
					t.Logf("consumer %d: %s", n, line)
				}
			}
		}
	})
	for n := range consumers {
		consumers[n] = launchConsumer(n)
		waitFor(t, "the consumer's queues", func() bool { return b.bound(consumers[n].out.String()) })
	}
	p := startGateway(t, setup{name: gateway}, srv, env...)
	for round := range *consumerKills {
		time.Sleep(time.Duration(rng.Int64N(int64(800 * time.Millisecond)))) // the life of what is killed
		what, n := rng.IntN(3), rng.IntN(len(consumers))
		if what != 0 {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
		if what != 1 {
			consumers[n].kill()
		}
		if round%4 == 1 { // with the gateway away, or under it
			srv.Expire(rng.IntN(shards))
			srv.InvalidSession(rng.IntN(shards), false)
		}
		if round%8 == 2 {
			b.disturb()
		}
		if what != 0 {
			p = startGateway(t, setup{name: gateway}, srv, env...)
		}
		if what != 1 {
			consumers[n] = launchConsumer(n)
		}
	}
	srv.Calm()
	waitFor(t, "the shards", func() bool {
		events, _ := b.arrived()
		begun := 0
		for e := range events {
			if s, ok := lastSession(srv, e.shard); ok && s == e.session && e.event == "READY" {
				begun++
			}
		}
		return srv.Connected() == shards && begun == shards
	})
	srv.Silence()
	var (
		events map[doneEvent]bool
		ends   map[string]int64
		sent   = -1
	)
	waitFor(t, "the last events", func() bool {
		before := sent
		sent = int(srv.Ledger().Summary().Events)
		events, ends = b.arrived()
		time.Sleep(100 * time.Millisecond)
		return before == sent && checkDone(srv, keys(events)).Pending == 0
	})
	p.terminate()
	p.exit(0)
	waitFor(t, "all events in the consumer's store", func() bool { return len(b.done()) >= len(events) })
	time.Sleep(2 * claimAfter * time.Second) // for what comes twice
	done := b.done()
	count := make(map[doneEvent]int)
	for _, e := range done {
		count[e]++
	}
	missing, twice, unknown, gaps := 0, 0, 0, 0
	for e := range events {
		switch n := count[e]; {
		case n == 0:
			missing++
			t.Errorf("%+v was not processed", e)
		case n > 1:
			twice++
			t.Errorf("%+v was processed %d times", e, n)
		}
		if e.event == "GATEWAY_GAP" {
			gaps++
		}
	}
	for e := range count {
		if !events[e] {
			unknown++
			t.Errorf("%+v was processed, and has never arrived", e)
		}
	}
	// What the consumer has, against what Discord sent: all but what is behind the end of a session.
	report := checkDone(srv, done)
	lost, told := report.Lost, 0
	for _, g := range report.Gaps {
		if end, ok := ends[g.Session]; ok {
			if n := g.To - max(g.From-1, end); n > 0 {
				lost -= int(n)
				told += int(n)
			}
		}
	}
	if lost > 0 || report.Repeated > 0 || report.Unknown > 0 || report.Pending > 0 || report.Abandoned > 0 {
		t.Errorf("%d events are lost: %v", lost, report)
	}
	if gaps == 0 || gaps != len(ends) {
		t.Errorf("%d gaps, and %d sessions that they end", gaps, len(ends))
	}
	t.Logf("%d kills: %d events processed, %d not, %d twice, %d unknown, %d gaps; of what Discord sent lost %d, behind gaps %d; %d sessions",
		*consumerKills, len(done), missing, twice, unknown, gaps, lost, told, len(report.Sessions))
}

// lastSession returns the session of a shard that Discord has now.
func lastSession(srv *sim.Server, shard int) (id string, ok bool) {
	for _, s := range srv.Ledger().Sessions() {
		if s.Shard == shard {
			id, ok = s.ID, s.End == sim.EndNone
		}
	}
	return id, ok
}

func keys(events map[doneEvent]bool) []doneEvent {
	all := make([]doneEvent, 0, len(events))
	for e := range events {
		all = append(all, e)
	}
	return all
}

// checkDone compares events, in any order and without gaps, with what Discord has sent.
func checkDone(srv *sim.Server, events []doneEvent) sim.Report {
	var received []sim.Received
	for _, e := range events {
		if e.event != "GATEWAY_GAP" {
			received = append(received, sim.Received{Shard: e.shard, Session: e.session, Seq: e.seq, Type: e.event})
		}
	}
	return srv.Ledger().Check(received)
}
