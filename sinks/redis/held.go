// This file has the commands that are held, and acknowledges those that are done.

package redis

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// pending reports whether anything is held or left.
func (r *commandReader) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held) > 0 || r.leftCount > 0
}

// holding reports whether an entry was read, and was not yet acknowledged when the last
// read began.
func (r *commandReader) holding(at entryID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, held := r.held[at]
	_, acked := r.acked[at]
	return held || acked
}

// note notes that an entry was read, and for which shard it counts.
func (r *commandReader) note(at entryID, shard int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[at] = shard
}

// release notes that an entry is not held any more.
func (r *commandReader) release(at entryID) {
	r.mu.Lock()
	shard, ok := r.held[at]
	delete(r.held, at)
	r.mu.Unlock()
	if ok && shard != noShard {
		r.quota.Release(shard)
	}
}

// done has an entry acknowledged. Any goroutine may call it.
func (r *commandReader) done(at entryID) {
	r.mu.Lock()
	r.acks = append(r.acks, at)
	r.mu.Unlock()
}

// acknowledge acknowledges what is done, a few at a time, until ctx is done and then
// what is left.
func (r *commandReader) acknowledge(ctx context.Context) {
	wait := ackPause
	var unacknowledged limit
	for last := false; !last; {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			last = true
		}
		r.mu.Lock()
		client, acks := r.client, r.acks
		if client != nil {
			r.acks = nil
		}
		r.mu.Unlock()
		if client == nil || len(acks) == 0 {
			continue
		}
		var cmds []rueidis.Completed
		for _, at := range acks {
			cmds = append(cmds, client.B().Xack().Key(at.stream).Group(r.Group).Id(at.id).Build())
		}
		answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
		failed := 0
		var failure error
		for i, a := range client.DoMulti(answering, cmds...) {
			// What cannot be acknowledged stays held: given up, it would be carried out again
			// by the next process. Without its group XACK answers 0.
			_, err := a.ToInt64()
			if err == nil || strings.HasPrefix(err.Error(), "WRONGTYPE") {
				r.mu.Lock()
				r.acked[acks[i]] = struct{}{}
				r.mu.Unlock()
				r.release(acks[i])
			} else {
				r.done(acks[i])
				failed, failure = failed+1, err
			}
		}
		cancel()
		if wait = ackPause; failed == 0 {
			continue
		}
		wait = ackRetry
		if unacknowledged.allow() {
			r.Log.Warn("Redis: XACK of commands fails; retrying", "error", explain(failure),
				"commands", failed)
		}
	}
}

// logStalled logs, once a minute, that shards have taken no more commands for at least as long.
func (r *commandReader) logStalled(now time.Time) {
	if now.Sub(r.looked) < time.Second {
		return
	}
	r.looked = now
	since := make(map[int]time.Time)
	note := func(shard int) {
		if since[shard] = now; !r.stalled[shard].IsZero() {
			since[shard] = r.stalled[shard]
		}
	}
	for _, shard := range r.quota.Full() {
		note(shard)
	}
	for shard := range r.left {
		note(shard)
	}
	var shards []int
	held := 0
	for shard, at := range since {
		if now.Sub(at) >= time.Minute {
			shards = append(shards, shard)
			held += r.quota.Held(shard)
		}
	}
	r.stalled = since
	if len(shards) == 0 || now.Sub(r.stalledLogged) < time.Minute {
		return
	}
	r.stalledLogged = now
	slices.Sort(shards)
	r.Log.Warn("commands left in Redis; their shards take no more", "commands", r.leftCount, "held", held,
		"shards", len(shards), "first_shards", shards[:min(len(shards), 5)])
}
