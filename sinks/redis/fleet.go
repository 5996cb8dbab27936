// This file reads commands in a fleet, where shards move from one process to another.
//
// A shard's stream is read by whoever runs the shard, and SEND, and gateway_send, by whoever runs shard 0, which
// forwards all of it: each stream has one reader, and so the commands of a shard keep the order in which they came to
// SEND, or to its own stream. The streams of ids that there were with more shards are forwarded as SEND is (former.go).
//
// Nothing is handed on while another consumer has something pending in the stream: Redis gives entries out in
// their order, so what is older was given to it before. The one that had the stream before acknowledges what
// it has sent, and lets go of the rest: it makes the entries look idle, for the next to claim them. What a
// consumer had that is gone is claimed at once.

package redis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks/commands"
)

// CommandFleet says who reads what in a fleet. All are required, and called by the goroutine of ReadCommands.
type CommandFleet struct {
	// Consumer returns this process's name in the group, which nobody takes for gone while it may read.
	Consumer func() string
	// Shards returns the ids that it runs. Of all processes one at a time runs shard 0.
	Shards func() []int
	// Gone reports whether a consumer is known to do nothing any more.
	Gone func(consumer string) bool
}

const (
	// watchPause is the least time between two looks at the streams in which others have something, and
	// watchFor for how long a stream that has come is looked at once a second: its last reader may
	// have been given something late.
	watchPause = 50 * time.Millisecond
	watchFor   = 10 * time.Second
	// releasedIdle is for how long entries that were let go of seem to have been idle, in milliseconds.
	// broker.message_timeout is less.
	releasedIdle = 30 * 24 * 60 * 60 * 1000
)

// removeScript removes a consumer that has nothing.
var removeScript = rueidis.NewLuaScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
`)

// moves is what a commandReader has in a fleet.
type moves struct {
	router  commands.Router      // of what is forwarded
	watched map[string]struct{}  // streams in which others may have something; nothing is read of them
	recent  map[string]time.Time // those that have come, until when they are looked at
	leaving map[seat]struct{}    // what is to be let go of
	looked  time.Time            // at watched, and at recent
	glanced time.Time
	// What is to be forwarded, and the bytes of it; and the shards to whose streams something could not be, for which
	// what follows must wait.
	forwards    []forwarding
	size        int
	unforwarded map[int]struct{}
}

// seat is a consumer of a stream.
type seat struct{ stream, consumer string }

func newMoves(r *commandReader) moves {
	return moves{router: commands.Router{Total: r.router.Total, Counts: r.Counts}, watched: make(map[string]struct{}),
		recent: make(map[string]time.Time), leaving: make(map[seat]struct{}), unforwarded: make(map[int]struct{})}
}

// watching reports whether nothing is read of a stream, since others may have something in it.
func (r *commandReader) watching(stream string) bool {
	_, watched := r.moves.watched[stream]
	return watched
}

// watch has nothing read of a stream until others have nothing in it.
func (r *commandReader) watch(stream string) {
	r.moves.watched[stream] = struct{}{}
	delete(r.undone, stream)
}

// block returns how long a read may wait.
func (r *commandReader) block() time.Duration {
	if len(r.moves.watched)+len(r.moves.leaving) > 0 {
		return leastRound
	}
	return readBlock
}

// move follows the shards of this process.
func (r *commandReader) move(ctx context.Context) error {
	ids, consumer := r.Fleet.Shards(), r.Fleet.Consumer()
	streams := r.streamsOf(ids)
	gained, lost := streams, r.streams
	if consumer == r.Consumer {
		if slices.Equal(streams, r.streams) {
			return r.follow(ctx)
		}
		gained, lost = without(streams, r.streams), without(r.streams, streams)
	}
	if err := r.join(ctx, gained); err != nil {
		return err
	}
	for _, s := range lost {
		r.moves.leaving[seat{s, r.Consumer}] = struct{}{}
		delete(r.moves.watched, s)
		delete(r.moves.recent, s)
		delete(r.undone, s)
		delete(r.last, s)
	}
	r.Consumer, r.streams = consumer, streams
	r.quota.PerShard = shardHeld(len(ids))
	for _, s := range gained {
		delete(r.moves.leaving, seat{s, consumer})
		r.watch(s)
	}
	if len(lost) > 0 && r.leftCount > 0 {
		r.pass() // some of it may not be this process's any more
	}
	return r.follow(ctx)
}

// without returns those of a list of streams that are not in another.
func without(streams, others []string) (rest []string) {
	in := make(map[string]struct{}, len(others))
	for _, s := range others {
		in[s] = struct{}{}
	}
	for _, s := range streams {
		if _, is := in[s]; !is {
			rest = append(rest, s)
		}
	}
	return rest
}

// follow lets go of streams that this process does not read any more, and looks whether those that are watched may be read.
func (r *commandReader) follow(ctx context.Context) error {
	if len(r.moves.leaving) > 0 {
		r.mu.Lock()
		busy := make(map[string]struct{})
		for at := range r.held {
			busy[at.stream] = struct{}{}
		}
		r.mu.Unlock()
		if err := r.letGo(ctx, busy); err != nil {
			return err
		}
	}
	now := time.Now()
	if now.Sub(r.moves.looked) < watchPause {
		return nil
	}
	r.moves.looked = now
	watched := slices.Sorted(maps.Keys(r.moves.watched))
	if err := r.claimIdle(ctx, watched); err != nil {
		return err
	}
	looked := watched
	if now.Sub(r.moves.glanced) >= time.Second {
		r.moves.glanced = now
		for s, until := range r.moves.recent {
			if now.After(until) {
				delete(r.moves.recent, s)
			} else if !r.watching(s) {
				looked = append(looked, s)
			}
		}
	}
	others, err := r.others(ctx, looked)
	if err != nil {
		return err
	}
	for _, s := range looked {
		switch {
		case len(others[s]) > 0:
			r.watch(s)
		case r.watching(s):
			delete(r.moves.watched, s)
			r.moves.recent[s] = now.Add(watchFor)
			if r.undone == nil {
				r.undone, r.passed = make(map[string]string), now
			}
			r.undone[s] = "0"
		}
	}
	return r.claimGone(ctx, others)
}

// watchOlder watches those streams of entries that were read in which another consumer has something.
func (r *commandReader) watchOlder(ctx context.Context, got map[string][]rueidis.XRangeEntry) error {
	var streams []string
	for s, entries := range got {
		if len(entries) > 0 {
			streams = append(streams, s)
		}
	}
	others, err := r.others(ctx, streams)
	for s := range others {
		r.watch(s)
	}
	return err
}

// others returns the other consumers that have something pending, by stream.
func (r *commandReader) others(ctx context.Context, streams []string) (map[string][]string, error) {
	if len(streams) == 0 {
		return nil, nil
	}
	var cmds []rueidis.Completed
	for _, s := range streams {
		cmds = append(cmds, r.client.B().Xpending().Key(s).Group(r.Group).Build())
	}
	others := make(map[string][]string)
	for i, a := range r.client.DoMulti(ctx, cmds...) {
		answer, err := a.ToArray()
		if err != nil {
			return nil, fmt.Errorf("XPENDING: %w", err)
		}
		if len(answer) < 4 {
			return nil, fmt.Errorf("XPENDING: an answer of %d parts, not of 4", len(answer))
		}
		consumers, _ := answer[3].ToArray() // nil without any
		for _, c := range consumers {
			pair, _ := c.AsStrSlice()
			if len(pair) > 0 && pair[0] != r.Consumer {
				others[streams[i]] = append(others[streams[i]], pair[0])
			}
		}
	}
	return others, nil
}

// claimGone takes over what consumers have that are gone. It is read when nobody else has anything.
func (r *commandReader) claimGone(ctx context.Context, others map[string][]string) error {
	for s, consumers := range others {
		for _, c := range consumers {
			if !r.Fleet.Gone(c) {
				continue
			}
			for {
				ids, err := r.pendingOf(ctx, seat{s, c}, "-")
				if err != nil {
					return err
				}
				if len(ids) == 0 {
					break
				}
				claimed, err := r.client.Do(ctx, r.client.B().Xclaim().Key(s).Group(r.Group).Consumer(r.Consumer).MinIdleTime("0").
					Id(ids...).Justid().Build()).AsStrSlice()
				if err != nil {
					return fmt.Errorf("XCLAIM: %w", err)
				}
				r.countClaimed(s, claimed)
				if len(claimed) == 0 {
					break // others claim them, or they are gone
				}
			}
		}
	}
	return nil
}

// pendingOf returns some of the entries that a consumer has, in their order, from an id on.
func (r *commandReader) pendingOf(ctx context.Context, at seat, from string) (ids []string, err error) {
	answer, err := r.client.Do(ctx, r.client.B().Xpending().Key(at.stream).Group(r.Group).Start(from).End("+").Count(prefetch).Consumer(at.consumer).Build()).ToArray()
	if err != nil {
		return nil, fmt.Errorf("XPENDING: %w", err)
	}
	for _, a := range answer {
		if entry, _ := a.ToArray(); len(entry) > 0 {
			id, _ := entry[0].ToString()
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// letGo leaves what this consumer has, and has not sent, to the next reader of streams that are left, once
// what it holds of them is acknowledged or dropped: busy are those of which it holds something.
func (r *commandReader) letGo(ctx context.Context, busy map[string]struct{}) error {
	for at := range r.moves.leaving {
		if _, is := busy[at.stream]; is {
			continue
		}
		for from := "-"; ; {
			ids, err := r.pendingOf(ctx, at, from)
			if err != nil && strings.Contains(err.Error(), "NOGROUP") {
				break // with it all that was pending
			}
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				break
			}
			err = r.client.Do(ctx, r.client.B().Xclaim().Key(at.stream).Group(r.Group).Consumer(at.consumer).MinIdleTime("0").
				Id(ids...).Idle(releasedIdle).Justid().Build()).Error()
			if err != nil {
				return fmt.Errorf("XCLAIM: %w", err)
			}
			for range ids {
				r.Counts.Forwarded(at.stream)
			}
			delete(r.seen, at.stream) // what comes back is counted again
			from = "(" + ids[len(ids)-1]
		}
		if err := r.removeConsumer(ctx, at); err != nil {
			return err
		}
		delete(r.moves.leaving, at)
	}
	return nil
}

// removeConsumer removes a consumer that has nothing.
func (r *commandReader) removeConsumer(ctx context.Context, at seat) error {
	err := removeScript.Exec(ctx, r.client, []string{at.stream}, []string{r.Group, at.consumer}).Error()
	if err != nil && !strings.Contains(err.Error(), "NOGROUP") {
		return fmt.Errorf("XGROUP DELCONSUMER: %w", err)
	}
	return nil
}

// removeGone removes the consumers that are gone and have nothing, and watches the streams in which one has.
func (r *commandReader) removeGone(ctx context.Context) error {
	var cmds []rueidis.Completed
	for _, s := range r.streams {
		cmds = append(cmds, r.client.B().XinfoConsumers().Key(s).Group(r.Group).Build())
	}
	if len(cmds) == 0 {
		return nil
	}
	for i, a := range r.client.DoMulti(ctx, cmds...) {
		answer, err := a.ToArray()
		if err != nil {
			return fmt.Errorf("XINFO CONSUMERS: %w", err)
		}
		for _, c := range answer {
			consumer, err := c.AsMap()
			if err != nil {
				return fmt.Errorf("XINFO CONSUMERS: %w", err)
			}
			name, pending := consumer["name"], consumer["pending"]
			text, _ := name.ToString()
			n, err := pending.AsInt64()
			switch {
			case err != nil || text == r.Consumer || !r.Fleet.Gone(text):
			case n > 0:
				r.watch(r.streams[i])
			default:
				if err := r.removeConsumer(ctx, seat{r.streams[i], text}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// leave lets go of everything, when nothing is sent any more.
func (r *commandReader) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	busy := make(map[string]struct{})
	for _, at := range r.acks { // sent, and their acknowledgement has failed
		busy[at.stream] = struct{}{}
	}
	for _, s := range r.streams {
		r.moves.leaving[seat{s, r.Consumer}] = struct{}{}
	}
	if err := r.letGo(ctx, busy); err != nil {
		r.Log.Warn("Redis: commands that were not sent are with this process until others find that it is gone", "error", explain(err))
	}
}
