// This file spaces connections that fail.

package engine

import (
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 1 * time.Second
	backoffMax = 60 * time.Second
	// livedAfter is how long a session must have been ready for its end to
	// count as the first failure.
	livedAfter = 30 * time.Second
)

// backoff returns the wait after n failures in a row: none for zero, then
// anywhere between nothing and 1 s, 2 s, 4 s … 60 s ("full jitter").
func backoff(n int, r *rand.Rand) time.Duration {
	if n <= 0 {
		return 0
	}
	limit := backoffMax
	if n <= 6 {
		limit = min(limit, backoffMin<<(n-1))
	}
	return time.Duration(r.Int64N(int64(limit)))
}

// between returns a wait anywhere between lo and hi.
func between(lo, hi time.Duration, r *rand.Rand) time.Duration {
	return lo + time.Duration(r.Int64N(int64(hi-lo)))
}
