// This file has the metrics of events, shards, sessions and the event queue.

package metrics

import (
	"strconv"

	"sluice/engine"
	"sluice/fleet"
)

var eventMetrics = []Metric{
	{Name: "sluice_events_total", Type: Counter, Unit: "events", Labels: labels("event"),
		Help: "Events received from Discord and queued for the broker, by event name.",
		Look: "Falls to 0: compare `sluice_shards` and `sluice_broker_up`. Rises much: which event is it? Leave it out by `events`.",
		values: func(w *writer, s *snapshot) {
			for i := range s.engine.Names {
				w.labelled(float64(s.engine.Names[i].Count), s.engine.Names[i].Name)
			}
		}},
	{Name: "sluice_events_filtered_total", Type: Counter, Unit: "events",
		Help:   "Events that the setting events leaves out.",
		Look:   "Much more than `sluice_events_total`: fewer `intents` would save the traffic.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Filtered) }},
	{Name: "sluice_events_repeated_total", Type: Counter, Unit: "events",
		Help:   "Events that Discord sent again after a resume, and that were dropped as duplicates.",
		Look:   "Nothing: it rises a little with each resume.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Repeated) }},
	{Name: "sluice_gaps_total", Type: Counter, Unit: "gaps",
		Help:   "Sessions that ended with events which Discord does not send again; each is reported as GATEWAY_GAP.",
		Look:   "Events are lost: what came between two sessions of a shard. Look at `sluice_connections_ended_total` for the cause; bots fetch what they need again.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Gaps) }},
	{Name: "sluice_publish_lag_seconds", Type: Histogram, Unit: "seconds",
		Help:   "Time from the read of an event's socket to its acknowledgement by the broker, or by the spool.",
		Look:   "Rises: the broker is slow (`sluice_broker_up`, its own metrics), or the machine is (`process_cpu_seconds_total`).",
		values: func(w *writer, s *snapshot) { w.histogram(&s.engine.Lag) }},
	{Name: "sluice_publish_oldest_seconds", Type: Gauge, Unit: "seconds",
		Help:   "Age of the oldest event that is not acknowledged; 0: there is none.",
		Look:   "Rises by a second each second: the broker acknowledges nothing. See `sluice_broker_up` and the log.",
		values: func(w *writer, s *snapshot) { w.value(s.engine.Queue.Oldest.Seconds()) }},
}

var shardMetrics = []Metric{
	{Name: "sluice_reshard_shards", Type: Gauge, Unit: "shards",
		Help: "Shard count that is to be, while the bot is resharded; 0: it is not.",
		Look: "Not 0 for longer than the new shards need to connect: `gateway reshard` has not come about; `gateway status` says what it waits for.",
		values: func(w *writer, s *snapshot) {
			switch {
			case s.fleet.Reshard.Stage != fleet.ReshardNone:
				w.count(int64(s.fleet.Reshard.To))
			case s.engine.Reshard.Stage != engine.ReshardNone:
				w.count(int64(s.engine.Reshard.To))
			default:
				w.count(0)
			}
		}},
	{Name: "sluice_shards", Type: Gauge, Unit: "shards", Labels: labels("state"),
		Help: "Shards of this process by state.",
		Look: "Many in `backoff`: Discord or the network is unavailable. Many in `identify queued`: a start takes its time, see Session starts.",
		values: func(w *writer, s *snapshot) {
			var states [16]int
			for i := range s.shards {
				states[s.shards[i].State&15]++
			}
			for state := engine.Idle; state <= engine.Stopped; state++ {
				w.labelled(float64(states[state]), state.String())
			}
		}},
	{Name: "sluice_shard_ready", Type: Gauge, Unit: "1 or 0", Labels: labels("shard"),
		Help: "Whether events of the shard arrive.",
		Look: "0 for minutes: `gateway status` and the log, filtered by the shard, say why.",
		values: func(w *writer, s *snapshot) {
			for i := range s.shards {
				w.shard(s.shards[i].ID, oneIf(s.shards[i].State == engine.Ready))
			}
		}},
	{Name: "sluice_shard_events_total", Type: Counter, Unit: "events", Labels: labels("shard"),
		Help: "Events of the shard that were queued for the broker.",
		Look: "One shard has far more than the others: it has a very large guild.",
		values: func(w *writer, s *snapshot) {
			for i := range s.shards {
				w.shard(s.shards[i].ID, float64(s.shards[i].Events))
			}
		}},
	{Name: "sluice_shard_wire_bytes_total", Type: Counter, Unit: "bytes", Labels: labels("shard"),
		Help: "Bytes received for the shard, as they came out of TLS.",
		Look: "Traffic that is paid for. The sum over shards is that of the process.",
		values: func(w *writer, s *snapshot) {
			for i := range s.shards {
				w.shard(s.shards[i].ID, float64(s.shards[i].WireBytes))
			}
		}},
	{Name: "sluice_shard_inflated_bytes_total", Type: Counter, Unit: "bytes", Labels: labels("shard"),
		Help: "Bytes of the shard's messages after decompression.",
		Look: "Compared with `sluice_shard_wire_bytes_total`: what `compression` saves.",
		values: func(w *writer, s *snapshot) {
			for i := range s.shards {
				w.shard(s.shards[i].ID, float64(s.shards[i].InflatedBytes))
			}
		}},
	{Name: "sluice_shards_paused", Type: Gauge, Unit: "shards",
		Help:   "Shards that read nothing until the event queue has space.",
		Look:   "Above 0: the broker is too slow or unavailable, and `broker.buffer` is full. Events wait at Discord, for minutes; a spool keeps them longer.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.engine.Queue.Paused)) }},
	{Name: "sluice_reader_busy_seconds", Type: Gauge, Unit: "seconds",
		Help: "Time since a reader's goroutine last waited for its sockets, of the one that has been busy the longest.",
		Look: "Above some seconds: the process is stuck, or has far too little CPU. `/livez` fails, too.",
		values: func(w *writer, s *snapshot) {
			longest := 0.0
			for _, r := range s.engine.Readers {
				if !r.Waits && !r.Turned.IsZero() {
					longest = max(longest, s.now.Sub(r.Turned).Seconds())
				}
			}
			w.value(longest)
		}},
}

var connectionMetrics = []Metric{
	{Name: "sluice_connections_total", Type: Counter, Unit: "connections",
		Help:   "Connections made to Discord: the WebSocket handshake succeeded.",
		Look:   "Each shard has a few a day. More: look at the causes below.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Connections) }},
	{Name: "sluice_connections_ended_total", Type: Counter, Unit: "connections", Labels: labels("cause", "code"),
		Help: "Connections that ended or could not be made, by cause and close code; code 0: there was none, other: one that is not documented.",
		Look: "docs/exit-codes.md has what follows each close code. `reconnect asked for` is Discord's daily routine; `zombie connection` and `connection lost` are the network.",
		values: func(w *writer, s *snapshot) {
			for i := range s.engine.Ended {
				e := &s.engine.Ended[i]
				code := "other"
				if e.Code != engine.OtherCode {
					code = strconv.Itoa(int(e.Code))
				}
				w.labelled(float64(e.Count), e.Cause, code)
			}
		}},
	{Name: "sluice_identifies_total", Type: Counter, Unit: "identifies",
		Help:   "Identify payloads sent; each takes one of the day's session starts.",
		Look:   "Rises after the start: sessions are lost instead of resumed. See `sluice_sessions_lost_total`.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Identifies) }},
	{Name: "sluice_resumes_total", Type: Counter, Unit: "resumes",
		Help:   "Sessions continued after a resume (RESUMED).",
		Look:   "Nothing: this is how a lost connection should go on.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Resumes) }},
	{Name: "sluice_sessions_begun_total", Type: Counter, Unit: "sessions",
		Help:   "Sessions begun (READY).",
		Look:   "Far fewer than `sluice_identifies_total`: Discord refuses or does not answer Identify.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Sessions) }},
	{Name: "sluice_sessions_lost_total", Type: Counter, Unit: "sessions",
		Help:   "Sessions given up because Discord did not continue them.",
		Look:   "Many at once: Discord had an outage, or the gateway was away for longer than Discord keeps sessions.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Lost) }},
	{Name: "sluice_payloads_sent_total", Type: Counter, Unit: "payloads",
		Help:   "Payloads sent to Discord: heartbeats, Identify, Resume and commands.",
		Look:   "Discord allows 120 a minute on each connection; the gateway waits rather than exceed it.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Counts.Sent) }},
	{Name: "sluice_heartbeat_round_trip_seconds", Type: Histogram, Unit: "seconds",
		Help:   "Time from a heartbeat to its acknowledgement by Discord.",
		Look:   "Rises on all shards: the network or Discord is slow. `gateway_ping` has it by shard.",
		values: func(w *writer, s *snapshot) { w.histogram(&s.engine.RoundTrip) }},
	{Name: "sluice_heartbeat_lateness_seconds", Type: Histogram, Unit: "seconds",
		Help:   "Time from the moment a heartbeat was due to that it was sent.",
		Look:   "Above a second: the process has too little CPU. Above Discord's patience, connections end.",
		values: func(w *writer, s *snapshot) { w.histogram(&s.engine.Lateness) }},
}

var identifyMetrics = []Metric{
	{Name: "sluice_session_starts_left", Type: Gauge, Unit: "session starts",
		Help:   "Identifies that Discord still allows until the reset, those in reserve included.",
		Look:   "Falls although nothing was restarted: sessions are lost. At 0 Discord resets the token if one more is sent; the gateway waits instead.",
		values: known(func(s *snapshot) float64 { return float64(s.engine.Identify.Left) })},
	{Name: "sluice_session_starts_limit", Type: Gauge, Unit: "session starts",
		Help:   "Identifies that Discord allows in a day.",
		Look:   "Grows with the bot; Discord sets it.",
		values: known(func(s *snapshot) float64 { return float64(s.engine.Identify.Total) })},
	{Name: "sluice_session_starts_reserve", Type: Gauge, Unit: "session starts",
		Help:   "Of those left: how many this process does not use (shards.identify_reserve).",
		Look:   "Nothing: it is a setting.",
		values: known(func(s *snapshot) float64 { return float64(s.engine.Identify.Reserve) })},
	{Name: "sluice_session_starts_reset_seconds", Type: Gauge, Unit: "seconds",
		Help:   "Time until Discord counts session starts anew.",
		Look:   "With few left: how long to do without a restart that identifies.",
		values: known(func(s *snapshot) float64 { return max(0, s.engine.Identify.Reset.Sub(s.now).Seconds()) })},
	{Name: "sluice_session_starts_exhausted", Type: Gauge, Unit: "1 or 0",
		Help:   "Whether shards wait for the reset, because no session start is left for them.",
		Look:   "1: those shards are down until the reset. Do not restart; sessions that can be resumed need none.",
		values: func(w *writer, s *snapshot) { w.flag(s.engine.Identify.Exhausted) }},
	{Name: "sluice_identify_waiting_shards", Type: Gauge, Unit: "shards",
		Help:   "Shards that wait for their turn to identify.",
		Look:   "Falls by `sluice_identify_max_concurrency` every 5 s after a start. Does not: see the session starts, and the log.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.engine.Identify.Waiting)) }},
	{Name: "sluice_identify_max_concurrency", Type: Gauge, Unit: "shards",
		Help:   "Shards that may identify within 5 s (max_concurrency).",
		Look:   "Nothing: Discord sets it.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.engine.Identify.MaxConcurrency)) }},
}

// known is a value that Discord must have said.
func known(value func(*snapshot) float64) func(*writer, *snapshot) {
	return func(w *writer, s *snapshot) {
		if s.engine.Identify.Known {
			w.value(value(s))
		}
	}
}

var queueMetrics = []Metric{
	{Name: "sluice_queue_events", Type: Gauge, Unit: "events",
		Help:   "Events between the shards and the broker's acknowledgement.",
		Look:   "Grows: the broker takes fewer than arrive.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.engine.Queue.Events)) }},
	{Name: "sluice_queue_in_flight_events", Type: Gauge, Unit: "events",
		Help:   "Of those: events that were written to the broker or the spool.",
		Look:   "Near 0 with a long queue: the broker is unavailable.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.engine.Queue.InFlight)) }},
	{Name: "sluice_queue_bytes", Type: Gauge, Unit: "bytes",
		Help:   "Bytes of the events in the queue.",
		Look:   "Near `sluice_queue_limit_bytes`: shards pause.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Queue.Bytes) }},
	{Name: "sluice_queue_limit_bytes", Type: Gauge, Unit: "bytes",
		Help:   "Bytes at which shards stop to read (broker.buffer).",
		Look:   "Nothing: it is a setting.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Queue.MaxBytes) }},
}
