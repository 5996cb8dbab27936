// This file counts what a connection sends.

package engine

import "time"

const (
	// sendLimit payloads in any 60 s close the connection with 4008 when
	// exceeded; every payload counts, heartbeats and Identify included.
	sendLimit = 120
	// sendWindow is the 60 s and a second more: what left late by the
	// network and what left early arrive closer together.
	sendWindow = 61 * time.Second
)

// sendLimiter is a log of the last sends of one connection. Discord does not
// say whether its window slides or is fixed; a sliding one satisfies both.
// The zero value is that of a fresh connection. It belongs to the reader.
type sendLimiter struct {
	epoch time.Time                // of the first send; what times count from
	times [sendLimit]time.Duration // ring: the last count sends, oldest at start
	start int
	count int
}

// next returns when one more payload may be sent if at most limit of them may
// lie in a window; a time not after now means at once.
func (l *sendLimiter) next(now time.Time, limit int) time.Time {
	since := now.Sub(l.epoch)
	for l.count > 0 && since-l.times[l.start] >= sendWindow {
		l.start = (l.start + 1) % sendLimit
		l.count--
	}
	if l.count < limit {
		return now
	}
	// The send that has to leave the window before there is room.
	i := (l.start + l.count - limit) % sendLimit
	return l.epoch.Add(l.times[i] + sendWindow)
}

// take counts one send. The caller has asked next.
func (l *sendLimiter) take(now time.Time) {
	if l.epoch.IsZero() {
		l.epoch = now
	}
	l.times[(l.start+l.count)%sendLimit] = now.Sub(l.epoch)
	l.count++
}

// commandLimit is how many of the sendLimit payloads are for commands on a
// connection with this heartbeat interval. The rest is room for heartbeats, for
// Identify or Resume, and for two heartbeats that Discord may ask for (op 1).
func commandLimit(interval time.Duration) int {
	beats := int(sendWindow/interval) + 1
	return max(1, sendLimit-beats-3)
}
