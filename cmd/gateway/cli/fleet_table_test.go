// This file tests what `gateway fleet` prints.

package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/status"
)

func TestFleetTable(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	reset := now.Add(2 * time.Hour)
	f := &status.Fleet{
		Joined: true, Member: "pod-0", Incarnation: "ABCDEFGHIJKL", Confirmed: true, Beat: 0.4, Stable: 12, Starting: 1, Unowned: 2,
		Plan: status.FleetPlan{Generation: 1, Shards: 64, Intents: 513, Format: "redis json"},
		Members: []status.FleetMember{
			{Name: "pod-1", Incarnation: "MNOPQRSTUVWX", State: "draining", Shards: 31, Weight: 1, Beat: 0.9, Version: "v1.2.3"},
			{Name: "pod-0", Incarnation: "ABCDEFGHIJKL", State: "up", Shards: 31, Share: 64, Weight: 1, Beat: 0.1, Version: "v1.2.3"},
			{Name: "pod\x1b[2J", Incarnation: "ZZZZZZZZZZZZ", State: "deposed", Shards: 2, Weight: 1},
		},
		Counts: status.FleetCounts{Given: 4, Taken: 5, Takeovers: 1200},
		Deaths: []status.FleetDeath{{Name: "pod\x1b[2J", Incarnation: "ZZZZZZZZZZZZ", At: now.Add(-90 * time.Second), Shards: 21, By: "pod-0"}, {Incarnation: "YYYYYYYYYYYY", At: now.Add(-2 * time.Hour), Shards: 1}},
		Identify: status.FleetIdentify{
			Waiting: 3, Turns: 1, Known: true, Total: 1000, Remaining: 992, Reserve: 100, Reset: &reset,
		},
	}
	for i := range 12 {
		f.Moves = append(f.Moves, status.FleetMove{Shard: i, From: "MNOPQRSTUVWX", To: "ABCDEFGHIJKL", Since: 0.2})
	}
	r := &status.Reshard{Stage: "gathering", From: 64, To: 96, Fleet: &status.FleetReshard{Classes: 32, Gathered: 30, Members: 2}}
	got := fleetTable(f, r, now, 0, false)
	for _, want := range []string{
		"fleet     pod-0 (ABCDEFGH), confirmed 0.4 s ago\n",
		"plan      64 shards, generation 1, intents 513, redis json\n",
		"reshard   from 64 to 96 shards, attempt 1, gathering: 30 of 32 classes of shards are at one member; it waits until shards have moved\n",
		"members   3, the same for 12 s\n",
		"unowned   2 shards of nobody that lives\n",
		"starting  1 shard of this member, and not started yet\n",
		"moved     4 given to others, 5 taken from them, 1,200 taken over from the dead\n",
		"identify  992 of 1,000 session starts left for the whole fleet (100 of them in reserve), reset in 2 h 0 min; 3 shards here in the queue, 1 of them with a turn\n",
		"   MEMBER        INCARNATION  STATE     SHARDS  SHARE  WEIGHT  BEAT   VERSION\n" +
			"   pod\\u001b[2J  ZZZZZZZZ     deposed   2       0      1       -\n" +
			"*  pod-0         ABCDEFGH     up        31      64     1       0.1 s  v1.2.3\n" +
			"   pod-1         MNOPQRST     draining  31      0      1       0.9 s  v1.2.3\n",
		"SHARD  FROM   TO     FOR\n0      pod-1  pod-0  0.2 s\n",
		"9      pod-1  pod-0  0.2 s\nand 2 moves more; gateway fleet -json has all\n",
		"DEAD          INCARNATION  FOR        SHARDS  FOUND BY\npod\\u001b[2J  ZZZZZZZZ     1 min      21      pod-0\nunknown       YYYYYYYY     2 h 0 min  1       another\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not have\n%s", want)
		}
	}
	if t.Failed() {
		t.Log("\n" + got)
	}
	f.Confirmed, f.Unreached, f.Error, f.Draining = false, 7, "dial: refused", true
	f.Identify.Remaining = 100
	for _, want := range []string{
		"pod-0 (ABCDEFGH), not confirmed: Redis has not answered for 7.0 s: dial: refused\n", "it drains: ", "; used up: shards wait for the reset\n",
	} {
		if got := fleetTable(f, r, now, 0, false); !strings.Contains(got, want) {
			t.Errorf("it does not have\n%s\n%s", want, got)
		}
	}
	if got, want := fleetTable(status.WaitingFleet("pod-0", "nobody listens"), nil, now, 80, false), "fleet     pod-0 has not joined yet: nobody listens\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// While the bot is resharded gateway status and gateway fleet say so, and nothing moves to balance the fleet.
func TestFleetReshards(t *testing.T) {
	d := status.Status{
		Version: status.Version,
		Fleet:   &status.Fleet{Joined: true, Member: "a", Incarnation: "AAAA", Confirmed: true, Members: []status.FleetMember{{Name: "a", Incarnation: "AAAA", State: "up", Shards: 4, Share: 2}}},
		Reshard: &status.Reshard{Stage: "comparing", From: 4, To: 6, Fleet: &status.FleetReshard{Members: 3, Agreed: 1}},
	}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fleet/rebalance" {
			asked++
			io.WriteString(w, `{"ok":true}`)
			return
		}
		json.NewEncoder(w).Encode(&d)
	}))
	defer server.Close()
	const line = "reshard   from 4 to 6 shards, attempt 1, comparing: 1 of 3 members agree; it waits until the old and the new shards show the same\n"
	for _, command := range []string{"status", "fleet"} {
		if o := runCommand(nil, command, "-address", server.URL); o.code != exitOK || !strings.Contains(o.stdout, line) {
			t.Errorf("gateway %s: %+v", command, o)
		}
	}
	if o := runCommand(nil, "fleet", "rebalance", "-address", server.URL); o.code != exitFailure || asked != 0 || !strings.Contains(o.stderr, errResharded.Error()+"\n") {
		t.Errorf("gateway fleet rebalance, which has asked %d times: %+v", asked, o)
	}
	d.Reshard.Stage, d.Reshard.Fleet = "", nil
	for _, args := range [][]string{{"status"}, {"fleet"}, {"fleet", "rebalance"}} {
		if o := runCommand(nil, append(args, "-address", server.URL)...); o.code != exitOK || strings.Contains(o.stdout, "reshard") {
			t.Errorf("gateway %s after it: %+v", args, o)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
