// This file tests what spaces sends and reconnects.

package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Discord takes 120 payloads in any 60 s, heartbeats, Identify and Resume included. A second more
// is kept: what is sent later may travel faster.
const (
	discordLimit  = 120
	limiterWindow = 61 * time.Second
)

// Whatever is asked of the limiter, no window holds more than the limit, and there is room as
// soon as there may be.
func TestSendLimiter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(1000, 0)
	for _, limit := range []int{1, 7, 115, discordLimit} {
		var l sendLimiter
		var sent []time.Time
		now := start
		for len(sent) < 1000 {
			at := l.next(now, limit)
			want := now
			if n := len(sent); n >= limit {
				if free := sent[n-limit].Add(limiterWindow); free.After(now) {
					want = free
				}
			}
			if !at.Equal(want) {
				t.Fatalf("limit %d, %d sent: room after %v, want %v", limit, len(sent), at.Sub(now), want.Sub(now))
			}
			if at.After(now) {
				now = at
				continue
			}
			l.take(now)
			sent = append(sent, now)
			now = now.Add(time.Duration(r.Int64N(int64(time.Second))))
		}
	}
}

// Fewer may go first: what one limit has let through counts for a lower one.
func TestSendLimiterOfTwoLimits(t *testing.T) {
	var l sendLimiter
	start := time.Unix(1000, 0)
	for i := range discordLimit {
		now := start.Add(time.Duration(i) * time.Millisecond)
		if at := l.next(now, discordLimit); !at.Equal(now) {
			t.Fatalf("send %d waits until %v", i, at)
		}
		l.take(now)
	}
	now := start.Add(time.Second)
	for limit := 1; limit <= discordLimit; limit++ {
		want := start.Add(time.Duration(discordLimit-limit)*time.Millisecond + limiterWindow)
		if at := l.next(now, limit); !at.Equal(want) {
			t.Errorf("limit %d: room %v after the first, want %v", limit, at.Sub(start), want.Sub(start))
		}
	}
}

// Beside the commands there is room for every heartbeat of a window, for Identify or Resume, and for
// two heartbeats that Discord asks for; and not for much more.
func TestCommandLimitLeavesRoom(t *testing.T) {
	for _, tt := range []struct {
		interval time.Duration
		beats    int // that may lie in 61 s
	}{
		{41250 * time.Millisecond, 2}, {45 * time.Second, 2}, {time.Hour, 1}, {62 * time.Second, 1}, {61 * time.Second, 2},
		{30 * time.Second, 3}, {5 * time.Second, 13}, {time.Second, 62},
	} {
		if got, want := commandLimit(tt.interval), discordLimit-tt.beats-3; got != want {
			t.Errorf("interval %v: %d commands in a window, want %d", tt.interval, got, want)
		}
	}
	if got := commandLimit(100 * time.Millisecond); got != 1 {
		t.Errorf("%d commands where heartbeats take all, want 1: commands go out, slowly", got)
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
