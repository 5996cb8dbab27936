//go:build !long

package amqp

import "time"

// How much there is of what may be any amount. With the tag long (make test-long) it is more.
const (
	orderEvents   = 30_000
	cutEvents     = 4_000 // between two cuts
	clusterEvents = 20_000
	hostileTime   = 2 * time.Second
)
