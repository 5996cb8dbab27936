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

// identifyPause returns the least time between an Identify and the next one of a shard, of which
// n in a row began no session that lasted: Discord counts them, and resets the token of a bot that
// sends too many in a day. None for the first few; then 1, 2, 4, 8 and 15 minutes, less up to a
// quarter by chance: about a hundred a day.
func identifyPause(n int, r *rand.Rand) time.Duration {
	pause := longestIdentifyPause(n)
	if pause == 0 {
		return 0
	}
	return pause - time.Duration(r.Int64N(int64(pause/4)))
}

// longestIdentifyPause returns what identifyPause returns at most.
func longestIdentifyPause(n int) time.Duration {
	const few, most = 4, 15 * time.Minute
	if n <= few {
		return 0
	}
	return min(most, time.Minute<<min(n-few-1, 10))
}
