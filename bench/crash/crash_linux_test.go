// This file tests that a run finds what it should, and nothing else.

package crash

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice/bench/reexec"
	"sluice/bench/sim"
)

// TestMain lets the test's own binary be the gateway: with the tag failpoints, one that has
// the points to end at.
func TestMain(m *testing.M) {
	reexec.Main(map[string]func() int{"gateway": reexec.Gateway})
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		sink, store string
		faults      bool
	}{{"redis", "redis", false}, {"redis", "file", true}, {"file", "file", false}, {"file", "file", true}} {
		t.Run(fmt.Sprintf("%s %s %v", tt.sink, tt.store, tt.faults), func(t *testing.T) {
			t.Parallel()
			o := Options{Gateway: reexec.Link(t, "gateway"), Sink: tt.sink, Store: tt.store, Kills: 8, Seed: 1, Faults: tt.faults, Log: t.Output()}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(&r)
			if err := r.Check(tt.sink); err != nil {
				t.Error(err)
			}
			if r.Kills != o.Kills || r.Events < 1000 || r.Sessions < 4 {
				t.Errorf("that was no run: %v", &r)
			}
		})
	}
}

// Members of a fleet are killed and restarted, and nothing is lost or comes twice.
func TestFleet(t *testing.T) {
	t.Parallel()
	o := FleetOptions{Gateway: reexec.Link(t, "gateway"), Members: 3, Shards: 8, Rate: 20, Kills: 1, Rolls: 1, Seed: 1, Log: t.Output()}
	r, err := RunFleet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(&r)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	if r.Events < 1000 || r.Identifies != 8 {
		t.Errorf("%d events, %d identifies", r.Events, r.Identifies)
	}
}

// A bot gets more shards and fewer, with a kill in the middle, and in no guild is anything lost, repeated or out of order.
func TestReshard(t *testing.T) {
	t.Parallel()
	reshard(t, ReshardOptions{Sink: "redis", Store: "redis", From: 4, To: 6, Seed: 1})
}

// The same of a fleet, with one of its members killed in the middle, while connecting: to a count for which shards move before.
func TestReshardFleet(t *testing.T) {
	t.Parallel()
	reshard(t, ReshardOptions{Members: 3, From: 6, To: 9, Seed: 4})
}

// reshard is a run with one kill.
func reshard(t *testing.T, o ReshardOptions) {
	t.Helper()
	o.Gateway, o.Rate, o.Kills, o.Log = reexec.Link(t, "gateway"), 300, 1, t.Output()
	r, err := RunReshard(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(&r)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	if r.Kills != 1 || r.Reshards != 1 || r.GivenUp > 0 || r.Events < 500 {
		t.Errorf("that was no run: %v", &r)
	}
}

// What is missing, comes twice or in another order is found, and named.
func TestCompareGuilds(t *testing.T) {
	happened := []sim.CommonEvent{{Guild: 1, Hash: 10}, {Guild: 1, Hash: 11}, {Guild: 2, Hash: 20}, {Guild: 2, Hash: 21}}
	received := func(hashes ...uint64) (all []sim.Received) {
		for n, h := range hashes {
			all = append(all, sim.Received{Seq: int64(n), Hash: h})
		}
		return all
	}
	for _, tt := range []struct {
		arrived        []uint64
		lost, repeated int
		outOfOrder     int
	}{
		{[]uint64{10, 20, 11, 99, 21}, 0, 0, 0}, // 99 is of no guild
		{[]uint64{10, 20, 21}, 1, 0, 0},
		{[]uint64{10, 11, 20, 10, 21, 10}, 0, 2, 0},
		{[]uint64{11, 10, 20, 21}, 0, 0, 1},
		{[]uint64{11, 10, 20, 20}, 1, 1, 1},
	} {
		var r ReshardResult
		r.compare(happened, received(tt.arrived...))
		if r.Lost != tt.lost || r.Repeated != tt.repeated || r.OutOfOrder != tt.outOfOrder || len(r.Wrong) != tt.lost+tt.repeated+tt.outOfOrder {
			t.Errorf("%v: %v %q", tt.arrived, &r, r.Wrong)
		}
		if err := r.Check(); (err != nil) != (len(r.Wrong) > 0) {
			t.Errorf("%v: %v", tt.arrived, err)
		}
	}
}

// A gateway that forgets its sessions loses events, and the run says so.
func TestRunFindsLoss(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), Options{Gateway: reexec.Link(t, "gateway"), Sink: "file", Store: "memory", Kills: 4, Seed: 1, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check("file"); err == nil || r.Lost == 0 || !strings.Contains(err.Error(), "was left") {
		t.Errorf("found %v: %v", &r, err)
	}
}

// TestOutlets: each of the gateway's brokers can be tried.
func TestOutlets(t *testing.T) {
	for _, name := range Sinks() {
		if outlets()[name] == nil {
			t.Errorf("the broker %s has no outlet", name)
		}
	}
	if len(outlets()) != len(Sinks())+1 { // the sentinel's is a second one of redis
		t.Errorf("%d outlets for %d brokers", len(outlets()), len(Sinks()))
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		r    Result
		sink string
		want string
	}{
		{Result{Repeated: 1, Told: 3, Gaps: 1}, "amqp", ""},
		{Result{Repeated: 1}, "redis", "1 events are repeated"},
		{Result{Lost: 2, OutOfOrder: 3, Unknown: 4}, "file", "2 events are lost; 3 events are out of order; 4 events were never sent"},
		{Result{Wrong: []string{"a", "b"}}, "file", "a; b"},
	} {
		got := ""
		if err := tt.r.Check(tt.sink); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.r, got, tt.want)
		}
	}
}

// Orderly restarts and upgrades cost no session and repeat nothing.
func TestRestarts(t *testing.T) {
	for _, sink := range []string{"redis", "file"} {
		t.Run(sink, func(t *testing.T) {
			t.Parallel()
			// A restart and an upgrade.
			r, err := Run(t.Context(), Options{Gateway: reexec.Link(t, "gateway"), Sink: sink, Store: "file", Restarts: 2, Seed: 1, Log: t.Output()})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(&r)
			if err := r.Check(sink); err != nil {
				t.Error(err)
			}
			if r.Identifies != 4 || r.Events < 1000 || r.Pause == 0 {
				t.Errorf("that was no run: %v", &r)
			}
		})
	}
}
