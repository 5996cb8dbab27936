package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/engine"
	"sluice/sinks"
)

// Why a shard is not ready.
func TestWhy(t *testing.T) {
	now := time.Date(2026, 3, 4, 13, 10, 0, 0, time.UTC)
	reset := time.Date(2026, 3, 4, 14, 0, 0, 0, time.UTC)
	session := "0123456789"
	for _, tt := range []struct {
		name     string
		shards   []engine.ShardStatus
		identify engine.IdentifyStatus
		want     []string
	}{
		{"one bucket", []engine.ShardStatus{
			{ID: 0, State: engine.Ready}, {ID: 1, State: engine.IdentifyQueued}, {ID: 2, State: engine.IdentifyQueued},
			{ID: 3, State: engine.Connecting}, {ID: 4, State: engine.IdentifyQueued}, {ID: 5, State: engine.Connecting, Session: session},
		}, engine.IdentifyStatus{MaxConcurrency: 1}, []string{
			"", "waits in the identify queue behind 1 shard", "waits in the identify queue behind 2 shards, about 10 s",
			"is connecting", "waits in the identify queue behind 3 shards, about 16 s", "is connecting",
		}},
		{"two buckets", []engine.ShardStatus{
			{ID: 0, State: engine.Hello}, {ID: 1, State: engine.IdentifyQueued}, {ID: 2, State: engine.IdentifyQueued}, {ID: 3, State: engine.IdentifyQueued},
		}, engine.IdentifyStatus{MaxConcurrency: 2}, []string{
			"waits for HELLO", "waits in the identify queue; it is next", "waits in the identify queue behind 1 shard", "waits in the identify queue behind 1 shard",
		}},
		{"no budget", []engine.ShardStatus{{ID: 1, State: engine.IdentifyQueued}}, engine.IdentifyStatus{Exhausted: true, Reset: reset},
			[]string{"identify budget used up until 14:00Z"}},
		{"no budget until tomorrow", []engine.ShardStatus{{ID: 1, State: engine.IdentifyQueued}},
			engine.IdentifyStatus{Exhausted: true, Reset: reset.Add(20*time.Hour + time.Second)}, []string{"identify budget used up until 2026-03-05 10:01Z"}},
		{"states", []engine.ShardStatus{
			{State: engine.Idle}, {State: engine.Identifying}, {State: engine.Resuming}, {State: engine.Stopped}, {State: engine.IdentifyWait},
			{State: engine.Backoff, RetryAt: now.Add(3 * time.Second), Cause: "closed by Discord", Code: 4004},
			{State: engine.Backoff, RetryAt: now.Add(90 * time.Second), Cause: "connect failed"},
			{State: engine.Backoff, Cause: "connect failed"}, {State: engine.Connecting, Cause: "zombie connection"},
		}, engine.IdentifyStatus{}, []string{
			"is not started yet", "waits for READY", "waits to resume: RESUMED has not arrived", "is stopped", "waits until Discord allows the next identify",
			"connecting again in 3 s after: closed by Discord with 4004 (Authentication failed)", "connecting again in 1 min after: connect failed",
			"connecting again after: connect failed", "is connecting again after: zombie connection",
		}},
		{"turns of others", []engine.ShardStatus{
			{ID: 0, State: engine.IdentifyWait}, {ID: 1, State: engine.IdentifyQueued}, {ID: 2, State: engine.IdentifyQueued}, {ID: 3, State: engine.Connecting, Cause: "zombie connection"},
		}, engine.IdentifyStatus{Permitted: true}, []string{
			"waits until Discord allows the next identify, or for a turn from identify.queue", "waits in the identify queue behind 2 shards",
			"waits in the identify queue behind 3 shards", "is connecting again after: zombie connection",
		}},
	} {
		w := newWaits(now, tt.identify, tt.shards)
		var got []string
		for i := range tt.shards {
			got = append(got, w.why(&tt.shards[i]))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
	for state := engine.Idle; state.String() != "unknown"; state++ {
		s := engine.ShardStatus{State: state}
		w := newWaits(now, engine.IdentifyStatus{}, nil)
		if ready := state == engine.Ready; (w.kind(&s) == "") != ready || (w.why(&s) == "") != ready {
			t.Errorf("%v: %q, %q", state, w.kind(&s), w.why(&s))
		}
	}
}

// lines returns the checks of a kind that fail, and all of them.
func lines(checks []Check, of string) (failed, all string) {
	for _, c := range checks {
		sign := map[bool]string{true: "+", false: "-"}[c.OK]
		switch line := fmt.Sprintf("[%s] %s: %s\n", sign, c.Name, c.Text); {
		case c.Of != of:
		case !c.OK:
			failed += line
			fallthrough
		default:
			all += line
		}
	}
	return failed, all
}

func TestChecks(t *testing.T) {
	now := time.Now()
	up := sinks.Status{Available: true, Since: now.Add(-3 * time.Minute)}
	ready := engine.ShardStatus{State: engine.Ready}
	lost := engine.ShardStatus{ID: 1, State: engine.Backoff, Session: "0123456789", Cause: "connection lost", LastACK: now.Add(-30 * time.Second)}
	gone := lost
	gone.LastACK = now.Add(-2 * time.Minute)
	queued := func(id int) engine.ShardStatus { return engine.ShardStatus{ID: id, State: engine.IdentifyQueued} }
	const store, events = "[+] store: file available\n", "[+] events: 0 known lost, 0 dead-lettered, 0 gaps\n"
	const engineOK, broker = "[+] engine: readers and publisher make progress\n", "[+] broker: Redis available for 3 min\n"
	for _, tt := range []struct {
		name        string
		state       state
		live        error
		ready       bool
		failed, all string // of /readyz
	}{
		{"ready", state{engine.Status{Shards: 1}, []engine.ShardStatus{ready}, up}, nil, true, "",
			engineOK + "[+] shards: 1 of 1 ready\n" + broker + store + events},
		{"no shard", state{engine.Status{Shards: 1}, nil, up}, nil, true, "", engineOK + "[+] shards: this process runs no shard\n" + broker + store + events},
		{"no answer yet", state{engine.Status{}, nil, up}, nil, false, "[-] shards: the shard count is not known yet: Discord has not answered\n", ""},
		{"resuming", state{engine.Status{Shards: 2}, []engine.ShardStatus{ready, lost}, up}, nil, true, "",
			engineOK + "[+] shards: 1 of 2 ready, 1 resuming\n" + broker + store + events},
		{"RESUMED to come", state{engine.Status{Shards: 1}, []engine.ShardStatus{{State: engine.Resuming, Session: "0123456789"}}, up}, nil, true, "", ""},
		{"no session", state{engine.Status{Shards: 1}, []engine.ShardStatus{{State: engine.Hello, LastEvent: now}}, up}, nil, false,
			"[-] shards: 1 of 1 not ready (0): waits for HELLO\n", ""},
		{"not resuming", state{engine.Status{Shards: 2}, []engine.ShardStatus{ready, gone}, up}, nil, false,
			"[-] shards: 1 of 2 not ready (1): connecting again after: connection lost\n", ""},
		{"the queue", state{engine.Status{Shards: 9, Identify: engine.IdentifyStatus{Waiting: 6}},
			[]engine.ShardStatus{gone, queued(2), queued(3), queued(4), queued(5), queued(6), queued(7)}, up}, nil, false,
			"[-] shards: 7 of 7 not ready (1, 2, 3, 4, 5, …): waits in the identify queue, the last of them about 32 s (6 of them)\n", ""},
		{"no broker", state{engine.Status{Shards: 1}, []engine.ShardStatus{ready}, sinks.Status{Since: now.Add(-61 * time.Minute), Error: "EOF\nagain"}}, nil, false,
			"[-] broker: Redis unavailable for 1 h 1 min; buffering events: EOF again\n", ""},
		{"not asked", state{engine.Status{Shards: 1}, []engine.ShardStatus{ready}, sinks.Status{}}, nil, false,
			"[-] broker: Redis not reached yet; buffering events\n", ""},
		{"blocked", state{engine.Status{Shards: 1}, []engine.ShardStatus{ready}, sinks.Status{Since: now.Add(-5 * time.Second), Blocked: true}}, nil, false,
			"[-] broker: Redis blocked for 5 s: it has an alarm for memory or disk; buffering events\n", ""},
		{"stuck", state{engine.Status{Shards: 1}, []engine.ShardStatus{ready}, up}, errors.New("reader 1 is stuck"), false, "[-] engine: reader 1 is stuck\n",
			"[-] engine: reader 1 is stuck\n[+] shards: 1 of 1 ready\n" + broker + store + events},
	} {
		s := newSource(t, &tt.state)
		s.Live = func() error { return tt.live }
		checks := s.Checks()
		failed, all := lines(checks, Readyz)
		if (failed == "") != tt.ready || failed != tt.failed || tt.all != "" && all != tt.all {
			t.Errorf("%s: of /readyz fail\n%s\nof\n%s", tt.name, failed, all)
		}
		if failed, all := lines(checks, Livez); (failed == "") != (tt.live == nil) || strings.Count(all, "\n") != 1 {
			t.Errorf("%s: of /livez fail\n%s\nof\n%s", tt.name, failed, all)
		}
		if h := s.Summary().Health; h.Live != (tt.live == nil) || h.Ready != tt.ready {
			t.Errorf("%s: %+v", tt.name, h)
		}
	}
}
