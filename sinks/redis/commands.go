// This file reads commands from streams, as a consumer of a group.

package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/commands"
)

// CommandOptions are the settings of ReadCommands. All are required but Total,
// Discordjs, Fleet, Settled and Counts.
type CommandOptions struct {
	Client rueidis.ClientOption
	// Group is the consumer group, and Consumer this process's name in it: another
	// process has another, and the same process the same after a restart, since
	// what it had not done by then is waiting under that name.
	Group, Consumer string
	// Shards are the ids that this process runs, of Total that the bot has (at least as
	// many). The streams are SEND and these numbers, and those of the ids that there were with more
	// shards: id modulo Total is one of Shards.
	Shards []int
	Total  int
	// Fleet, if set, stands in place of Consumer and Shards, which change then.
	Fleet *CommandFleet
	// Discordjs reads the stream gateway_send, too.
	Discordjs bool
	// Timeout is how long a command may lie with another consumer before it is
	// taken over.
	Timeout time.Duration
	// TimeoutNow, if set, returns it as it is now.
	TimeoutNow func() time.Duration
	// Send takes a command, and does not wait for its shard; an error means that it is
	// refused for good, unless it is sinks.ErrQueueFull, which passes.
	Send func(ctx context.Context, c sinks.Command) error
	// Settled is closed once no command can be sent any more, after the end of reading: until
	// then, those that are sent are acknowledged. nil: none is sent any more when reading ends.
	Settled <-chan struct{}
	// Counts, if it is not nil, counts what becomes of the commands.
	Counts *commands.Counts
	Log    *slog.Logger
}

const (
	// prefetch bounds the commands of a stream that are claimed at once.
	prefetch = 256
	// readCount bounds the entries of a stream that are read at once, and readTotal those of all
	// streams, but for leastCount of each. After a read of more than readBytes fewer are read.
	// Whoever may add an entry decides how large it is: what the guard does not let through is
	// read in another way (read.go).
	readCount  = 64
	readTotal  = 512
	leastCount = 4
	readBytes  = 4 << 20
	// maxHeld bounds the commands that are read and not acknowledged, of all shards, which
	// share it equally: up to maxShardHeld for one, minShardHeld at least.
	maxHeld      = 100_000
	maxShardHeld = 1000
	minShardHeld = 100
	// maxLeft bounds what is left with Redis for shards that hold no more. What comes
	// for them then is refused.
	maxLeft = 100_000
	// repassPause is the least time between two passes over what was left.
	repassPause = 100 * time.Millisecond
	// settleTimeout is how long Redis has, when commands are not read any more, to answer that one is forwarded.
	settleTimeout = 5 * time.Second
	// retryPause is how long a command waits that could not be forwarded.
	retryPause = 2 * time.Second
	// readBlock is how long a read waits for a command, and so how long the end
	// of the context may take to be noticed.
	readBlock = 500 * time.Millisecond
	// ackPause gathers acknowledgements; ackRetry follows those that failed.
	ackPause = 20 * time.Millisecond
	ackRetry = time.Second
	// forwardedFor is how long a command for another process stays in its stream, as
	// with the old gateway.
	forwardedFor = time.Hour
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
	outage  broker.Outage
	streams []string
	most    int       // the shard count up to which there are streams; 0: not known yet
	count   int64     // entries of a stream to read at once
	claimed time.Time // when others' commands were last looked for
	claims  bool      // that has failed, and comes before all else
	// While it is not nil, what this consumer was given before and has not done is
	// read: each stream from the entry after this one. A stream that is not in it is through.
	undone map[string]string
	// alone has one stream read at a time, after a reply that was too large: next is the place of
	// the next one in streams, and round the bytes of this round over all of them.
	alone       bool
	next, round int
	// A shard that holds as much as it may must not hold up the others. What comes for it
	// is left where it is, pending with this consumer, and so is all that
	// follows, to keep the order. Once the shard has headroom, everything that is pending is
	// passed over again.
	left      map[int]int // by shard: how many it may hold for that to be of use
	leftCount int         // entries
	passed    time.Time   // the beginning of the last pass
	repass    time.Time   // when the next may begin
	// Since when shards take no more, when that was looked at last, and when it was logged.
	stalled               map[int]time.Time
	looked, stalledLogged time.Time
	// The newest entry that each stream's group has given out, and the rounds in a row that came
	// back at once with nothing new.
	last   map[string]string
	seen   map[string]string // the newest entry of each that was counted as received
	idle   int
	unread limit // the lines about what XPENDING refuses

	router commands.Router
	quota  commands.Quota // until the acknowledgement
	moves  moves          // of CommandOptions.Fleet

	mu   sync.Mutex
	held map[entryID]int // the shard of what is read and not yet acknowledged, or noShard
	acks []entryID
	// What was acknowledged since the last read began, which may still give it.
	acked   map[entryID]struct{}
	dropped map[int]int // by shard: commands that it has dropped since they were last noted as left
}

// entryID is an entry of a stream.
type entryID struct{ stream, id string }

// noShard is the shard of what counts against none: what is refused, gone, or forwarded.
const noShard = -1

// ReadCommands reads commands until ctx is done, through whatever happens to Redis, and returns
// after Settled. A
// command is acknowledged when it is in flight to Discord, or at once when it is
// none: what is wrong with it is logged. One for a shard that another process runs is
// forwarded in the stream of the shard's number. A shard that takes no more commands
// does not hold up those of others. In a fleet fleet.go says what else there is.
func ReadCommands(ctx context.Context, o CommandOptions) {
	r := &commandReader{CommandOptions: o, outage: broker.Outage{Log: o.Log, Broker: "Redis", Commands: true},
		count: readCount / 4, last: make(map[string]string), seen: make(map[string]string), left: make(map[int]int),
		router: commands.Router{Total: max(o.Total, len(o.Shards), 1), Send: o.Send, Counts: o.Counts},
		quota:  commands.Quota{PerShard: shardHeld(len(o.Shards))}, held: make(map[entryID]int), acked: make(map[entryID]struct{})}
	o.Counts.Reads(append(r.shared(), commands.Shard)...)
	if r.Fleet != nil {
		r.moves = newMoves(r)
	} else {
		r.streams = r.streamsOf(o.Shards)
	}
	r.pass()
	acking, stop := context.WithCancel(context.WithoutCancel(ctx))
	var acker sync.WaitGroup
	defer func() {
		if r.Settled != nil {
			<-r.Settled
		}
		stop()
		acker.Wait()
		if r.Fleet != nil && r.client != nil {
			r.leave(context.WithoutCancel(ctx))
		}
		r.disconnect()
	}()
	acker.Go(func() { r.acknowledge(acking) })
	for failed := 0; ctx.Err() == nil; {
		if r.client == nil {
			client, err := Connect(ctx, o.Client)
			if err != nil {
				pause(ctx, r.outage.Failed(explain(err)))
				continue
			}
			r.mu.Lock()
			r.client = client
			r.mu.Unlock()
		}
		err := r.join(ctx, r.streams)
		if err == nil && r.most == 0 {
			err = r.findFormer(ctx)
		}
		for err == nil && ctx.Err() == nil {
			if err = r.readOnce(ctx); err == nil {
				failed = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		r.pass() // the answer may be lost that gave entries to this consumer
		pause(ctx, r.outage.Failed(explain(err)))
		if failed++; failed%reconnectAfter == 0 {
			r.disconnect() // what it has found out of the server may be wrong
		}
	}
}

// shared returns the streams of commands that say themselves where they go.
func (r *commandReader) shared() []string {
	if r.Discordjs {
		return []string{commands.Send, commands.Discordjs}
	}
	return []string{commands.Send}
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

// join makes the groups of streams, where they are missing. One that was destroyed begins where it stood:
// what it has given out before is not carried out again. That of a stream which is gone, too,
// begins anew.
func (r *commandReader) join(ctx context.Context, streams []string) error {
	var cmds []rueidis.Completed
	for _, s := range streams {
		if last := r.last[s]; last != "" {
			cmds = append(cmds, r.client.B().XgroupCreate().Key(s).Group(r.Group).Id(last).Build())
		}
		cmds = append(cmds, r.client.B().XgroupCreate().Key(s).Group(r.Group).Id("0").Mkstream().Build())
	}
	if len(cmds) == 0 {
		return nil
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

// shardHeld returns how many commands one of so many shards may hold.
func shardHeld(shards int) int {
	return min(max(maxHeld/max(shards, 1), minShardHeld), maxShardHeld)
}

// readOnce reads what there is, or waits shortly for it, and routes it.
func (r *commandReader) readOnce(ctx context.Context) error {
	if r.Fleet != nil {
		if err := r.move(ctx); err != nil {
			return err
		}
	}
	r.noteDropped()
	if now := time.Now(); (r.undone == nil || r.claims) && now.Sub(r.claimed) >= r.timeout()/3 {
		r.claims = true
		if err := r.claim(ctx); err != nil {
			return err
		}
		r.claims = false
		if r.pending() {
			r.pass() // for other processes to see in Redis that this consumer lives
		}
		r.claimed = now
	}
	if r.undone == nil && r.hasHeadroom() {
		r.pass()
	}
	r.mu.Lock()
	clear(r.acked)
	r.mu.Unlock()
	began := time.Now()
	asked := r.asks()
	count := r.countOf(len(asked))
	var got map[string][]rueidis.XRangeEntry
	var err error
	switch {
	case len(asked) > 0:
		got, err = r.read(ctx, asked, count)
	case r.undone == nil:
		pause(ctx, r.block())
	}
	if err != nil {
		return r.tooLarge(ctx, asked, err)
	}
	r.outage.Over()
	if r.Fleet != nil {
		if err := r.watchOlder(ctx, got); err != nil {
			return err
		}
	}
	n, size, fresh := 0, 0, false
	newest := idLimit(began)
	for _, s := range r.streams {
		size += sizeOf(got[s])
		for _, e := range got[s] {
			n++
			r.received(entryID{s, e.ID}, newest, r.undone == nil)
			switch {
			case r.undone == nil && laterID(e.ID, r.last[s]) && !laterID(e.ID, newest):
				r.last[s] = e.ID
				fresh = true
			case r.undone != nil && laterID(e.ID, r.undone[s]):
				r.undone[s] = e.ID
				fresh = true
			}
			if at := (entryID{s, e.ID}); !r.watching(s) && !r.holding(at) {
				delivery{r, at}.handle(ctx, e.FieldValues)
			}
			if r.moves.size >= forwardBytes {
				if err := r.forward(ctx); err != nil {
					return err
				}
			}
		}
	}
	if err := r.forward(ctx); err != nil {
		return err
	}
	switch {
	case size > readBytes:
		r.count = max(r.count/8, 1)
	case int64(n) >= count:
		r.count = min(r.count*2, readCount)
	}
	if r.endRound(size); r.undone != nil {
		for _, s := range asked {
			if len(got[s]) == 0 {
				delete(r.undone, s)
			}
		}
	}
	if r.undone != nil && len(r.undone) == 0 {
		r.undone = nil
		if next := time.Now().Add(max(10*time.Since(r.passed), repassPause)); next.After(r.repass) {
			r.repass = next
		}
	}
	if r.undone == nil {
		r.logStalled(time.Now())
	}
	// A server that does not wait for commands, or gives the same ones again, is not asked
	// without a pause.
	if r.idle++; fresh || time.Since(began) >= leastRound {
		r.idle = 0
	} else if r.alone && n == 0 {
		r.idle-- // there are as many such reads as streams
	} else if r.idle > quickRounds {
		pause(ctx, leastRound)
	}
	return nil
}

// idLimit returns an id beyond which none is one that Redis has made.
func idLimit(now time.Time) string {
	return strconv.FormatInt(now.Add(24*time.Hour).UnixMilli(), 10) + "-0"
}

// received counts an entry, if it was not before: the group gives out new ones once, and what is pending
// with this consumer was counted then, unless the reply was lost or another process has read it.
func (r *commandReader) received(at entryID, newest string, fresh bool) {
	later := laterID(at.id, r.seen[at.stream])
	if fresh || later {
		r.Counts.Received(at.stream)
	}
	if later && !laterID(at.id, newest) {
		r.seen[at.stream] = at.id
	}
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

// pass begins to read again all that is pending with this consumer.
func (r *commandReader) pass() {
	r.undone = make(map[string]string, len(r.streams))
	for _, s := range r.streams {
		if !r.watching(s) {
			r.undone[s] = "0"
		}
	}
	clear(r.left)
	clear(r.moves.unforwarded)
	r.leftCount = 0
	r.passed = time.Now()
}

// hasHeadroom reports whether a shard for which commands were left can hold a good deal of
// them, and it is time to look.
func (r *commandReader) hasHeadroom() bool {
	if time.Now().Before(r.repass) {
		return false
	}
	if len(r.moves.unforwarded) > 0 {
		return true
	}
	for shard, most := range r.left {
		if r.quota.Held(shard) <= most {
			return true
		}
	}
	return false
}

// from returns the id from which a stream is read; "": it is not, for now, since it is through or
// its shard holds as much as it may.
func (r *commandReader) from(stream string) string {
	switch {
	case r.watching(stream):
		return ""
	case r.undone != nil:
		return r.undone[stream]
	}
	shard, err := strconv.Atoi(stream)
	own := err == nil && shard < r.router.Total
	if own && (r.isLeft(shard) || r.quota.Held(shard) >= r.quota.PerShard) || !own && r.forwardsLess() {
		return ""
	}
	return ">"
}

// isLeft reports whether commands for a shard were left with Redis.
func (r *commandReader) isLeft(shard int) bool {
	if _, left := r.left[shard]; left {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped[shard] > 0
}

// noteDropped notes that what shards have dropped is left with Redis, to be read again soon.
func (r *commandReader) noteDropped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for shard, n := range r.dropped {
		r.left[shard] = maxHeld // whatever it holds
		r.leftCount += n
	}
	clear(r.dropped)
}

func (o *CommandOptions) timeout() time.Duration {
	if o.TimeoutNow != nil {
		return o.TimeoutNow()
	}
	return o.Timeout
}
