// This file reads commands from streams, as a consumer of a group.

package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/msgpack"
	"sluice/sinks/stdio"
)

// CommandOptions are the settings of ReadCommands. All are required but
// Discordjs.
type CommandOptions struct {
	Client rueidis.ClientOption
	// Group is the consumer group, and Consumer this process's name in it: another
	// process has another, and the same process the same after a restart, since
	// what it had not done by then is waiting under that name.
	Group, Consumer string
	// Shards are the ids that this process runs. The streams are SEND and these
	// numbers.
	Shards []int
	// Discordjs reads the stream gateway_send, too.
	Discordjs bool
	// Timeout is how long a command may lie with another consumer before it is
	// taken over.
	Timeout time.Duration
	// Send takes a command; an error means that it is refused for good, unless it
	// is engine.ErrQueueFull, which passes.
	Send func(ctx context.Context, c engine.Command) error
	Log  *slog.Logger
}

const (
	// prefetch bounds the commands that are read and not acknowledged.
	prefetch = 256
	// readBlock is how long a read waits for a command, and so how long the end
	// of the context may take to be noticed.
	readBlock = 500 * time.Millisecond
	// ackPause gathers acknowledgements; ackRetry follows those that failed.
	ackPause = 20 * time.Millisecond
	ackRetry = time.Second
	// handedOnFor is how long a command for another process stays in its stream, as
	// with the old gateway.
	handedOnFor = time.Hour
	// leastRound is how long a read takes on average at the least, when quickRounds before it
	// have brought nothing.
	leastRound  = 60 * time.Millisecond
	quickRounds = 3
	// reconnectAfter is how many failures in a row a client is kept for.
	reconnectAfter = 5
)

// commandReader is the state of one ReadCommands. But for what mu guards it belongs to
// its goroutine.
type commandReader struct {
	CommandOptions
	client  rueidis.Client // nil: not connected; written with mu held
	outage  sinks.Outage
	streams []string
	claimed time.Time // when others' commands were last looked for
	// While it is not nil, what this consumer was given before and has not done is
	// read: each stream from the entry after this one.
	undone map[string]string
	last   map[string]string // the newest entry that each stream's group has given out
	idle   int               // rounds in a row that came back at once with nothing new

	mu    sync.Mutex
	held  map[entryID]struct{} // read and not yet acknowledged
	acks  []entryID
	acked chan struct{} // room in held
}

// entryID is an entry of a stream.
type entryID struct{ stream, id string }

// ReadCommands reads commands until ctx is done, through whatever happens to Redis. A
// command is acknowledged when it is on its way to Discord, or at once when it is
// none: what is wrong with it is told. One for a shard that another process runs is
// handed on in the stream of the shard's number.
func ReadCommands(ctx context.Context, o CommandOptions) {
	r := &commandReader{CommandOptions: o, outage: sinks.Outage{Log: o.Log, Broker: "redis", Commands: true},
		undone: make(map[string]string), last: make(map[string]string), held: make(map[entryID]struct{}), acked: make(chan struct{}, 1)}
	r.streams = []string{"SEND"}
	if o.Discordjs {
		r.streams = append(r.streams, stdio.DiscordjsCommands)
	}
	for _, id := range o.Shards {
		r.streams = append(r.streams, strconv.Itoa(id))
	}
	acking, stop := context.WithCancel(context.WithoutCancel(ctx))
	var acker sync.WaitGroup
	defer func() {
		stop()
		acker.Wait()
		r.disconnect()
	}()
	acker.Go(func() { r.acknowledge(acking) })
	for failed := 0; ctx.Err() == nil; {
		if r.client == nil {
			client, err := Connect(ctx, o.Client)
			if err != nil {
				pause(ctx, r.outage.Failed(err, remedyFor(err)))
				continue
			}
			r.mu.Lock()
			r.client = client
			r.mu.Unlock()
		}
		err := r.join(ctx)
		for err == nil && ctx.Err() == nil {
			if err = r.readOnce(ctx); err == nil {
				failed = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		r.undone = make(map[string]string) // the answer may be lost that gave entries to this consumer
		pause(ctx, r.outage.Failed(err, remedyFor(err)))
		if failed++; failed%reconnectAfter == 0 {
			r.disconnect() // what it has found out of the server may be wrong
		}
	}
}

// disconnect gives up the client.
func (r *commandReader) disconnect() {
	r.mu.Lock()
	client := r.client
	r.client = nil
	r.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// join makes the groups, where they are missing. One that was destroyed begins where it stood:
// what it has given out before is not carried out again. That of a stream which is gone, too,
// begins anew.
func (r *commandReader) join(ctx context.Context) error {
	var cmds []rueidis.Completed
	for _, s := range r.streams {
		if last := r.last[s]; last != "" {
			cmds = append(cmds, r.client.B().XgroupCreate().Key(s).Group(r.Group).Id(last).Build())
		}
		cmds = append(cmds, r.client.B().XgroupCreate().Key(s).Group(r.Group).Id("0").Mkstream().Build())
	}
	for _, a := range r.client.DoMulti(ctx, cmds...) {
		err := a.Error()
		if err == nil || rueidis.IsRedisBusyGroup(err) || strings.Contains(err.Error(), "requires the key to exist") {
			continue
		}
		return fmt.Errorf("XGROUP CREATE: %w", err)
	}
	return nil
}

// readOnce reads what there is, or waits shortly for it, and hands it on.
func (r *commandReader) readOnce(ctx context.Context) error {
	for r.room() == 0 {
		select {
		case <-r.acked:
		case <-ctx.Done():
			return nil
		}
	}
	if time.Since(r.claimed) >= r.Timeout/2 {
		if err := r.claim(ctx); err != nil {
			return err
		}
		r.claimed = time.Now()
	}
	began := time.Now()
	got, err := r.read(ctx)
	if err != nil {
		return err
	}
	r.outage.Over()
	any, fresh := false, false
	newest := strconv.FormatInt(began.Add(24*time.Hour).UnixMilli(), 10) + "-0" // beyond, an id is none that Redis has made
	for _, s := range r.streams {
		for _, e := range got[s] {
			any = true
			switch {
			case r.undone == nil && laterID(e.ID, r.last[s]) && !laterID(e.ID, newest):
				r.last[s] = e.ID
				fresh = true
			case r.undone != nil && laterID(e.ID, r.undone[s]):
				r.undone[s] = e.ID
				fresh = true
			}
			if r.hold(entryID{s, e.ID}) {
				r.handle(ctx, entryID{s, e.ID}, e.FieldValues)
			}
		}
	}
	if !any {
		r.undone = nil
	}
	// A server that does not wait for commands, or gives the same ones again, is not asked
	// without a pause.
	if r.idle++; fresh || time.Since(began) >= leastRound {
		r.idle = 0
	} else if r.idle > quickRounds {
		pause(ctx, leastRound)
	}
	return nil
}

// laterID reports whether an entry's id, milliseconds-number, is valid and later than another,
// which may be empty.
func laterID(id, than string) bool {
	ms, n, ok := parseID(id)
	if !ok {
		return false
	}
	thanMS, thanN, ok := parseID(than)
	return !ok || ms > thanMS || ms == thanMS && n > thanN
}

func parseID(id string) (ms, n uint64, ok bool) {
	first, second, ok := strings.Cut(id, "-")
	ms, err1 := strconv.ParseUint(first, 10, 64)
	n, err2 := strconv.ParseUint(second, 10, 64)
	return ms, n, ok && err1 == nil && err2 == nil
}

// from returns the id from which a stream is read.
func (r *commandReader) from(stream string) string {
	if r.undone == nil {
		return ">"
	}
	return cmp.Or(r.undone[stream], "0")
}

// read reads entries of all streams.
func (r *commandReader) read(ctx context.Context) (map[string][]rueidis.XRangeEntry, error) {
	count := int64(r.room())
	if r.client.Mode() != rueidis.ClientModeCluster {
		ids := make([]string, len(r.streams))
		for i, s := range r.streams {
			ids[i] = r.from(s)
		}
		got, err := r.client.Do(ctx, r.client.B().Xreadgroup().Group(r.Group, r.Consumer).Count(count).Block(readBlock.Milliseconds()).
			Streams().Key(r.streams...).Id(ids...).Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("XREADGROUP: %w", err)
		}
		for s := range got {
			if !slices.Contains(r.streams, s) {
				return nil, fmt.Errorf("XREADGROUP: entries of %.40q, which was not asked for", s)
			}
		}
		return got, nil
	}
	// In a cluster the streams lie on different servers.
	var cmds []rueidis.Completed
	for _, s := range r.streams {
		cmds = append(cmds, r.client.B().Xreadgroup().Group(r.Group, r.Consumer).Count(count).Streams().Key(s).Id(r.from(s)).Build())
	}
	all := make(map[string][]rueidis.XRangeEntry)
	for i, a := range r.client.DoMulti(ctx, cmds...) {
		got, err := a.AsXRead()
		if err != nil && !rueidis.IsRedisNil(err) {
			return nil, fmt.Errorf("XREADGROUP: %w", err)
		}
		s := r.streams[i]
		if len(got) > 1 || len(got) == 1 && got[s] == nil {
			return nil, fmt.Errorf("XREADGROUP: not only entries of %q, which were asked for", s)
		}
		if got != nil {
			all[s] = got[s]
		}
	}
	if len(all) == 0 && r.undone == nil {
		pause(ctx, readBlock/5)
	}
	return all, nil
}

// claim takes over what lies with consumers that do nothing any more. It is read with
// what was this consumer's own.
func (r *commandReader) claim(ctx context.Context) error {
	var cmds []rueidis.Completed
	for _, s := range r.streams {
		cmds = append(cmds, r.client.B().Xautoclaim().Key(s).Group(r.Group).Consumer(r.Consumer).
			MinIdleTime(strconv.FormatInt(r.Timeout.Milliseconds(), 10)).Start("0").Count(prefetch).Justid().Build())
	}
	for _, a := range r.client.DoMulti(ctx, cmds...) {
		answer, err := a.ToArray()
		if err != nil {
			return fmt.Errorf("XAUTOCLAIM: %w", err)
		}
		if len(answer) < 2 {
			return fmt.Errorf("XAUTOCLAIM: an answer of %d parts, not of 2 or 3", len(answer))
		}
		if ids, _ := answer[1].AsStrSlice(); len(ids) > 0 {
			r.undone = make(map[string]string)
		}
	}
	return nil
}

// handle hands a command on, or gives it up.
func (r *commandReader) handle(ctx context.Context, at entryID, fields map[string]string) {
	if fields == nil {
		r.done(at) // it has been trimmed
		return
	}
	value, ok := fields["data"]
	if !ok {
		r.refuse(at, errors.New("the entry has no field data"))
		return
	}
	c, err := stdio.ParseEvent(at.stream, []byte(value))
	if err != nil {
		r.refuse(at, err)
		return
	}
	c.Sent = func() { r.done(at) }
	for {
		err := r.Send(ctx, c)
		var elsewhere *engine.ElsewhereError
		switch {
		case err == nil:
			return
		case errors.Is(err, engine.ErrQueueFull):
			if pause(ctx, 100*time.Millisecond); ctx.Err() == nil {
				continue
			}
		case errors.As(err, &elsewhere):
			r.handOn(ctx, at, elsewhere.Shard, c.Packet)
		case ctx.Err() == nil && !errors.Is(err, engine.ErrStopped):
			r.refuse(at, err)
		}
		return
	}
}

// handOn puts a packet into the stream of a shard that another process runs.
func (r *commandReader) handOn(ctx context.Context, at entryID, shard int, packet []byte) {
	value := append(msgpack.AppendRawHeader(nil, len(packet)), packet...)
	since := strconv.FormatInt(time.Now().Add(-handedOnFor).UnixMilli(), 10)
	err := r.client.Do(ctx, r.client.B().Xadd().Key(strconv.Itoa(shard)).Minid().Almost().Threshold(since).Id("*").
		FieldValue().FieldValue("data", rueidis.BinaryString(value)).Build()).Error()
	if err != nil {
		r.release(at) // it stays with this consumer, and is read again
		r.undone = make(map[string]string)
		pause(ctx, r.outage.Failed(err, remedyFor(err)))
		return
	}
	r.done(at)
}

// refuse tells of a command that is none, and is done with it.
func (r *commandReader) refuse(at entryID, err error) {
	r.Log.Warn("command refused", "stream", at.stream, "entry", at.id, "error", err)
	r.done(at)
}

// room returns how many more commands may be read.
func (r *commandReader) room() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return prefetch - len(r.held)
}

// hold notes that an entry was read. It returns false for one that is held already.
func (r *commandReader) hold(at entryID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.held[at]
	r.held[at] = struct{}{}
	return !ok
}

// release notes that an entry is not held any more.
func (r *commandReader) release(at entryID) {
	r.mu.Lock()
	delete(r.held, at)
	r.mu.Unlock()
	select {
	case r.acked <- struct{}{}:
	default:
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
		failed := false
		for i, a := range client.DoMulti(answering, cmds...) {
			// What cannot be acknowledged stays held: given up, it would be carried out again
			// by the next process. Without its group XACK answers 0.
			if _, err := a.ToInt64(); err == nil || strings.HasPrefix(err.Error(), "WRONGTYPE") {
				r.release(acks[i])
			} else {
				r.done(acks[i])
				failed = true
			}
		}
		cancel()
		if wait = ackPause; failed {
			wait = ackRetry
		}
	}
}
