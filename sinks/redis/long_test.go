//go:build long

package redis

import "time"

// See short_test.go.
const (
	hostileTime    = 30 * time.Second
	positionEvents = 4000
	manyEvents     = 200_000
)
