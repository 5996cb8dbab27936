// This file is the end of the sink that talks to Redis: it sends the batches,
// and does what the answers ask for.

package redis

import (
	"context"
	"crypto/sha1" // as Redis names scripts
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"sluice/internal/failpoint"
	"sluice/sinks/broker"
)

const (
	// maxTries is how often an entry that Redis refuses is tried before it is dead-lettered.
	maxTries = 3
	// suspicion is how many connections in a row must fail over the same batch,
	// while Redis answers others, for its entries to be sent one at a time.
	suspicion = 2
	// pinned is the size of a batch from which its command's memory is not used again.
	// Redis refuses what is too large before it has read all of it, and rueidis,
	// which still writes, would take it for done.
	pinned = 1 << 20
	// wrongFor is how long a stream counts as one that takes nothing.
	wrongFor = 10 * time.Second
	// quickTries is how many rounds in a row may write nothing and follow without a pause.
	quickTries = 3
)

// writer sends the batches to Redis and acknowledges them in order. It belongs to
// the goroutine of run.
type writer struct {
	s      *Sink
	client rueidis.Client // nil: not connected
	sha    string
	outage broker.Outage

	pending  []*batch // sent or to be sent, oldest first
	commands []rueidis.Completed
	sent     []sentGroup // of commands
	listed   []listed    // the lists of shards of all commands
	order    []byte      // of all commands: what the script gets of their entries
	arena    []byte      // holds other arguments
	args     []string    // of one command
	round    int         // of send

	tries int // of the first entry, in a row
	cuts  int // connections in a row that ended without an answer
	alone int // entries that are still to be sent one at a time

	fruitless int   // rounds in a row in which nothing was written
	mendErr   error // of this round's repairs

	wrong map[string]time.Time // streams of which an entry was dead-lettered, and when

	repairs, forgotten, duplicates, excluded, suspects, untrimmed limit
}

// sentGroup is what a command was made of.
type sentGroup struct {
	g        *group
	n        int   // entries
	start    int64 // of the offset
	from, to int   // its list of shards in listed
	named    bool  // a journal was begun before
	moves    bool  // the journal alone: the script knows nothing of the list
	done     bool  // all of it is written
}

// replicaTimeout is how long the replicas have for a batch before it is sent again.
const replicaTimeout = 5 * time.Second

func (w *writer) init(s *Sink) {
	w.s = s
	w.outage = broker.Outage{Log: s.o.Log, Broker: "Redis", Availability: &s.figures.Availability, Waiting: s.waiting}
	w.wrong = make(map[string]time.Time)
	w.sha = fmt.Sprintf("%x", sha1.Sum([]byte(s.script)))
}

// run sends what Publish fills until ctx is done.
func (w *writer) run(ctx context.Context) {
	defer w.disconnect()
	for ctx.Err() == nil {
		if err := w.connect(ctx); err != nil {
			if ctx.Err() != nil {
				return // the sink is closed: nothing is known of Redis
			}
			pause(ctx, w.outage.Failed(explain(err)))
			continue
		}
		if !w.collect(ctx) {
			return
		}
		w.send(ctx)
	}
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// connect makes the client, if there is none. rueidis reconnects by itself
// afterwards.
func (w *writer) connect(ctx context.Context) error {
	if w.client != nil {
		return nil
	}
	w.outage.Tried = time.Now()
	client, err := Connect(ctx, w.s.o.Client)
	if err != nil {
		return err
	}
	w.client = client
	if err := w.load(ctx); err != nil {
		return err
	}
	cluster := client.Mode() == rueidis.ClientModeCluster
	if cluster && w.s.o.Owner != "" {
		w.disconnect()
		return errClusterFleet
	}
	w.s.begin.Do(func() {
		w.s.cluster = cluster
		close(w.s.begun)
	})
	if cluster && !w.s.cluster {
		w.disconnect()
		return errors.New("redis: the server is part of a cluster now, and was none when the gateway began: restart the gateway")
	}
	if len(w.pending) == 0 { // or what is pending shows whether events are taken
		w.outage.Over()
		w.s.figures.Back()
	}
	return nil
}

var errClusterFleet = &ConfigError{NoFleet, errors.New("the server is part of a Redis Cluster, to which a fleet does not write")}

func (w *writer) disconnect() {
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

// load makes the script known to Redis, to each node of a cluster.
func (w *writer) load(ctx context.Context) error {
	err := errors.New("no node of the cluster answers")
	loaded := false
	for _, node := range w.client.Nodes() {
		sha, e := node.Do(ctx, node.B().ScriptLoad().Script(w.s.script).Build()).ToString()
		switch {
		case e == nil && sha == w.sha:
			loaded = true
		case e == nil:
			err = fmt.Errorf("the answer is %.50q, not the script's SHA-1", sha)
		default:
			err = e
		}
	}
	if !loaded {
		w.disconnect()
		return fmt.Errorf("redis: SCRIPT LOAD: %w", err)
	}
	return nil
}

// collect takes what Publish has filled. It waits for the first, and returns
// false at the end of ctx.
func (w *writer) collect(ctx context.Context) bool {
	if len(w.pending) == 0 {
		select {
		case b := <-w.s.filled:
			w.pending = append(w.pending, b)
		case <-ctx.Done():
			return false
		}
	}
	for {
		select {
		case b := <-w.s.filled:
			w.pending = append(w.pending, b)
		default:
			return true
		}
	}
}

// send sends all that is pending, goes through the answers, and acknowledges what
// is written.
func (w *writer) send(ctx context.Context) {
	w.build()
	w.outage.Tried = time.Now()
	worst, first := none, error(nil)
	note := func(f failure, err error) {
		if first == nil || f == cut && worst != cut {
			worst, first = f, err
		}
	}
	waits := w.s.o.Replicas > 0 && !w.s.cluster
	if waits {
		if len(w.sent) > 0 {
			// WAIT is for what this connection has written, which may be nothing if all was written over another,
			// by this process or, as the positions tell, by the one before it.
			f := w.sent[0].g.offset
			w.commands = append(w.commands, w.client.B().Expire().Key(f.key).Seconds(86400).Build())
			if w.s.o.Bot != "" {
				w.commands = append(w.commands, w.client.B().Expire().Key(f.positionsKey).Seconds(604800).Build())
			}
		}
		w.commands = append(w.commands, w.client.B().Arbitrary("WAIT", strconv.Itoa(w.s.o.Replicas), strconv.FormatInt(replicaTimeout.Milliseconds(), 10)).Build())
	}
	answers := w.client.DoMulti(ctx, w.commands...)
	failpoint.Hit("written")
	for _, sent := range w.sent {
		sent.g.offset.ahead = 0
		sent.g.offset.sent = max(sent.g.offset.sent, sent.start+int64(sent.n))
	}
	if waits {
		n, err := answers[len(answers)-1].AsInt64()
		answers = answers[:len(w.sent)]
		if err == nil && n < int64(w.s.o.Replicas) {
			err = fmt.Errorf("WAIT: %d of %d replicas have the last events", n, w.s.o.Replicas)
			note(refused, err)
		} else if err != nil {
			note(failureOfAnswer(err), fmt.Errorf("WAIT: %w", err))
		}
		if err != nil {
			answers = nil // all is sent again, and the offset says what is written
		}
	}
	for i, answer := range answers {
		w.answer(ctx, &w.sent[i], answer, note)
	}
	for i := range w.sent {
		if !w.sent[i].done {
			w.sent[i].g.offset.journal.forget()
		}
	}
	clear(w.sent)
	if worst == cut {
		// The connection that has failed may still be reading what it was given.
		w.commands, w.order, w.arena = nil, nil, nil
		for _, b := range w.pending {
			b.shared = true
		}
	}
	w.outage.Wait()
	w.acknowledge()
	if worst == none {
		w.cuts, w.fruitless = 0, 0
		w.outage.Over()
		return
	}
	if ctx.Err() != nil {
		return
	}
	w.recover(ctx, worst, first)
}

// build makes a command of each group, with the offset's value as it will be
// when those before it are written. While entries are sent alone it is one command
// with one entry.
func (w *writer) build() {
	w.commands, w.sent, w.listed, w.order, w.arena = w.commands[:0], w.sent[:0], w.listed[:0], w.order[:0], w.arena[:0]
	w.round++
	minid, maxlen := "", ""
	if r := w.s.o.Retention; r > 0 {
		minid = strconv.FormatInt(time.Now().Add(-r).UnixMilli(), 10)
	}
	if m := w.s.o.MaxLen; m > 0 {
		maxlen = strconv.FormatInt(m, 10)
	}
	width := 1 + len(w.s.o.Fields)
	for _, b := range w.pending {
		for i := range b.groups[:b.used] {
			g := &b.groups[i]
			n := len(g.keys)
			if n == 0 {
				continue // written
			}
			if w.alone > 0 {
				n = 1
			}
			all := n
			from, order := len(w.listed), len(w.order)
			if w.s.o.Bot != "" {
				n, from = w.list(g, n)
				if all = min(all, len(g.keys)); all == 0 {
					continue
				} else if n == 0 {
					return // it waits for the answer to what is before it
				}
			}
			start := g.offset.written + g.offset.ahead
			bound := max(start, g.offset.sent)
			g.offset.ahead += int64(n)
			named := g.offset.journal.writer != ""
			args, moves := w.arguments(g.offset, from, w.order[order:])
			c := w.client.B().Arbitrary("EVALSHA", w.sha, strconv.Itoa(2+n+len(g.trims))).
				Keys(g.offset.key, g.offset.positionsKey).Keys(g.keys[:n]...).Keys(g.trims...).
				Args(strconv.FormatInt(start, 10), strconv.FormatInt(start+int64(n), 10), strconv.Itoa(len(g.trims)), minid, maxlen, strconv.FormatInt(bound, 10)).
				Args(args...).
				Args(g.args[:n*width]...)
			command := c.Build()
			if len(b.text) >= pinned {
				command = command.Pin()
			}
			w.commands = append(w.commands, command)
			w.s.figures.Batch(n, min(g.tried, n))
			g.tried = max(g.tried, n)
			w.sent = append(w.sent, sentGroup{g: g, n: n, start: start, from: from, to: len(w.listed), named: named, moves: moves})
			if w.alone > 0 || n < all {
				return // what follows waits for the answer
			}
		}
	}
}

// answer goes through the answer to one command.
func (w *writer) answer(ctx context.Context, sent *sentGroup, r rueidis.RedisResult, note func(failure, error)) {
	g, f := sent.g, sent.g.offset
	if f.unsure == w.round {
		return // one before this has no answer to go by: both are sent again, and the offset has them
	}
	parts, err := r.ToArray()
	if err != nil {
		f.unsure = w.round
		note(failureOfAnswer(err), err)
		return
	}
	n, why, detail, ok := parseAnswer(sent, parts)
	if n < sent.n {
		f.unsure = w.round
	}
	if !ok {
		note(odd, fmt.Errorf("redis: the answer to EVALSHA is not the script's, but %s", shape(parts)))
		return
	}
	w.done(sent, n)
	w.written(g, n)
	sent.done = n == sent.n
	switch why {
	case "gap":
		note(behind, errForgotten)
		if w.isFirst(g) { // nothing before it is in flight: Redis has forgotten
			had, _ := detail.ToString()
			w.restore(ctx, f, had)
		}
	case "part":
		note(behind, errPart)
	case "position":
		has, _ := detail.ToArray()
		w.adopt(f, w.listed[sent.from:sent.from+len(has)], has)
		if sent.named {
			f.journal.lose()
		}
		note(behind, errPosition)
	case "offset":
		value, _ := detail.ToString()
		note(broken, errOffset)
		w.mendOffset(ctx, f, value)
	case "positions":
		note(broken, errPositions)
		w.mendPositions(ctx, f)
	case "entry":
		text, _ := detail.ToString()
		if ownOfEntry(text) {
			note(entry, errors.New(text))
		} else {
			note(refused, errors.New(text))
		}
	case "untrimmed":
		if text, _ := detail.ToString(); w.untrimmed.allow() {
			w.s.o.Log.Error("Redis does not trim a stream, which grows", "error", explain(errors.New(text)))
		}
	}
}

// isFirst reports whether g is the oldest group of its offset that is not written.
func (w *writer) isFirst(g *group) bool {
	for _, b := range w.pending {
		for i := range b.groups[:b.used] {
			if o := &b.groups[i]; o.offset == g.offset && len(o.keys) > 0 {
				return o == g
			}
		}
	}
	return false
}

// written notes that the first n entries of a group are.
func (w *writer) written(g *group, n int) {
	if n == 0 {
		return
	}
	w.progress()
	w.s.figures.Published.Add(int64(n))
	g.offset.written += int64(n)
	w.drop(g, n)
	w.alone = max(w.alone-n, 0)
	w.tries = 0
}

// progress notes that less is pending than before.
func (w *writer) progress() {
	w.fruitless = 0
	w.outage.Progress()
}

// drop takes the first n entries out of a group.
func (w *writer) drop(g *group, n int) {
	width := 1 + len(w.s.o.Fields)
	g.keys = append(g.keys[:0], g.keys[n:]...)
	g.entries = append(g.entries[:0], g.entries[n:]...)
	g.args = append(g.args[:0], g.args[n*width:]...)
	g.trims = g.trims[:0]
	g.tried = max(g.tried-n, 0)
}

// acknowledge acknowledges the oldest batches of which all is written or
// dead-lettered.
func (w *writer) acknowledge() {
	done := 0
	for _, b := range w.pending {
		for i := range b.groups[:b.used] {
			if len(b.groups[i].keys) > 0 {
				b = nil
				break
			}
		}
		if b == nil {
			break
		}
		done++
		w.s.given.acknowledged()
		b.acked(len(b.events))
		b.reset()
		w.s.free <- b // has room for all
	}
	w.pending = append(w.pending[:0], w.pending[done:]...)
}
