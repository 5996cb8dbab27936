//go:build long

package amqp

import "time"

// See short_test.go.
const (
	orderEvents   = 100_000
	cutEvents     = 20_000
	clusterEvents = 60_000
	hostileTime   = 30 * time.Second
)
