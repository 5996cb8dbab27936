// This file has the metrics of the gateway of spec-tacles, with its names, types and labels.

package metrics

import (
	"math"
	"slices"
	"strconv"
	"time"

	"sluice/engine"
)

var oldMetrics = []Metric{
	{Name: "gateway_total_shards", Type: Gauge, Unit: "shards",
		Help:   "The shard count of the bot; 0: it is not known yet.",
		Look:   "Changes with `shards.count`, or with what Discord recommends at a start.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.engine.Shards)) }},
	{Name: "gateway_shards_alive", Type: Gauge, Unit: "1 or 0", Labels: labels("id"),
		Help: "Whether the shard is ready; the same as sluice_shard_ready.",
		Look: "As `sluice_shard_ready`.",
		values: func(w *writer, s *snapshot) {
			for i := range s.shards {
				w.shard(s.shards[i].ID, oneIf(s.shards[i].State == engine.Ready))
			}
		}},
	{Name: "gateway_ping", Type: Summary, Unit: "milliseconds", Labels: labels("id"),
		Help:   "Heartbeat round trip in milliseconds; the quantiles are over the shard's last 16.",
		Look:   "As `sluice_heartbeat_round_trip_seconds`, by shard.",
		values: ping},
	{Name: "gateway_packets_received", Type: Counter, Unit: "payloads", Labels: labels("t", "op", "shard"),
		Help:   "Payloads received; op -1: an unknown one; on up to 64 shards, or by prometheus.packets.",
		Look:   "As `sluice_events_total` and `sluice_shard_events_total`.",
		values: func(w *writer, s *snapshot) { packets(w, s, false) }},
	{Name: "gateway_packets_sent", Type: Counter, Unit: "payloads", Labels: labels("t", "op", "shard"),
		Help:   "Payloads sent, with an empty t; on up to 64 shards, or by prometheus.packets.",
		Look:   "As `sluice_payloads_sent_total`.",
		values: func(w *writer, s *snapshot) { packets(w, s, true) }},
}

var quantiles = []struct {
	label string
	q     float64
}{{"0.5", 0.5}, {"0.9", 0.9}, {"0.95", 0.95}, {"0.99", 0.99}}

// ping appends the round trips of each shard that has had one.
func ping(w *writer, s *snapshot) {
	for i := range s.shards {
		shard := &s.shards[i]
		if shard.RoundTripCount == 0 {
			continue
		}
		last := shard.RoundTrips
		slices.Sort(last[:])
		first, _ := slices.BinarySearch(last[:], 1) // 0: there were fewer
		if known := last[first:]; len(known) > 0 {
			for _, q := range quantiles {
				nearest := int(math.Ceil(q.q*float64(len(known)))) - 1
				w.quantile(shard.ID, q.label, milliseconds(known[nearest]))
			}
		}
		w.summary(shard.ID, milliseconds(shard.RoundTripSum), shard.RoundTripCount)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// packets appends counts of payloads by event, opcode and shard.
func packets(w *writer, s *snapshot, sent bool) {
	for i := range s.packets {
		p := &s.packets[i]
		n := p.Received
		if sent {
			n = p.Sent
		}
		if n > 0 {
			w.labelled(float64(n), p.Name, strconv.Itoa(p.Op), strconv.Itoa(p.Shard))
		}
	}
}
