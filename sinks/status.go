// This file has what can be seen of a sink.

package sinks

import "time"

// Status is what a sink does, as of one moment. Counts are since it was made.
type Status struct {
	Available   bool          // it takes events now, as far as it is known; a broker that blocks is not available
	Blocked     bool          // RabbitMQ has an alarm for memory or disk
	Since       time.Time     // since when that is so; zero: the broker was not asked yet
	Unavailable time.Duration // in all, this time included
	Error       string        // why it is not available; without credentials
	Connections int64         // made
	Published   int64         // events that the broker has confirmed; none of Repeated and DeadLettered
	Repeated    int64         // events that the broker had already, and that were not written twice
	Excluded    int64         // events that were not written since their shards were another process's by then
	Resent      int64         // events sent again, which may be duplicates where the broker does not drop them
	Batches     int64         // written, those that were sent again included
	Retried     int64         // of them
	Pending     int           // events that it holds
	Oldest      time.Duration // since it was given the oldest of them; 0: there is none
	// Events that the broker will never take by reason, a few words of a fixed set for each sink,
	// such as "too large"; and those of them that could not be written to the dead letters, or had
	// none to go to.
	DeadLettered map[string]int64
	Lost         int64
	BatchSizes   Histogram // events in a batch

	Undone     int64 // events that Redis has confirmed and lost since, as a failover may; as far as it is known
	Nacked     int64 // refusals by RabbitMQ (basic.nack), each of which may be of many events, which are sent again
	Unroutable int64 // events that no queue of RabbitMQ took; counted where they are published as mandatory
}

// Histogram counts values in buckets. Bounds are upper ones, ascending; Counts has one count
// more, for what is above the last, and no count includes another.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// Reporter is a Sink that can be looked into.
type Reporter interface {
	// Status may be called by any goroutine, until Close has returned and after it.
	Status() Status
}
