// This file has the metrics of the broker, the spool, the store and commands.

package metrics

import "maps"

var brokerMetrics = []Metric{
	{Name: "sluice_broker_up", Type: Gauge, Unit: "1 or 0",
		Help:   "Whether the broker takes events.",
		Look:   "0: see `gateway status` and the log for its error; is the broker running, and does it have memory and disk? Events wait.",
		values: func(w *writer, s *snapshot) { w.flag(s.sink.Available) }},
	{Name: "sluice_broker_blocked", Type: Gauge, Unit: "1 or 0",
		Help:   "Whether RabbitMQ blocks publishers by an alarm for memory or disk.",
		Look:   "1: free memory or disk of RabbitMQ; consumers may be too slow.",
		values: func(w *writer, s *snapshot) { w.flag(s.sink.Blocked) }},
	{Name: "sluice_broker_unavailable_seconds_total", Type: Counter, Unit: "seconds",
		Help:   "Time for which the broker was unavailable.",
		Look:   "Its increase over a month is what the broker's availability cost.",
		values: func(w *writer, s *snapshot) { w.value(s.sink.Unavailable.Seconds()) }},
	{Name: "sluice_broker_connections_total", Type: Counter, Unit: "connections",
		Help:   "Connections made to the broker.",
		Look:   "Rises again and again: the network, a proxy with a time-out, or a broker that restarts.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Connections) }},
	{Name: "sluice_broker_events_published_total", Type: Counter, Unit: "events",
		Help:   "Events that the broker acknowledged.",
		Look:   "Its rate is that of `sluice_events_total`, or less while the queue or the spool grows.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Published) }},
	{Name: "sluice_broker_duplicates_dropped_total", Type: Counter, Unit: "events",
		Help:   "Events that the broker had already, and that were not written twice.",
		Look:   "Nothing: it rises after outages.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Repeated) }},
	{Name: "sluice_broker_events_resent_total", Type: Counter, Unit: "events",
		Help:   "Events sent to the broker again, which consumers may see twice.",
		Look:   "Rises with each lost connection to RabbitMQ; consumers drop duplicates by shard, session and seq.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Resent) }},
	{Name: "sluice_broker_events_undone_total", Type: Counter, Unit: "events",
		Help:   "Events that Redis confirmed and has lost since, as a failover may; as far as it is known.",
		Look:   "Must be 0: these are lost. Set `redis.replicas`, and see docs/redis.md.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Undone) }},
	{Name: "sluice_broker_nacks_total", Type: Counter, Unit: "refusals",
		Help:   "Refusals by RabbitMQ (basic.nack); their events are sent again.",
		Look:   "Rises: RabbitMQ has an internal error, or a queue is at its limit; see its log.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Nacked) }},
	{Name: "sluice_broker_unroutable_events_total", Type: Counter, Unit: "events",
		Help:   "Events that no queue of RabbitMQ took; counted where they are published as mandatory.",
		Look:   "Rises: no consumer has bound a queue to that event. Leave it out by `events`, or start the consumer.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Unroutable) }},
	{Name: "sluice_broker_batches_total", Type: Counter, Unit: "batches",
		Help:   "Batches written to the broker, those that were sent again included.",
		Look:   "Events by batches is the batch size: larger is cheaper, `broker.linger` makes it so.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Batches) }},
	{Name: "sluice_broker_batches_retried_total", Type: Counter, Unit: "batches",
		Help:   "Batches that were written again.",
		Look:   "Rises while the broker seems up: see the log for its errors.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Retried) }},
	{Name: "sluice_broker_batch_events", Type: Histogram, Unit: "events",
		Help:   "Events in a batch.",
		Look:   "Grows with the rate; at the largest size the broker is the bottleneck.",
		values: func(w *writer, s *snapshot) { w.histogram(&s.sink.BatchSizes) }},
	{Name: "sluice_broker_pending_events", Type: Gauge, Unit: "events",
		Help:   "Events that were given to the broker's sink and are not acknowledged.",
		Look:   "Grows: the broker is slow or unavailable.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.sink.Pending)) }},
	{Name: "sluice_broker_oldest_seconds", Type: Gauge, Unit: "seconds",
		Help:   "Time since the oldest of them was given to the sink; 0: there is none.",
		Look:   "As `sluice_publish_oldest_seconds`; with a spool, this is the one that shows the broker.",
		values: func(w *writer, s *snapshot) { w.value(s.sink.Oldest.Seconds()) }},
	{Name: "sluice_dead_letters_total", Type: Counter, Unit: "events", Labels: labels("reason"),
		Help:   "Events that the broker refuses for good, by reason; those of sluice_events_lost_total among them.",
		Look:   "The reason says what to change, such as a size limit of the broker. The dead letters have the events.",
		values: func(w *writer, s *snapshot) { byReason(w, s.sink.DeadLettered) }},
	{Name: "sluice_events_lost_total", Type: Counter, Unit: "events",
		Help:   "Events known lost: refused for good by the broker, and not dead-lettered.",
		Look:   "Must be 0. The log names each. Set `broker.dead_letters`, or make space where it writes.",
		values: func(w *writer, s *snapshot) { w.count(s.sink.Lost) }},
}

var spoolMetrics = []Metric{
	{Name: "sluice_spool_active", Type: Gauge, Unit: "1 or 0",
		Help:   "Whether new events go to the disk.",
		Look:   "1: the broker is unavailable, or catches up.",
		values: func(w *writer, s *snapshot) { w.flag(s.spool.Active) }},
	{Name: "sluice_spool_bytes", Type: Gauge, Unit: "bytes",
		Help:   "Bytes of the spool on disk.",
		Look:   "Near `sluice_spool_limit_bytes`: bring the broker back, or raise `spool.size`; then events wait at Discord, for minutes.",
		values: func(w *writer, s *snapshot) { w.count(s.spool.Bytes) }},
	{Name: "sluice_spool_limit_bytes", Type: Gauge, Unit: "bytes",
		Help:   "Bytes that the spool may have (spool.size).",
		Look:   "Nothing: it is a setting.",
		values: func(w *writer, s *snapshot) { w.count(s.spool.MaxBytes) }},
	{Name: "sluice_spool_oldest_seconds", Type: Gauge, Unit: "seconds",
		Help:   "Age of the oldest event on the disk; 0: there is none.",
		Look:   "This is how late events are for consumers. Falls when the broker takes more than arrives.",
		values: func(w *writer, s *snapshot) { w.value(s.spool.Oldest.Seconds()) }},
	{Name: "sluice_spool_events_total", Type: Counter, Unit: "events",
		Help:   "Events that were written to the spool.",
		Look:   "Rises in an outage of the broker.",
		values: func(w *writer, s *snapshot) { w.count(s.spool.Events) }},
}

var storeMetrics = []Metric{
	{Name: "sluice_store_up", Type: Gauge, Unit: "1 or 0",
		Help:   "Whether checkpoints of the sessions can be persisted.",
		Look:   "0: a crash now would repeat or lose events. Is the disk full, is Redis available? The log has the error.",
		values: func(w *writer, s *snapshot) { w.flag(s.store.Available) }},
	{Name: "sluice_checkpoint_age_seconds", Type: Gauge, Unit: "seconds",
		Help: "Time since the store last had everything that there was to persist.",
		Look: "Usually `shard_store.interval`. Grows: as `sluice_store_up`.",
		values: func(w *writer, s *snapshot) {
			if !s.store.Current.IsZero() {
				w.value(max(0, s.now.Sub(s.store.Current).Seconds()))
			}
		}},
	{Name: "sluice_store_failures_total", Type: Counter, Unit: "failures",
		Help:   "Times that the store could not be read or written.",
		Look:   "As `sluice_store_up`; it shows also what was over between two scrapes.",
		values: func(w *writer, s *snapshot) { w.count(s.store.Failures) }},
	{Name: "sluice_store_pending_sessions", Type: Gauge, Unit: "sessions",
		Help:   "Sessions that are not persisted as they are now.",
		Look:   "As `sluice_store_up`.",
		values: func(w *writer, s *snapshot) { w.count(int64(s.store.Pending)) }},
}

var commandMetrics = []Metric{
	{Name: "sluice_commands_sent_total", Type: Counter, Unit: "commands",
		Help:   "Commands of bots that were written to a connection.",
		Look:   "Stops while `sluice_commands_pending` grows: shards are not ready, or a bot sends more than Discord's limit.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Commands.Sent) }},
	{Name: "sluice_commands_pending", Type: Gauge, Unit: "commands",
		Help:   "Commands that wait for their shard, or for Discord's limits.",
		Look:   "Grows: `gateway status` shows on which shard. Discord allows 120 payloads a minute and shard.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Commands.Pending) }},
	{Name: "sluice_commands_replaced_total", Type: Counter, Unit: "commands",
		Help:   "Commands that were replaced by a newer one, or equal to a pending one.",
		Look:   "Nothing: bots send presence more often than Discord takes it.",
		values: func(w *writer, s *snapshot) { w.count(s.engine.Commands.Replaced) }},
	{Name: "sluice_commands_refused_total", Type: Counter, Unit: "commands", Labels: labels("reason"),
		Help: "Commands that were refused, by reason.",
		Look: "A bot sends what cannot be sent; the log and the answers to the bot have the command.",
		values: func(w *writer, s *snapshot) {
			if len(s.refused) == 0 {
				byReason(w, s.engine.Commands.Refused)
				return
			}
			all := maps.Clone(s.refused)
			for reason, n := range s.engine.Commands.Refused {
				all[reason] += n
			}
			byReason(w, all)
		}},
	{Name: "sluice_command_wait_seconds", Type: Histogram, Unit: "seconds",
		Help:   "Time from the moment a shard was given a command to its write on the connection.",
		Look:   "Rises with `sluice_commands_pending`.",
		values: func(w *writer, s *snapshot) { w.histogram(&s.engine.Commands.Waited) }},
}
