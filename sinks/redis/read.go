// This file reads the entries of streams, as many at a time as fit a reply.

package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks/commands"
)

// asks returns the streams that are read next: all that may be, or one, in turn. SEND always may
// be while no pass is made, and a pass has streams left.
func (r *commandReader) asks() (streams []string) {
	if r.alone {
		for range r.streams {
			s := r.streams[r.next%len(r.streams)]
			r.next++
			if r.from(s) != "" {
				return []string{s}
			}
		}
	}
	for _, s := range r.streams {
		if r.from(s) != "" {
			streams = append(streams, s)
		}
	}
	return streams
}

// countOf returns how many entries of each of so many streams are read at once.
func (r *commandReader) countOf(streams int) int64 {
	return min(r.count, max(int64(readTotal/max(streams, 1)), leastCount))
}

// endRound notes the size of a reply. When all streams together give little enough, they are read
// together again.
func (r *commandReader) endRound(size int) {
	if !r.alone {
		return
	}
	if r.round += size; r.next < len(r.streams) {
		return
	}
	if r.undone == nil && r.round <= readBytes {
		r.alone = false
	}
	r.next, r.round = 0, 0
}

// tooLarge goes on after a read that failed. If its reply was larger than the guard lets through,
// less is asked for: one entry of one stream in the end, which is refused unread if it alone is
// too large. What a lost reply has given to this consumer is pending. A connection that ends may be
// one that takes too long for so much: half as many entries are asked for.
func (r *commandReader) tooLarge(ctx context.Context, asked []string, err error) error {
	var bad *ReplyError
	if !errors.As(err, &bad) || !bad.Large {
		if _, answered := rueidis.IsRedisErr(err); !answered {
			r.count = max(r.count/2, 1)
		}
		return err
	}
	if r.undone == nil || !r.alone || r.count > 1 {
		if r.undone == nil {
			r.pass()
		}
		r.alone, r.count, r.next, r.round = true, 1, 0, 0
		return nil
	}
	stream, after := asked[0], r.undone[asked[0]]
	start := "-"
	if after != "0" {
		start = "(" + after
	}
	answer, e := r.client.Do(ctx, r.client.B().Xpending().Key(stream).Group(r.Group).Start(start).End("+").Count(1).Consumer(r.Consumer).Build()).ToArray()
	var id string
	if e == nil && len(answer) == 1 {
		var entry []rueidis.RedisMessage
		if entry, e = answer[0].ToArray(); e == nil && len(entry) > 0 {
			id, e = entry[0].ToString()
		}
	}
	if text, refused := rueidis.IsRedisErr(e); refused && r.unread.allow() {
		r.Log.Error("Redis: a command is too large to be read, and XPENDING fails; its stream waits",
			"stream", stream, "error", explain(text))
	}
	switch at := (entryID{stream, id}); {
	case e != nil:
		if _, refused := rueidis.IsRedisErr(e); !refused {
			return fmt.Errorf("XPENDING: %w", e)
		}
		delete(r.undone, stream) // not a reason to hold up the other streams
	case !laterID(id, after):
		return err // it is not the entry: the server gives large replies to everything
	default:
		r.undone[stream] = id
		if r.received(at, idLimit(time.Now()), false); !r.holding(at) {
			r.Counts.Refused(stream, commands.TooLarge)
			delivery{r, at}.Refuse(fmt.Errorf("not read: %w", err))
		}
	}
	return nil
}

// readPart is how many entries are asked for at once in a cluster, or those of one stream.
const readPart = 128

// sizeOf returns the bytes of entries.
func sizeOf(entries []rueidis.XRangeEntry) (size int) {
	for _, e := range entries {
		for field, value := range e.FieldValues {
			size += len(field) + len(value)
		}
	}
	return size
}

// read reads entries of streams.
func (r *commandReader) read(ctx context.Context, streams []string, count int64) (map[string][]rueidis.XRangeEntry, error) {
	ids := make([]string, len(streams))
	for i, s := range streams {
		ids[i] = r.from(s)
	}
	if r.client.Mode() != rueidis.ClientModeCluster && !r.alone {
		if r.Fleet != nil {
			// A reply that nobody waits for any more would give out commands which are not let go of at the end.
			ctx = context.WithoutCancel(ctx)
		}
		got, err := r.client.Do(ctx, r.client.B().Xreadgroup().Group(r.Group, r.Consumer).Count(count).Block(r.block().Milliseconds()).
			Streams().Key(streams...).Id(ids...).Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("XREADGROUP: %w", err)
		}
		for s := range got {
			if !slices.Contains(streams, s) {
				return nil, fmt.Errorf("XREADGROUP: entries of %.40q, which was not asked for", s)
			}
		}
		return got, nil
	}
	// In a cluster the streams lie on different servers. All replies together have the bound of one.
	all, size := make(map[string][]rueidis.XRangeEntry), 0
	for n := 0; n < len(streams); {
		part := streams[n:min(n+max(readPart/int(count), 1), len(streams))]
		var cmds []rueidis.Completed
		for i, s := range part {
			cmds = append(cmds, r.client.B().Xreadgroup().Group(r.Group, r.Consumer).Count(count).Streams().Key(s).Id(ids[n+i]).Build())
		}
		for i, a := range r.client.DoMulti(ctx, cmds...) {
			got, err := a.AsXRead()
			if err != nil && !rueidis.IsRedisNil(err) {
				return nil, fmt.Errorf("XREADGROUP: %w", err)
			}
			s := part[i]
			if len(got) > 1 || len(got) == 1 && got[s] == nil {
				return nil, fmt.Errorf("XREADGROUP: not only entries of %q, which were asked for", s)
			}
			if got != nil {
				all[s] = got[s]
				size += sizeOf(got[s])
			}
		}
		if n += len(part); size > maxReply && n < len(streams) {
			return nil, &ReplyError{Reason: fmt.Sprintf("and those before it have %d bytes", size), Large: true}
		}
	}
	if len(all) == 0 && r.undone == nil && !r.alone {
		pause(ctx, min(readBlock/5, r.block()))
	}
	return all, nil
}
