// This file has a source of values for the tests.

package metrics

import (
	"fmt"
	"time"

	"sluice/engine"
	"sluice/fleet"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// fakeEngine is what an engine with so many shards returns.
type fakeEngine struct {
	status engine.Status
	shards []engine.ShardStatus
}

func (f *fakeEngine) AppendPackets(dst []engine.PacketCount) []engine.PacketCount {
	for i := range f.shards {
		dst = append(dst, engine.PacketCount{Shard: i, Name: "MESSAGE_CREATE", Received: 10}, engine.PacketCount{Shard: i, Op: 1, Received: 1, Sent: 40})
	}
	return dst
}

func (f *fakeEngine) Status() engine.Status { return f.status }

func (f *fakeEngine) AppendShards(dst []engine.ShardStatus) []engine.ShardStatus {
	return append(dst, f.shards...)
}

// fullSource has a value for every metric.
func fullSource(shards int) (Source, *fakeEngine) {
	h := sinks.Histogram{Bounds: []float64{0.001, 0.25, 1}, Counts: []uint64{3, 2, 0, 1}, Sum: 7.5}
	e := &fakeEngine{status: engine.Status{
		Shards: shards,
		Counts: engine.Counts{Events: 12, Filtered: 5, Repeated: 3, Identifies: 7, Sessions: 6, Resumes: 8, Lost: 2, Gaps: 1, Connections: 15, Sent: 40},
		Queue:  engine.QueueStatus{Events: 9, InFlight: 4, Bytes: 4096, MaxBytes: 64 << 20, Oldest: 250 * time.Millisecond, Paused: 1},
		Identify: engine.IdentifyStatus{MaxConcurrency: 16, Waiting: 2, Known: true, Total: 1000, Left: 990, Reserve: 50,
			Reset: time.Now().Add(time.Hour)},
		Commands:  engine.CommandStatus{Sent: 11, Pending: 3, Replaced: 2, Refused: map[string]int64{"too large": 1}, Waited: h},
		Readers:   []engine.ReaderStatus{{Turned: time.Now().Add(-time.Hour), Waits: true}, {Turned: time.Now().Add(-time.Minute)}},
		Names:     []engine.NameCount{{Name: "MESSAGE_CREATE", Count: 10}, {Name: "other", Count: 2}},
		Ended:     []engine.EndCount{{Cause: "closed by Discord", Code: 4000, Count: 3}, {Cause: "connection lost", Count: 1}, {Cause: "closed by Discord", Code: engine.OtherCode, Count: 2}},
		Lag:       h,
		RoundTrip: h,
		Lateness:  h,
	}}
	for _, code := range wire.CloseCodes() { // that have not been
		if code != 4000 {
			e.status.Ended = append(e.status.Ended, engine.EndCount{Cause: "closed by Discord", Code: code})
		}
	}
	for id := range shards {
		s := engine.ShardStatus{ID: id, State: engine.Ready, RoundTripCount: 20, RoundTripSum: 900 * time.Millisecond}
		s.Events, s.WireBytes, s.InflatedBytes = 123456+int64(id*7919%5000), 12345678+int64(id*104729%1e6), 123456789+int64(id*1299709%1e7)
		for i := range s.RoundTrips {
			s.RoundTrips[i] = time.Duration(len(s.RoundTrips)-i)*10*time.Millisecond + time.Duration(id*7919%1000)*time.Microsecond
		}
		e.shards = append(e.shards, s)
	}
	return Source{
		Version: "v1.2.3", Revision: "0123abc", Broker: "redis", Engine: e,
		Sink: func() sinks.Status {
			return sinks.Status{Available: true, Unavailable: 90 * time.Second, Connections: 2, Published: 11, Repeated: 1, Resent: 4, Batches: 5, Retried: 1,
				Pending: 4, Oldest: 20 * time.Millisecond, DeadLettered: map[string]int64{"too large": 2, `a "reason"`: 1}, Lost: 1, BatchSizes: h, Undone: 1, Nacked: 2, Unroutable: 3}
		},
		Spool: func() SpoolStatus { return SpoolStatus{true, 1 << 20, 10 << 30, 3 * time.Second, 77, true, 2} },
		Store: func() resume.KeeperStatus {
			return resume.KeeperStatus{Available: true, Current: time.Now().Add(-time.Minute), Pending: 2, Failures: 1}
		},
		Fleet: func() fleet.Snapshot {
			member := func(incarnation string, state fleet.State, shards int) fleet.MemberStatus {
				return fleet.MemberStatus{Member: fleet.Member{Incarnation: incarnation, State: state}, Shards: shards}
			}
			return fleet.Snapshot{
				Incarnation: "b", Confirmed: true, Beaten: time.Now().Add(-time.Minute), Unowned: 5, Starting: 4, Moves: make([]fleet.Move, 3),
				Members: []fleet.MemberStatus{member("a", fleet.Up, 6), member("b", fleet.Up, 7), member("c", fleet.Draining, 1), member("d", fleet.Deposed, 5)},
				Counts:  fleet.Counts{Deaths: 8, Takeovers: 9, Given: 10, Taken: 11},
			}
		},
		Refused: func() map[string]int64 { return map[string]int64{"too large": 2, "not JSON": 1} },
	}, e
}

// family is what a text has of a metric.
type family struct {
	name, kind, help string
	samples          map[string]string // values by series, without the name of the family
}

// String helps where a test fails.
func (f family) String() string { return fmt.Sprintf("%s (%s) %v", f.name, f.kind, f.samples) }
