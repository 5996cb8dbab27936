// This file has the metrics of a fleet.

package metrics

import "sluice/fleet"

var fleetMetrics = []Metric{
	{Name: "sluice_fleet_confirmed", Type: Gauge, Unit: "1 or 0",
		Help:   "Whether the membership was confirmed a short time ago, so that no other can have taken the shards over.",
		Look:   "0: Redis does not answer, or the process waits to join; `gateway fleet` says why. No shard connects, and nothing but Redis as the broker gets events.",
		values: func(w *writer, s *snapshot) { w.flag(s.fleet.Confirmed) }},
	{Name: "sluice_fleet_beat_age_seconds", Type: Gauge, Unit: "seconds",
		Help: "Time since the last beat that Redis confirmed.",
		Look: "Up to 1. At two thirds of `fleet.death` the member is not confirmed any more, at `fleet.death` the others take its shards over.",
		values: func(w *writer, s *snapshot) {
			if !s.fleet.Beaten.IsZero() {
				w.value(max(0, s.now.Sub(s.fleet.Beaten).Seconds()))
			}
		}},
	{Name: "sluice_fleet_members", Type: Gauge, Unit: "members", Labels: labels("state"),
		Help: "Members of the fleet as this one sees them, by state: up, draining, or deposed and still with shards.",
		Look: "Fewer that are up than processes were started: see the log of the others.",
		values: func(w *writer, s *snapshot) {
			var n [fleet.Deposed + 1]int
			for _, m := range s.fleet.Members {
				n[min(m.State, fleet.Deposed)]++
			}
			for state, name := range []string{"up", "draining", "deposed"} {
				w.labelled(float64(n[state]), name)
			}
		}},
	{Name: "sluice_fleet_owned_shards", Type: Gauge, Unit: "shards",
		Help: "Shards that this member owns.",
		Look: "More than its part by `fleet.weight` for minutes: is `fleet.settle` over, and does its broker take events? A shard is drained before it moves.",
		values: func(w *writer, s *snapshot) {
			n := 0
			for _, m := range s.fleet.Members {
				if m.Incarnation == s.fleet.Incarnation {
					n = m.Shards
				}
			}
			w.count(int64(n))
		}},
	{Name: "sluice_fleet_unowned_shards", Type: Gauge, Unit: "shards",
		Help:   "Shards of the fleet without an owner that lives.",
		Look:   "0 but for moments. Stays: all members drain, or `fleet.return` keeps the shards of a member that does not come back.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.fleet.Unowned)) }},
	{Name: "sluice_fleet_starting_shards", Type: Gauge, Unit: "shards",
		Help:   "Shards that this member owns and does not run yet.",
		Look:   "Stays: they cannot be claimed at the broker, or their checkpoints not be loaded; the log has the error.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.fleet.Starting)) }},
	{Name: "sluice_fleet_pending_moves", Type: Gauge, Unit: "shards",
		Help:   "Handovers that are pending in the fleet, as far as this member sees.",
		Look:   "Returns to 0 after members have joined or left.",
		values: func(w *writer, s *snapshot) { w.count(int64(len(s.fleet.Moves))) }},
	{Name: "sluice_fleet_moves_total", Type: Counter, Unit: "shards", Labels: labels("direction"),
		Help: "Shards that this process has handed over to others (given), and others to it (taken).",
		Look: "Rises although no process was started or stopped: the members have different settings, or one dies again and again.",
		values: func(w *writer, s *snapshot) {
			w.labelled(float64(s.fleet.Counts.Given), "given")
			w.labelled(float64(s.fleet.Counts.Taken), "taken")
		}},
	{Name: "sluice_fleet_deaths_total", Type: Counter, Unit: "members",
		Help:   "Members that this process has observed to be deposed, itself included.",
		Look:   "Rises: a process was killed, stopped or cut off from Redis for longer than `fleet.death`; `gateway fleet` names it.",
		values: func(w *writer, s *snapshot) { w.count(s.fleet.Counts.Deaths) }},
	{Name: "sluice_fleet_takeovers_total", Type: Counter, Unit: "shards",
		Help:   "Shards that this process has acquired of members that were deposed.",
		Look:   "As `sluice_fleet_deaths_total`.",
		values: func(w *writer, s *snapshot) { w.count(s.fleet.Counts.Takeovers) }},
}
