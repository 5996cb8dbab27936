// This file tests the document: its values, its size, and what is not in it.

package status

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// state is an Engine and a sink that say what a test wants.
type state struct {
	engine engine.Status
	shards []engine.ShardStatus
	sink   sinks.Status
}

func (s *state) Status() engine.Status { return s.engine }
func (s *state) AppendShards(dst []engine.ShardStatus) []engine.ShardStatus {
	return append(dst, s.shards...)
}

type sinkState struct{ *state }

func (s sinkState) Status() sinks.Status { return s.sink }

func loadConfig(t testing.TB, environ ...string) *config.Config {
	t.Helper()
	cfg, problems := config.Load(config.Sources{Environ: append([]string{"DISCORD_TOKEN=x.y.z"}, environ...)})
	if problems.Failed() {
		t.Fatal(problems)
	}
	return cfg
}

func newSource(t testing.TB, s *state, environ ...string) *Source {
	return &Source{
		Engine: s, Sink: sinkState{s}, Title: "Redis", Config: loadConfig(t, environ...), Version: "v1.2.3", Started: time.Now().Add(-time.Hour),
	}
}

// many returns n ready shards with everything that can be known of one.
func many(n int) *state {
	now := time.Now()
	s := &state{
		engine: engine.Status{
			Shards: n, Counts: engine.Counts{Events: 987654321}, Identify: engine.IdentifyStatus{MaxConcurrency: 16, Known: true, Total: 50000, Left: 40000},
		},
		sink: sinks.Status{Available: true, Published: 987654000},
	}
	for i, name := range wire.EventNames() {
		s.engine.Names = append(s.engine.Names, engine.NameCount{Name: name, Count: int64(i * 123456)})
	}
	for id := range n {
		s.shards = append(s.shards, engine.ShardStatus{
			ID: id, State: engine.Ready, Since: now.Add(-26 * time.Hour), Session: "0123456789abcdef0123456789abcdef", Seq: 1234567,
			Counts:    engine.Counts{Events: 1234567, Connections: 12},
			LastEvent: now.Add(-123 * time.Millisecond), LastACK: now.Add(-23 * time.Second), RoundTrip: 45678 * time.Microsecond,
			Ended: now.Add(-26 * time.Hour), Cause: "reconnect asked for",
		})
	}
	return s
}

// serve returns the document as it arrives, and its JSON.
func serve(t testing.TB, s *Source) (*Status, []byte) {
	t.Helper()
	text, err := json.Marshal(s.Status())
	if err != nil {
		t.Fatal(err)
	}
	var d Status
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return &d, text
}

// 10,000 shards are below 2 MB, in whatever state they are after a month, and whatever has ended their last connections.
func TestSize(t *testing.T) {
	const shards = 10_000
	longest := slices.MaxFunc(engine.EndCauses, func(a, b string) int { return len(a) - len(b) })
	codes := wire.CloseCodes()
	code := slices.MaxFunc(codes, func(a, b wire.CloseCode) int { return len(a.String()) - len(b.String()) })
	most := 0
	for state := engine.Idle; state.String() != "unknown"; state++ {
		for _, cause := range []struct {
			text string
			code wire.CloseCode
		}{{longest, 0}, {"closed by Discord", code}} {
			for name, change := range map[string]func(s *engine.ShardStatus, now time.Time){
				"busy":   func(s *engine.ShardStatus, now time.Time) { s.Events += 1234 },
				"quiet":  func(s *engine.ShardStatus, now time.Time) { s.LastEvent = now.Add(-time.Hour) },
				"paused": func(s *engine.ShardStatus, now time.Time) { s.Paused = true },
			} {
				now := time.Now()
				e := many(shards)
				e.engine.Identify = engine.IdentifyStatus{MaxConcurrency: 1, Waiting: shards}
				for i := range e.shards {
					s := &e.shards[i]
					s.State, s.Since, s.Cause, s.Code, s.Ended = state, now.Add(-30*24*time.Hour), cause.text, cause.code, now.Add(-31*24*time.Hour)
					s.Seq, s.Events, s.Connections = 234_567_890, 345_678_901, 124
					switch state {
					case engine.Ready:
					case engine.Backoff:
						s.RetryAt = now.Add(time.Minute - 1)
					case engine.Idle, engine.IdentifyQueued, engine.IdentifyWait, engine.Identifying, engine.Stopped:
						s.Session, s.Seq = "", 0
					}
				}
				source := newSource(t, e)
				source.sample(now.Add(-rateSpan))
				for i := range e.shards {
					change(&e.shards[i], now)
				}
				begun := time.Now() // is logged, not asserted
				d := source.Status()
				Abridge(d.Shards.List)
				text, err := json.Marshal(d)
				if err != nil {
					t.Fatal(err)
				}
				if testing.Verbose() {
					t.Logf("%v, %s, %s: %d bytes, %v", state, name, cause.text, len(text), time.Since(begun).Round(time.Millisecond))
				}
				if most = max(most, len(text)); len(text) >= 2_000_000 || len(d.Shards.List) != shards {
					t.Errorf("%v, %s, %s: %d bytes for %d shards such as %+v", state, name, cause.text, len(text), len(d.Shards.List), d.Shards.List[shards-1])
				}
			}
		}
	}
	t.Logf("%d bytes at most", most)
}

func BenchmarkStatus(b *testing.B) {
	s := newSource(b, many(10_000))
	s.sample(time.Now().Add(-rateSpan))
	for b.Loop() {
		json.Marshal(s.Status())
	}
}

func BenchmarkSummary(b *testing.B) {
	s := newSource(b, many(10_000))
	for b.Loop() {
		s.Summary()
	}
}

func BenchmarkSample(b *testing.B) {
	s := newSource(b, many(10_000))
	now := time.Now()
	for b.Loop() {
		now = now.Add(sampleEvery)
		s.sample(now)
	}
}

// Whatever is set, and whatever others say: no credential is in the document or in a check.
func TestNoSecret(t *testing.T) {
	const session = "0123456789abcdef0123456789abcdef"
	cfg := loadConfig(t, "BROKER_TYPE=redis", "REDIS_URL=localhost")
	var all []string
	secret := func() string {
		all = append(all, fmt.Sprintf("Kx%02dqPassphrase", len(all)))
		return all[len(all)-1]
	}
	var set func(v reflect.Value)
	set = func(v reflect.Value) {
		switch x := v.Addr().Interface().(type) {
		case *config.Secret:
			*x = config.Secret(secret())
		case *config.SecretURL:
			*x = config.SecretURL("redis://bob:" + secret() + "@localhost")
		case *[]config.SecretURL:
			*x = []config.SecretURL{config.SecretURL("redis://bob:" + secret() + "@localhost"), config.SecretURL("redis://" + secret() + "@localhost")}
		default:
			for i := 0; v.Kind() == reflect.Struct && i < v.NumField(); i++ {
				if v.Type().Field(i).IsExported() {
					set(v.Field(i))
				}
			}
		}
	}
	set(reflect.ValueOf(cfg).Elem())
	if len(all) < 6 {
		t.Fatalf("only %d secrets", len(all))
	}
	said := strings.Join(all, " ")
	s := &Source{
		Engine: many(1), Sink: sinkState{&state{sink: sinks.Status{Error: "refused: " + said}}}, Config: cfg, Address: "redis://" + said,
		Store: func() Store { return Store{Error: "refused: " + said} },
		Live:  func() error { return fmt.Errorf("stuck: %s", said) },
	}
	d, body := serve(t, s)
	text := string(body)
	for _, c := range s.Checks() {
		text += c.Text
	}
	for _, secret := range append(all, session) {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the document:\n%s", secret, text)
		}
	}
	if !strings.Contains(d.Broker.Error, "refused: ***") || d.Shards.List[0].Session != "0123…" {
		t.Errorf("broker error %q, session %q", d.Broker.Error, d.Shards.List[0].Session)
	}
	shown := 0
	for _, s := range d.Settings {
		if strings.Contains(s.Value, "***") {
			shown++
		}
	}
	if shown < 3 {
		t.Errorf("only %d settings show that they are set: %+v", shown, d.Settings)
	}
}

// A document of known values.
func TestStatus(t *testing.T) {
	now := time.Now()
	reset := now.Add(time.Hour)
	e := &state{
		engine: engine.Status{
			Shards:   16,
			Counts:   engine.Counts{Events: 1000, Filtered: 20, Repeated: 3, Gaps: 2},
			Names:    []engine.NameCount{{Name: "GUILD_CREATE", Count: 10}, {Name: "MESSAGE_CREATE", Count: 990}},
			Ended:    []engine.EndCount{{Cause: "connection lost", Count: 1}, {Cause: "closed by Discord", Code: engine.OtherCode, Count: 2}, {Cause: "closed by Discord", Code: 4000, Count: 5}, {Cause: "closed by Discord", Code: 4009}},
			Queue:    engine.QueueStatus{Events: 7, Bytes: 700, MaxBytes: 64 << 20, Oldest: 1234567 * time.Microsecond, Paused: 1},
			Identify: engine.IdentifyStatus{MaxConcurrency: 1, Waiting: 1, Known: true, Total: 1000, Left: 900, Reserve: 100, Reset: reset},
			Commands: engine.CommandStatus{Sent: 4, Pending: 5, Replaced: 6, Refused: map[string]int64{"queue full": 2, "not local": 8, "stopped": 0}},
		},
		shards: []engine.ShardStatus{
			{ID: 3, State: engine.Ready, Since: now.Add(-time.Minute), Counts: engine.Counts{Events: 600, Connections: 3}, Session: "abcdefgh", Seq: 700, Pending: 2, Paused: true},
			{ID: 5, State: engine.Backoff, Since: now, RetryAt: now.Add(3 * time.Second), Cause: "closed by Discord", Code: 4004, Ended: now},
		},
		sink: sinks.Status{
			Since: now.Add(-90 * time.Second), Unavailable: 2 * time.Minute, Error: "connection\nrefused", Published: 950, Repeated: 1, Retried: 9,
			DeadLettered: map[string]int64{"too large": 4, "refused": 1}, Lost: 2, Undone: 2,
		},
	}
	s := newSource(t, e, "BROKER_TYPE=redis", "REDIS_URL=localhost", "DISCORD_SHARD_COUNT=16")
	s.Address, s.LogLevel = "redis://localhost", func() slog.Level { return slog.LevelDebug }
	s.Spool = func() Spool { return Spool{Active: true, Bytes: 5, MaxBytes: 6} }
	s.Store = func() Store { return Store{Available: true, Checkpoint: 0.1} }
	s.Refused = func() map[string]int64 { return map[string]int64{"malformed": 3, "not local": 8, "stopped": 0} }
	d, _ := serve(t, s)

	if p := d.Process; p.Version != "v1.2.3" || p.PID == 0 || p.Memory < 1<<20 || p.CPU <= 0 || p.Goroutines == 0 || p.LogLevel != "debug" || p.Uptime < 3600 {
		t.Errorf("%+v", p)
	}
	for name, tt := range map[string]struct{ got, want any }{
		"version": {d.Version, 1},
		"health":  {[2]bool{d.Health.Live, d.Health.Ready}, [2]bool{true, false}},
		"events": {d.Events, Events{Received: 1000, Filtered: 20, Repeated: 3, Lost: 4, Gaps: 2,
			ByName: []Named{{"MESSAGE_CREATE", 990}, {"GUILD_CREATE", 10}}}},
		"shards": {d.Shards, Shards{Count: 16, Run: 2, Ready: 1, States: map[string]int{"ready": 1, "backoff": 1},
			Ended: []Ended{{"closed by Discord", 4000, false, 5}, {"closed by Discord", 0, true, 2}, {"connection lost", 0, false, 1}},
			List: []Shard{
				{ID: 3, State: "ready", Since: 60, Session: "abcd…", Seq: 700, Events: 600, Reconnects: 2, Paused: true, Pending: 2},
				{ID: 5, State: "backoff", Since: 0.1, Why: "connecting again in 3 s after: closed by Discord with 4004 (Authentication failed)",
					Cause: "closed by Discord", Code: 4004, Ended: 0.1},
			}}},
		"broker": {d.Broker, Broker{Type: "redis", Address: "redis://localhost", Since: 90, Unavailable: 120, Error: "connection refused",
			Published: 950, Repeated: 1, Retried: 9, DeadLettered: 3}},
		"queue":    {d.Queue, Queue{Events: 7, Bytes: 700, MaxBytes: 64 << 20, Oldest: 1.235, Paused: 1}},
		"spool":    {*d.Spool, Spool{Active: true, Bytes: 5, MaxBytes: 6}},
		"store":    {d.Store, Store{Type: "file", Available: true, Checkpoint: 0.1}},
		"commands": {d.Commands, Commands{Sent: 4, Pending: 5, Replaced: 6, Refused: []Named{{"not local", 8}, {"malformed", 3}}}},
		"identify": {*d.Identify.Reset, reset.UTC().Truncate(time.Second)},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %+v, want %+v", name, tt.got, tt.want)
		}
	}
	var count Setting
	for _, setting := range d.Settings {
		if setting.Key == "shards.count" {
			count = setting
		}
	}
	if count != (Setting{"shards.count", "16", "environment DISCORD_SHARD_COUNT"}) {
		t.Errorf("%+v", count)
	}

	summary := s.Summary()
	if len(summary.Shards.List) > 0 || len(summary.Settings) > 0 || summary.Shards.Run != 2 || summary.Events.Received != 1000 {
		t.Errorf("%+v", summary)
	}
	if got := s.Shards(); !reflect.DeepEqual(got, d.Shards.List) {
		t.Errorf("%+v", got)
	}
}

// What is empty is an empty list or object, not null: consumers need not ask.
func TestNoNull(t *testing.T) {
	s := newSource(t, &state{})
	_, body := serve(t, s)
	text := string(body)
	for _, allowed := range []string{`"fleet":null`, `"spool":null`, `"reset":null`, `"reshard":null`} {
		if !strings.Contains(text, allowed) {
			t.Errorf("no %s", allowed)
		}
		text = strings.Replace(text, allowed, "", 1)
	}
	if strings.Contains(text, "null") {
		t.Error(text)
	}
}
