// This file says why a shard is not ready.

package status

import (
	"fmt"
	"time"

	"sluice/engine"
)

// identifyWindow is the pause between two Identifies of a bucket.
const identifyWindow = 5250 * time.Millisecond

// waits are what the shards of one moment wait for. why is called in the order of their ids.
type waits struct {
	now      time.Time
	identify engine.IdentifyStatus
	ahead    []int // by bucket: shards that go before the next one that waits
}

func newWaits(now time.Time, identify engine.IdentifyStatus, shards []engine.ShardStatus) *waits {
	w := &waits{now: now, identify: identify, ahead: make([]int, max(1, identify.MaxConcurrency))}
	for i := range shards {
		switch s := &shards[i]; s.State {
		case engine.Confirming, engine.Connecting, engine.Hello, engine.IdentifyWait:
			if s.Session == "" { // it has the turn to identify
				*w.before(s.ID)++
			}
		}
	}
	return w
}

// before returns the count of shards before one that waits.
func (w *waits) before(shard int) *int { return &w.ahead[shard%len(w.ahead)] }

// why returns why a shard is not ready; "": it is.
func (w *waits) why(s *engine.ShardStatus) string {
	switch s.State {
	case engine.IdentifyQueued:
		ahead := w.before(s.ID)
		n := *ahead
		*ahead++
		switch {
		case w.identify.Exhausted:
			return w.exhausted()
		case n == 0:
			return "waits in the identify queue; it is next"
		case n == 1:
			return "waits in the identify queue behind 1 shard"
		}
		text := fmt.Sprintf("waits in the identify queue behind %s shards", Count(n))
		if w.identify.Permitted { // who knows how long that takes
			return text
		}
		return text + ", about " + span(time.Duration(n)*identifyWindow)
	case engine.IdentifyWait:
		if w.identify.Permitted {
			return "waits until Discord allows the next identify, or for a turn from identify.queue"
		}
	case engine.Backoff, engine.Connecting:
		return w.connecting(s)
	}
	return stateReasons[s.State]
}

// stateReasons are the reasons that the state alone gives.
var stateReasons = map[engine.State]string{
	engine.Idle:           "is not started yet",
	engine.IdentifyQueued: "waits in the identify queue",
	engine.Confirming:     "waits for the fleet",
	engine.Hello:          "waits for HELLO",
	engine.IdentifyWait:   "waits until Discord allows the next identify",
	engine.Identifying:    "waits for READY",
	engine.Resuming:       "waits to resume: RESUMED has not arrived",
	engine.Draining:       "is handed over: the broker has not confirmed all of its events yet",
	engine.Stopped:        "is stopped",
}

func (w *waits) exhausted() string {
	if w.identify.Reset.IsZero() {
		return "identify budget used up"
	}
	return "identify budget used up until " + moment(w.now, w.identify.Reset)
}

// moment returns the minute of a moment, with its day unless that is today.
func moment(now, at time.Time) string {
	now, at = now.UTC(), at.UTC().Add(time.Minute-1).Truncate(time.Minute)
	if at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		return at.Format("15:04Z")
	}
	return at.Format("2006-01-02 15:04Z")
}

// connecting is the reason of a shard that connects, or will.
func (w *waits) connecting(s *engine.ShardStatus) string {
	switch cause := ending(s); {
	case cause == "":
		return "is connecting"
	case s.State == engine.Connecting:
		return "is connecting again after: " + cause
	case s.RetryAt.After(w.now):
		return fmt.Sprintf("connecting again in %s after: %s", span(s.RetryAt.Sub(w.now)), cause)
	default:
		return "connecting again after: " + cause
	}
}

// ending says why the last connection of a shard ended; "": it has had none.
func ending(s *engine.ShardStatus) string {
	if s.Cause == "" || s.Code == 0 {
		return s.Cause
	}
	return fmt.Sprintf("%s with %d (%s)", s.Cause, uint16(s.Code), s.Code)
}

// kind returns a reason that shards share, without what is one's own.
func (w *waits) kind(s *engine.ShardStatus) string {
	switch {
	case s.State == engine.IdentifyQueued && w.identify.Exhausted:
		return w.exhausted()
	case s.State != engine.Backoff && s.State != engine.Connecting:
		return stateReasons[s.State]
	}
	if cause := ending(s); cause != "" {
		return "connecting again after: " + cause
	}
	return "is connecting"
}
