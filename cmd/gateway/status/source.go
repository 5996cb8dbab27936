// This file collects the document.

package status

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/fleet"
	"sluice/resume"
	"sluice/sinks"
	"sluice/sinks/spool"
)

// Engine is what an engine.Engine says of itself.
type Engine interface {
	Status() engine.Status
	AppendShards(dst []engine.ShardStatus) []engine.ShardStatus
}

// Source is what a Status is collected from. Engine, Config and Started are required. Its methods
// may be called by any goroutine; its fields are not changed after the first call.
type Source struct {
	Engine Engine
	// Live returns why the engine makes no progress; nil: it is not asked.
	Live func() error
	// Sink is that of the broker; nil: it is always available, and nothing is counted.
	Sink sinks.Reporter
	// Title names the broker in sentences, such as Redis; Address is where it is, without credentials.
	Title, Address string
	Spool          func() Spool               // nil: there is none
	Store          func() Store               // without its Type; nil: it is always available
	Fleet          func() *Fleet              // nil: there is none
	Epochs         func() map[int]int64       // of the shards, in a fleet; nil: there are none
	Reshard        func() fleet.ReshardStatus // of the fleet; nil: there is none
	Refused        func() map[string]int64    // commands by reason, those that the engine has refused included; nil: they are all there are
	Config         *config.Config
	Version        string            // of the program
	Started        time.Time         // of the process
	LogLevel       func() slog.Level // nil: that of Config

	samples sampler
	buffers sync.Pool // of *[]engine.ShardStatus

	settings atomic.Pointer[settings]
}

// settings are those in force as they are shown.
type settings struct {
	of   *config.Config
	list []Setting
}

// inForce returns the settings in force.
func (s *Source) inForce() []Setting {
	now := s.Config.Current()
	shown := s.settings.Load()
	if shown == nil || shown.of != now {
		shown = &settings{of: now}
		secrets := s.Config.KnownSecrets()
		for _, v := range now.Values() {
			shown.list = append(shown.list, Setting{Key: v.Key, Value: secrets.Redact(v.Value), Origin: secrets.Redact(v.Origin)})
		}
		s.settings.Store(shown)
	}
	return shown.list
}

// Status returns the whole document.
func (s *Source) Status() *Status {
	d := s.collect(true)
	d.Settings = s.inForce()
	return d
}

// Summary returns the document without Shards.List and Settings, which are empty.
func (s *Source) Summary() *Status { return s.collect(false) }

// Shards returns the shards alone.
func (s *Source) Shards() []Shard {
	now := time.Now()
	shards, release := s.shards()
	defer release()
	return s.list(now, s.Engine.Status(), shards)
}

// Checks returns the conditions of /livez and /readyz.
func (s *Source) Checks() []Check {
	shards, release := s.shards()
	defer release()
	return s.checks(time.Now(), s.Engine.Status(), shards)
}

// shards returns the engine's shards until they are released.
func (s *Source) shards() (shards []engine.ShardStatus, release func()) {
	buffer, _ := s.buffers.Get().(*[]engine.ShardStatus)
	if buffer == nil {
		buffer = new([]engine.ShardStatus)
	}
	*buffer = s.Engine.AppendShards((*buffer)[:0])
	return *buffer, func() { s.buffers.Put(buffer) }
}

func (s *Source) collect(whole bool) *Status {
	now := time.Now()
	e := s.Engine.Status()
	shards, release := s.shards()
	defer release()
	sink := s.sink()
	checks := s.checks(now, e, shards)
	d := &Status{
		Version:  Version,
		At:       now.UTC().Truncate(time.Millisecond),
		Process:  s.process(now),
		Health:   Health{Live: holds(checks, Livez), Ready: holds(checks, Readyz), Checks: checks},
		Events:   s.events(now, e, sink),
		Shards:   summarize(e, shards),
		Broker:   s.broker(now, sink),
		Queue:    Queue{Events: e.Queue.Events, Bytes: e.Queue.Bytes, MaxBytes: e.Queue.MaxBytes, Oldest: seconds(e.Queue.Oldest), Paused: e.Queue.Paused},
		Store:    s.store(),
		Identify: identify(e.Identify),
		Commands: Commands{Sent: e.Commands.Sent, Pending: e.Commands.Pending, Replaced: e.Commands.Replaced, Refused: named(s.refused(e))},
		Reshard:  s.reshard(now, e.Reshard),
		Settings: []Setting{},
	}
	d.Fleet = s.fleet()
	if s.Spool != nil {
		onDisk := s.Spool()
		onDisk.Error = s.redact(onDisk.Error)
		d.Spool = &onDisk
	}
	if whole {
		d.Shards.List = s.list(now, e, shards)
	}
	return d
}

func (s *Source) reshard(now time.Time, e engine.ReshardStatus) *Reshard {
	if s.Reshard == nil {
		return reshardOf(now, e, nil)
	}
	f := s.Reshard()
	return reshardOf(now, e, &f)
}

// sink returns what the sink says of itself.
func (s *Source) sink() sinks.Status {
	if s.Sink == nil {
		return sinks.Status{Available: true}
	}
	return s.Sink.Status()
}

func (s *Source) process(now time.Time) Process {
	level := s.Config.Log.Level
	if s.LogLevel != nil {
		level = s.LogLevel()
	}
	return Process{
		Version: s.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, PID: pid,
		Started: s.Started.UTC().Truncate(time.Millisecond), Uptime: seconds(now.Sub(s.Started)),
		Memory: residentMemory(), CPU: seconds(cpuTime()), Goroutines: runtime.NumGoroutine(), LogLevel: levelName(level),
	}
}

// levelName returns a level as log.level has it.
func levelName(level slog.Level) string {
	if level >= config.LevelSuppress {
		return "suppress"
	}
	return strings.ToLower(level.String())
}

func (s *Source) events(now time.Time, e engine.Status, sink sinks.Status) Events {
	ev := Events{
		Received: e.Counts.Events, Rate: s.samples.rate(now, e.Counts.Events), Filtered: e.Counts.Filtered, Repeated: e.Counts.Repeated,
		Lost: lost(sink), Gaps: e.Counts.Gaps, Lag: s.samples.lag(now, e.Lag), ByName: make([]Named, 0, len(e.Names)),
	}
	for _, n := range e.Names {
		ev.ByName = append(ev.ByName, Named(n))
	}
	sortNamed(ev.ByName)
	return ev
}

// summarize returns Shards without List, which is empty.
func summarize(e engine.Status, shards []engine.ShardStatus) Shards {
	d := Shards{Count: e.Shards, Run: len(shards), States: make(map[string]int), Ended: []Ended{}, List: []Shard{}}
	for i := range shards {
		d.States[shards[i].State.String()]++
	}
	d.Ready = d.States[engine.Ready.String()]
	for _, end := range e.Ended {
		if end.Count == 0 {
			continue
		}
		to := Ended{Cause: end.Cause, Code: int(end.Code), Other: end.Code == engine.OtherCode, Count: end.Count}
		if to.Other {
			to.Code = 0
		}
		d.Ended = append(d.Ended, to)
	}
	slices.SortFunc(d.Ended, func(a, b Ended) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Code, b.Code))
	})
	return d
}

// list returns each shard.
func (s *Source) list(now time.Time, e engine.Status, shards []engine.ShardStatus) []Shard {
	list := make([]Shard, len(shards))
	w := newWaits(now, e.Identify, shards)
	rates := s.samples.rates(now)
	var epochs map[int]int64
	if s.Epochs != nil {
		epochs = s.Epochs()
	}
	for i := range shards {
		from := &shards[i]
		list[i] = Shard{
			ID: from.ID, State: from.State.String(), Epoch: epochs[from.ID], Since: since(now, from.Since), Why: w.why(from), Session: maskSession(from.Session), Seq: from.Seq,
			Events: from.Events, Rate: brief(rates.of(from.ID, from.Events)), LastEvent: since(now, from.LastEvent), LastACK: since(now, from.LastACK),
			RoundTrip: round(from.RoundTrip.Seconds(), 3), Reconnects: max(0, from.Connections-1), Paused: from.Paused, Pending: from.Pending,
			Cause: from.Cause, Code: int(from.Code),
		}
		if from.State != engine.Ready {
			list[i].Ended = since(now, from.Ended)
		}
	}
	return list
}

func (s *Source) broker(now time.Time, sink sinks.Status) Broker {
	changed := sink.Since
	if changed.IsZero() {
		changed = s.Started
	}
	b := Broker{
		Type: s.Config.Broker.Type, Address: s.redact(s.Address), Available: sink.Available, Blocked: sink.Blocked, Since: since(now, changed),
		Unavailable: seconds(sink.Unavailable), Error: s.redact(sink.Error), Published: sink.Published, Repeated: sink.Repeated, Retried: sink.Retried,
	}
	b.DeadLettered = deadLettered(sink)
	return b
}

// lost returns how many events are known lost: with no dead letter, or lost by a broker that had
// confirmed them.
func lost(sink sinks.Status) int64 { return sink.Lost + sink.Undone }

// deadLettered returns how many events are among the dead letters.
func deadLettered(sink sinks.Status) (n int64) {
	for _, of := range sink.DeadLettered {
		n += of
	}
	return n - sink.Lost
}

// SpoolOf returns a Source's Spool for a spool, whose Status is that of the broker's sink: it is the Sink, too.
func SpoolOf(sink *spool.Sink) func() Spool {
	return func() Spool {
		from := sink.Spool()
		return Spool{Active: from.Spooling, Bytes: from.Bytes, MaxBytes: from.MaxBytes, Oldest: seconds(from.Oldest), Damaged: from.Damaged, Error: from.Error}
	}
}

// StoreOf returns a Source's Store for a keeper. A store that was not asked yet counts as available.
func StoreOf(k *resume.Keeper) func() Store {
	return func() Store {
		from := k.Status()
		return Store{Available: from.Available || from.Failing.IsZero(), Checkpoint: since(time.Now(), from.Current), Error: from.Error}
	}
}

func (s *Source) store() Store {
	d := Store{Available: true}
	if s.Store != nil {
		d = s.Store()
	}
	if d.Type = s.Config.ShardStore.Type; s.Config.Shards.Auto {
		d.Type = "fleet"
	}
	d.Error = s.redact(d.Error)
	return d
}

func identify(e engine.IdentifyStatus) Identify {
	d := Identify{
		MaxConcurrency: e.MaxConcurrency, Waiting: e.Waiting, Known: e.Known, Total: e.Total, Left: e.Left, Reserve: e.Reserve, Exhausted: e.Exhausted,
	}
	if !e.Reset.IsZero() {
		reset := e.Reset.UTC().Truncate(time.Second)
		d.Reset = &reset
	}
	return d
}

// maxText bounds a text of others, such as a broker's error.
const maxText = 500

// redact returns a text of others as one line of bounded length without secrets.
func (s *Source) redact(text string) string {
	text = strings.Join(strings.Fields(s.Config.KnownSecrets().Redact(text)), " ")
	if len(text) <= maxText {
		return text
	}
	text = text[:maxText]
	for !utf8.ValidString(text) && len(text) > maxText-utf8.UTFMax {
		text = text[:len(text)-1]
	}
	return text + "…"
}

// maskSession returns what of a session's id may be shown: enough to find it in a log, and too little
// to continue it.
func maskSession(id string) string {
	const shown = 4
	if id == "" {
		return ""
	}
	return id[:min(shown, len(id)/2)] + "…"
}

// refused returns how many commands were refused, by reason.
func (s *Source) refused(e engine.Status) map[string]int64 {
	if s.Refused == nil {
		return e.Commands.Refused
	}
	return s.Refused()
}

// named returns counts by their names, most frequent first, those left out that are 0.
func named(counts map[string]int64) []Named {
	list := make([]Named, 0, len(counts))
	for name, n := range counts {
		if n > 0 {
			list = append(list, Named{name, n})
		}
	}
	sortNamed(list)
	return list
}

func sortNamed(list []Named) {
	slices.SortFunc(list, func(a, b Named) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
}

// seconds returns a duration to the millisecond.
func seconds(d time.Duration) float64 { return round(d.Seconds(), 3) }

// since returns the age of a moment; 0: there was none. One that is as good as now is a tenth of a
// second old, so that it is not left out.
func since(now, then time.Time) float64 {
	if then.IsZero() {
		return 0
	}
	return max(0.1, brief(now.Sub(then).Seconds()))
}

// brief returns a figure of one of many shards to a tenth, from ten on to a whole number: it takes less
// of the document.
func brief(x float64) float64 {
	if x >= 10 {
		return math.Round(x)
	}
	return round(x, 1)
}

func round(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}

// span returns a duration as people read it.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", max(1, d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
