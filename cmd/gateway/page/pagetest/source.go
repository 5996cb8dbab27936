// Package pagetest has a made-up gateway for tests of the page, and for who works on it.
package pagetest

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sluice/cmd/gateway/status"
)

// Source is a gateway that does not exist. It stands still between two calls of Step. Any goroutine may call its
// methods.
type Source struct {
	mu      sync.Mutex
	random  *rand.Rand
	at      time.Time
	started time.Time
	silent  bool
	reshard *status.Reshard
	shards  []shard
	ended   map[status.Ended]int64
	log     slog.Handler

	total, published, reconnects int64
	cutRate                      float64
	left                         int
	lost, gaps, dead             int64
	brokerError                  string
	brokerSince                  time.Time
	unavailable                  float64
	queued                       float64
	p50, p99                     float64
}

// shard is one, with its part of the traffic.
type shard struct {
	status.Shard
	base  float64   // events a second, on average
	since time.Time // of State
	next  time.Time // when it goes on to the next state; zero: it stays
	event time.Time
	ack   time.Time
	ended time.Time
}

// New returns a gateway with so many shards, all ready for hours. log gets its log lines.
func New(shards int, seed uint64, at time.Time, log slog.Handler) *Source {
	s := &Source{
		random: rand.New(rand.NewPCG(seed, 0)), at: at, started: at.Add(-76*time.Hour - 24*time.Minute),
		ended: make(map[status.Ended]int64), log: log, left: 1000 - shards%700, p50: 0.0021, p99: 0.011,
	}
	s.brokerSince = s.started
	for id := range shards {
		n := shard{base: math.Exp(s.random.NormFloat64()*0.6) * 14}
		n.ID, n.State = id, "ready"
		n.since = at.Add(-time.Duration(s.random.Float64() * float64(70*time.Hour)))
		n.Session = fmt.Sprintf("%04x…", s.random.IntN(1<<16))
		n.Events = int64(n.base * at.Sub(s.started).Seconds())
		n.Seq = int64(n.base * at.Sub(n.since).Seconds())
		n.RoundTrip = 0.030 + s.random.ExpFloat64()*0.012
		n.Reconnects = int64(s.random.IntN(5))
		n.Rate, n.event, n.ack = n.base, at, at.Add(-time.Duration(s.random.Float64()*41*float64(time.Second)))
		if n.Reconnects > 0 {
			n.Cause, n.ended = "reconnect asked for", n.since.Add(-2*time.Second)
		}
		s.total += n.Events
		s.reconnects += n.Reconnects
		s.shards = append(s.shards, n)
	}
	s.published = s.total
	s.ended[status.Ended{Cause: "reconnect asked for"}] = s.reconnects*7/10 + 1
	s.ended[status.Ended{Cause: "connection lost", Code: 1006}] = s.reconnects/5 + 1
	s.ended[status.Ended{Cause: "closed by Discord", Code: 4000}] = s.reconnects/10 + 1
	s.ended[status.Ended{Cause: "closed by Discord", Other: true}] = 1
	s.ended[status.Ended{Cause: "zombie connection"}] = 2
	return s
}

// Change calls f with the shard, which stays so until it is changed again or, if it was cut, goes on by itself.
func (s *Source) Change(id int, f func(*status.Shard)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.shards[id]
	old := n.State
	f(&n.Shard)
	n.next = time.Time{}
	if n.State != old {
		n.since = s.at
	}
}

// Cut ends the connection of a shard. It is ready again after some seconds.
func (s *Source) Cut(id int, cause string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut(&s.shards[id], cause, code)
}

func (s *Source) cut(n *shard, cause string, code int) {
	s.ended[status.Ended{Cause: cause, Code: code}]++
	n.Cause, n.Code, n.ended = cause, code, s.at
	n.Reconnects++
	s.enter(n, "backoff", 1+2*s.random.Float64())
	n.Why = fmt.Sprintf("waits before the next connection: %s", cause)
	s.say(slog.LevelWarn, "connection ended", "shard", n.ID, "cause", cause, "code", code, "next", "resume")
}

func (s *Source) say(level slog.Level, text string, attrs ...any) {
	r := slog.NewRecord(s.at, level, text, 0)
	r.Add(attrs...)
	s.log.Handle(context.Background(), r)
}

func (s *Source) enter(n *shard, state string, seconds float64) {
	n.State, n.since, n.next, n.Why = state, s.at, time.Time{}, ""
	if seconds > 0 {
		n.next = s.at.Add(time.Duration(seconds * float64(time.Second)))
	}
}

// Starting puts all shards but the first ones into the identify queue.
func (s *Source) Starting(ready int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = s.at.Add(-time.Duration(ready) * 5 * time.Second / 16)
	s.brokerSince = s.started
	for i := range s.shards {
		n := &s.shards[i]
		n.Reconnects, n.Cause, n.Code, n.ended = 0, "", 0, time.Time{}
		switch {
		case i < ready:
			n.since = s.started.Add(time.Duration(i) * 5 * time.Second / 16)
		case i < ready+6:
			s.enter(n, "identifying", 0)
		default:
			s.enter(n, "identify queued", 0)
			n.since = s.started
			n.Why = fmt.Sprintf("waits in the identify queue: %s shards are before it", status.Count(i-ready))
		}
		if i >= ready {
			n.Session, n.Seq, n.Events, n.Rate, n.base, n.RoundTrip = "", 0, 0, 0, 0, 0
			n.event, n.ack = time.Time{}, time.Time{}
		}
	}
}

// Broker makes the broker unavailable for a reason; empty: it is available.
func (s *Source) Broker(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (reason == "") != (s.brokerError == "") {
		s.brokerSince = s.at
		if reason != "" {
			s.say(slog.LevelWarn, "redis unavailable; buffering events", "error", reason)
		} else {
			s.say(slog.LevelInfo, "redis available again")
		}
	}
	s.brokerError = reason
}

// Lose counts events and gaps that are lost, and dead letters.
func (s *Source) Lose(events, gaps, dead int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.gaps, s.dead = s.lost+events, s.gaps+gaps, s.dead+dead
}

// Cuts sets how many connections are cut in a second, on average.
func (s *Source) Cuts(rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutRate = rate
}

// Silence makes Summary return nil.
func (s *Source) Silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = on
}

// Reshard sets what is shown of a resharding; nil: none has begun. It keeps r.
func (s *Source) Reshard(r *status.Reshard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reshard = r
}

// Keep leaves the first shards, and removes the others.
func (s *Source) Keep(shards int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards = s.shards[:shards]
}

var causes = []status.Ended{
	{Cause: "reconnect asked for"}, {Cause: "reconnect asked for"}, {Cause: "connection lost", Code: 1006},
	{Cause: "closed by Discord", Code: 4000}, {Cause: "zombie connection"},
}

// Step lets time pass.
func (s *Source) Step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
	second := d.Seconds()
	wave := 1 + 0.12*math.Sin(float64(s.at.Unix())/140) + 0.05*math.Sin(float64(s.at.Unix())/23)
	var arrived float64
	for i := range s.shards {
		n := &s.shards[i]
		if !n.next.IsZero() && !s.at.Before(n.next) {
			switch n.State {
			case "backoff":
				s.enter(n, "connecting", 0.5+s.random.Float64())
			case "connecting":
				s.enter(n, "resuming", 0.5+s.random.Float64())
			default:
				s.enter(n, "ready", 0)
				s.say(slog.LevelInfo, "session resumed", "shard", n.ID, "replayed", s.random.IntN(60))
			}
		}
		if n.State != "ready" {
			n.Rate *= 0.8
			continue
		}
		now := max(0, n.base*wave+s.random.NormFloat64()*math.Sqrt(n.base/10))
		n.Rate += (now - n.Rate) * min(1, second)
		n.Events += int64(n.Rate * second)
		n.Seq += int64(n.Rate * second)
		arrived += n.Rate * second
		if n.Rate > 0 {
			n.event = s.at.Add(-time.Duration(s.random.ExpFloat64() / (n.Rate + 0.1) * float64(time.Second)))
		}
		if s.at.Sub(n.ack) > 41250*time.Millisecond {
			n.ack, n.RoundTrip = s.at, 0.030+s.random.ExpFloat64()*0.012
		}
	}
	s.total += int64(arrived)
	if s.brokerError != "" {
		s.unavailable += second
		s.queued += arrived
		s.p50 += second
		s.p99 += second
	} else {
		s.published += int64(arrived + s.queued)
		s.queued = arrived * 0.002
		s.p50 += (0.0021*(1+0.2*s.random.NormFloat64()) - s.p50) * 0.5
		s.p99 += (0.011*math.Exp(0.25*s.random.NormFloat64()) - s.p99) * 0.5
	}
	s.p50, s.p99 = max(s.p50, 0.0008), max(s.p99, 0.002)
	if len(s.shards) > 0 {
		for range int(s.cutRate*second + s.random.Float64()) {
			c := causes[s.random.IntN(len(causes))]
			if n := &s.shards[s.random.IntN(len(s.shards))]; n.State == "ready" {
				s.cut(n, c.Cause, c.Code)
			}
		}
	}
}

// Shards returns the list of shards.
func (s *Source) Shards() []status.Shard {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return s.at.Sub(t).Seconds()
	}
	list := make([]status.Shard, len(s.shards))
	for i := range s.shards {
		n := s.shards[i]
		n.Since, n.LastEvent, n.LastACK, n.Ended = age(n.since), age(n.event), age(n.ack)+n.LastACK, age(n.ended)
		list[i] = n.Shard
	}
	return list
}

// Summary returns the rest of the document.
func (s *Source) Summary() *status.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent {
		return nil
	}
	t := &status.Status{Version: status.Version, At: s.at, Reshard: s.reshard}
	t.Process = status.Process{Version: "2.1.0", Go: "go1.26.8", OS: "linux/amd64", PID: 4711, Started: s.started,
		Uptime: s.at.Sub(s.started).Seconds(), Memory: 64<<20 + uint64(len(s.shards))*24<<10, CPU: float64(s.total) * 6e-6, Goroutines: 38, LogLevel: "info"}
	t.Shards = status.Shards{Count: len(s.shards), Run: len(s.shards), States: make(map[string]int)}
	var rate float64
	first := ""
	for i := range s.shards {
		n := &s.shards[i]
		t.Shards.States[n.State]++
		rate += n.Rate
		if n.State != "ready" && first == "" {
			first = fmt.Sprintf("shard %d is in state %q", n.ID, n.State)
		}
		if n.Paused {
			t.Queue.Paused++
		}
	}
	t.Shards.Ready = t.Shards.States["ready"]
	for e, count := range s.ended {
		t.Shards.Ended = append(t.Shards.Ended, status.Ended{Cause: e.Cause, Code: e.Code, Other: e.Other, Count: count})
	}
	slices.SortFunc(t.Shards.Ended, func(a, b status.Ended) int { return int(b.Count - a.Count) })
	t.Events = status.Events{Received: s.total, Rate: rate, Filtered: s.total / 40, Repeated: s.reconnects * 12, Lost: s.lost, Gaps: s.gaps,
		Lag: status.Lag{P50: s.p50, P99: s.p99, Max: s.p99 * 2.1}}
	for i, name := range []string{"MESSAGE_CREATE", "PRESENCE_UPDATE", "TYPING_START", "MESSAGE_UPDATE", "VOICE_STATE_UPDATE", "MESSAGE_REACTION_ADD", "INTERACTION_CREATE", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_ADD", "GUILD_CREATE", "READY", "RESUMED"} {
		t.Events.ByName = append(t.Events.ByName, status.Named{Name: name, Count: s.total >> (i + 1)})
	}
	t.Broker = status.Broker{Type: "redis", Address: "redis.internal:6379", Available: s.brokerError == "", Since: s.at.Sub(s.brokerSince).Seconds(),
		Unavailable: s.unavailable, Error: s.brokerError, Published: s.published, Repeated: 0, Retried: int64(s.unavailable), DeadLettered: s.dead}
	t.Queue.Events, t.Queue.MaxBytes = int(s.queued), 256<<20
	t.Queue.Bytes = min(int64(s.queued*900), t.Queue.MaxBytes)
	if s.brokerError != "" {
		t.Queue.Oldest = t.Broker.Since
		t.Spool = &status.Spool{Active: true, Bytes: int64(s.queued * 700), MaxBytes: 10 << 30, Oldest: t.Broker.Since}
	} else {
		t.Queue.Oldest = s.p50
		t.Spool = &status.Spool{MaxBytes: 10 << 30}
	}
	t.Store = status.Store{Type: "file", Available: true, Checkpoint: 0.08}
	reset := s.started.Truncate(24 * time.Hour).Add(15 * time.Hour)
	for !reset.After(s.at) {
		reset = reset.Add(24 * time.Hour)
	}
	waiting := t.Shards.States["identify queued"]
	t.Identify = status.Identify{MaxConcurrency: 16, Waiting: waiting, Known: true, Total: max(1000, 2*len(s.shards)), Reserve: 100, Reset: &reset}
	t.Identify.Left = t.Identify.Total - len(s.shards)/10 - 25
	t.Commands = status.Commands{Sent: s.total / 900, Pending: int64(len(s.shards) / 300), Replaced: s.total / 40000, Refused: []status.Named{{Name: "invalid", Count: 3}, {Name: "too many", Count: 1}}}
	t.Health = status.Health{Live: true, Ready: t.Shards.Ready == t.Shards.Run && t.Broker.Available}
	check := func(name, of, good, bad string) {
		c := status.Check{Name: name, Of: of, OK: bad == "", Text: good}
		if bad != "" {
			c.Text = bad
		}
		t.Health.Checks = append(t.Health.Checks, c)
	}
	check("readers", "livez", "each reader has turned lately", "")
	check("publisher", "livez", "it makes progress", "")
	bad := ""
	if first != "" {
		bad = fmt.Sprintf("%s of %s shards are ready; %s", status.Count(t.Shards.Ready), status.Count(t.Shards.Run), first)
		if waiting > 0 {
			bad = fmt.Sprintf("%s of %s shards are ready; %s wait in the identify queue", status.Count(t.Shards.Ready), status.Count(t.Shards.Run), status.Count(waiting))
		}
	}
	check("shards", "readyz", fmt.Sprintf("%s of %s are ready", status.Count(t.Shards.Ready), status.Count(t.Shards.Run)), bad)
	bad = ""
	if s.brokerError != "" {
		bad = fmt.Sprintf("redis has been unavailable for %.0f s: %s", t.Broker.Since, s.brokerError)
	}
	check("broker", "readyz", "redis is available", bad)
	return t
}
