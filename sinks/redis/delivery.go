// This file has an entry's command carried out, left with Redis, forwarded, or refused.

package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks/commands"
	"sluice/sinks/msgpack"
)

// delivery is an entry as commands.Router has it.
type delivery struct {
	r  *commandReader
	at entryID
}

// handle routes the command in the entry's fields.
func (d delivery) handle(ctx context.Context, fields map[string]string) {
	if fields == nil {
		d.r.Counts.Refused(d.at.stream, commands.Expired)
		d.settle() // it has been trimmed
		return
	}
	value, ok := fields["data"]
	if !ok {
		d.r.Counts.Refused(d.at.stream, commands.Malformed)
		d.Refuse(errors.New("the entry has no field data"))
		return
	}
	if d.fromShared() {
		d.r.moves.router.Route(ctx, d.at.stream, []byte(value), d)
		return
	}
	d.r.router.Route(ctx, d.at.stream, []byte(value), d)
}

// settle has the entry acknowledged, which counts for no shard.
func (d delivery) settle() {
	d.r.note(d.at, noShard)
	d.r.done(d.at)
}

// At returns when Redis was given the entry, as its id says. A bot may have chosen another id.
func (d delivery) At() time.Time {
	now := time.Now()
	ms, _, ok := parseID(d.at.id)
	if at := time.UnixMilli(int64(ms)); ok && ms < math.MaxInt64 && at.Before(now) {
		return at
	}
	return now
}

func (d delivery) Hold(shard int) bool {
	if d.fromShared() {
		_, left := d.r.moves.unforwarded[shard]
		return !left
	}
	if d.r.isLeft(shard) || !d.r.quota.Hold(shard) {
		return false
	}
	d.r.note(d.at, shard)
	return true
}

func (d delivery) Release(int) { d.r.release(d.at) }
func (d delivery) Sent(int)    { d.r.done(d.at) }

// Dropped leaves a command that the shard has held with Redis, and with it all that follow.
func (d delivery) Dropped(shard int) {
	d.r.mu.Lock()
	if d.r.dropped == nil {
		d.r.dropped = make(map[int]int)
	}
	d.r.dropped[shard]++
	d.r.mu.Unlock()
	d.r.release(d.at)
}

// Later leaves a command with Redis until its shard has headroom, and refuses it when too
// many lie there.
func (d delivery) Later(_ context.Context, shard int, _ []byte) {
	r := d.r
	if r.leftCount >= maxLeft && r.undone == nil {
		r.Counts.Refused(d.at.stream, commands.QueueFull)
		d.Refuse(fmt.Errorf("%d commands wait for shards that take no more; this one for shard %d", r.leftCount, shard))
		return
	}
	if !r.isLeft(shard) {
		r.left[shard] = r.quota.Held(shard) / 2
	}
	r.leftCount++
}

// Forward puts a packet into the stream of a shard that another process runs.
func (d delivery) Forward(ctx context.Context, shard int, packet []byte) {
	r, stream, value := d.r, strconv.Itoa(shard), rueidis.BinaryString(msgpack.AppendRaw(nil, packet))
	if r.Fleet != nil {
		d.forwardInFleet(shard, value)
		return
	}
	// At the end of ctx it may be there already, and would be twice if the answer were not awaited.
	adding, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(settleTimeout, cancel) })()
	err := r.client.Do(adding, r.client.B().Xadd().Key(stream).Minid().Almost().Threshold(forwardedSince()).Id("*").
		FieldValue().FieldValue("data", value).Build()).Error()
	if err == nil {
		r.Counts.Forwarded(d.at.stream)
		d.settle()
		return
	}
	// It stays with this consumer, and is read again.
	if _, refused := rueidis.IsRedisErr(err); refused {
		// Perhaps it is this stream alone, and no reason to hold up the others.
		r.Log.Warn("command not forwarded; retrying", "stream", stream, "entry", d.at.id, "error", err)
		d.Later(ctx, shard, packet)
		r.repass = time.Now().Add(retryPause)
		return
	}
	r.pass()
	pause(ctx, r.outage.Failed(explain(err)))
}

// forwardedSince returns the id before which a stream is trimmed into which commands are forwarded.
func forwardedSince() string {
	return strconv.FormatInt(time.Now().Add(-forwardedFor).UnixMilli(), 10)
}

// Refuse logs why an entry is no command, and is done with it.
func (d delivery) Refuse(err error) {
	d.r.Log.Warn("command refused", "stream", d.at.stream, "entry", d.at.id, "error", err)
	d.settle()
}
