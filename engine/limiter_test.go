// This file tests what spaces sends and reconnects.

package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever is asked of the limiter, no window holds more than the limit.
func TestSendLimiter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(1000, 0)
	for _, limit := range []int{1, 7, 115, sendLimit} {
		var l sendLimiter
		var sent []time.Time
		now := start
		for len(sent) < 1000 {
			at := l.next(now, limit)
			if at.After(now) {
				if len(sent) < limit {
					t.Fatalf("limit %d: refused after %d sends", limit, len(sent))
				}
				if want := sent[len(sent)-limit].Add(sendWindow); !at.Equal(want) {
					t.Fatalf("limit %d: room at %v, want %v", limit, at, want)
				}
				now = at
				continue
			}
			l.take(now)
			sent = append(sent, now)
			if n := len(sent); n > limit && sent[n-1].Sub(sent[n-1-limit]) < sendWindow {
				t.Fatalf("limit %d: %d sends within %v", limit, limit+1, sent[n-1].Sub(sent[n-1-limit]))
			}
			now = now.Add(time.Duration(r.Int64N(int64(time.Second))))
		}
	}
}

func TestCommandLimitLeavesRoom(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 5 * time.Second, 41250 * time.Millisecond, time.Hour} {
		beats := int(sendWindow/interval) + 1
		if got := commandLimit(interval); got < 1 || got+beats > sendLimit {
			t.Errorf("interval %v: %d commands and %d heartbeats exceed %d", interval, got, beats, sendLimit)
		}
	}
}

func TestBackoff(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	if got := backoff(0, r); got != 0 {
		t.Errorf("backoff(0) = %v", got)
	}
	for n := 1; n < 100; n++ {
		limit := backoffMax
		if n < 7 {
			limit = min(backoffMax, time.Second<<(n-1))
		}
		var most time.Duration
		for range 200 {
			got := backoff(n, r)
			if got < 0 || got >= limit {
				t.Fatalf("backoff(%d) = %v, want below %v", n, got, limit)
			}
			most = max(most, got)
		}
		if most < limit*3/4 {
			t.Errorf("backoff(%d) reached only %v of %v: not full jitter", n, most, limit)
		}
	}
}
