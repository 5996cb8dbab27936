//go:build !long

package redis

// How much there is of what may be any amount. With the tag long (make test-long) it is more.
const (
	hostileTime    = 0 // for a few rounds
	positionEvents = 1000
	manyEvents     = 50_000
)
