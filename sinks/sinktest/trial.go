// This file is a sink under test: it publishes numbered events and compares what comes back.

package sinktest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/sinks"
)

// body is the data of an event.
type body struct {
	Shard int    `json:"shard"`
	Seq   int64  `json:"seq"`
	Pad   string `json:"pad"`
}

// trial is a sink that events are published to.
type trial struct {
	t    *testing.T
	b    Broker
	sink sinks.Opener
	rand *rand.Rand
	next [5]int64 // seq of the last event, by shard

	mu       sync.Mutex
	borrowed [][]sinks.Event // not acknowledged; the first may be so in part
	given    int
	acked    int
	dead     int64 // of them: events that the broker never takes
	ended    bool  // no acknowledgement may come any more
}

func try(t *testing.T, b Broker) *trial {
	t.Helper()
	tr := &trial{t: t, b: b, sink: b.Sink(t), rand: rand.New(rand.NewPCG(1, 2))}
	t.Cleanup(func() { tr.sink.Close() })
	return tr
}

// event returns the next event of a shard, with so many bytes of padding.
func (tr *trial) event(shard, pad int) sinks.Event {
	tr.next[shard]++
	data, err := json.Marshal(body{shard, tr.next[shard], strings.Repeat("x", pad)})
	if err != nil {
		tr.t.Fatal(err)
	}
	return sinks.Event{Shard: shard, Session: fmt.Sprintf("%032d", shard), Seq: tr.next[shard], Type: []byte("MESSAGE_CREATE"), Data: data}
}

// batch returns the next n events, of all shards.
func (tr *trial) batch(n, pad int) []sinks.Event {
	batch := make([]sinks.Event, n)
	for i := range batch {
		batch[i] = tr.event(tr.rand.IntN(len(tr.next)), pad)
	}
	return batch
}

// publish gives a batch to the sink.
func (tr *trial) publish(ctx context.Context, batch []sinks.Event) error {
	tr.mu.Lock()
	tr.borrowed = append(tr.borrowed, batch)
	tr.given += len(batch)
	tr.mu.Unlock()
	return tr.sink.Publish(ctx, batch, tr.acknowledge)
}

// must publishes n events in batches of many sizes.
func (tr *trial) must(n int) {
	tr.t.Helper()
	for n > 0 {
		size := min(n, 1+tr.rand.IntN(200))
		n -= size
		if err := tr.publish(tr.t.Context(), tr.batch(size, 20)); err != nil {
			tr.t.Fatalf("Publish: %v", err)
		}
	}
}

// acknowledge takes back what was borrowed: it is overwritten, as the engine uses it again.
func (tr *trial) acknowledge(n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.ended {
		tr.t.Errorf("%d events are acknowledged after Close", n)
	}
	if tr.acked += n; n < 1 || tr.acked > tr.given {
		tr.t.Errorf("%d events are acknowledged, %d in all of %d", n, tr.acked, tr.given)
		return
	}
	for ; n > 0; n-- {
		ev := &tr.borrowed[0][0]
		for _, borrowed := range [][]byte{ev.Data, ev.Type} {
			for i := range borrowed {
				borrowed[i] = '#'
			}
		}
		*ev = sinks.Event{}
		if tr.borrowed[0] = tr.borrowed[0][1:]; len(tr.borrowed[0]) == 0 {
			tr.borrowed = tr.borrowed[1:]
		}
	}
}

func (tr *trial) counts() (given, acked int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.given, tr.acked
}

// settle waits until all is acknowledged, without another call of Publish.
func (tr *trial) settle() {
	tr.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		given, acked := tr.counts()
		if acked == given {
			return
		}
		if time.Now().After(end) {
			tr.t.Fatalf("%d of %d events are acknowledged", acked, given)
		}
	}
}

// check reads what the broker has, and returns how many different events that is. Each
// shard's must be there from the one after seen on, in order.
func (tr *trial) check(seen *[5]int64) (n int) {
	tr.t.Helper()
	for _, text := range tr.b.Read(tr.t) {
		var e body
		if err := json.Unmarshal(text, &e); err != nil {
			tr.t.Fatalf("the broker has %.100q: %v", text, err)
		}
		switch last := &seen[e.Shard]; {
		case e.Seq == *last+1:
			*last = e.Seq
			n++
		case e.Seq > *last:
			tr.t.Fatalf("shard %d: event %d follows %d", e.Shard, e.Seq, *last)
		case !tr.b.Repeats:
			tr.t.Fatalf("shard %d: event %d is duplicated after %d", e.Shard, e.Seq, *last)
		}
	}
	return n
}

// status returns what can be seen of the sink.
func (tr *trial) status() sinks.Status {
	tr.t.Helper()
	r, ok := tr.sink.(sinks.Reporter)
	if !ok {
		tr.t.Fatalf("%T is no sinks.Reporter", tr.sink)
	}
	return r.Status()
}

// until waits until what can be seen of the sink is as ok wants it.
func (tr *trial) until(what string, ok func(st sinks.Status) bool) {
	tr.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		st := tr.status()
		if ok(st) {
			return
		}
		if time.Now().After(end) {
			tr.t.Fatalf("waited for: %s: %+v", what, st)
		}
	}
}

// reported checks that the sink reports all that was published as that, with so many dead letters, once
// all is acknowledged.
func (tr *trial) reported(dead int64) {
	tr.t.Helper()
	given, _ := tr.counts()
	tr.until("all to be reported", func(st sinks.Status) bool {
		return st.Pending == 0 && st.Oldest == 0 && st.Published+st.Repeated+dead == int64(given)
	})
	st := tr.status()
	all := int64(0)
	for reason, n := range st.DeadLettered {
		if all += n; reason == "" {
			tr.t.Errorf("a dead letter has no reason: %v", st.DeadLettered)
		}
	}
	if all != dead || st.Lost != dead { // the sinks have nowhere to put them
		tr.t.Errorf("%d dead letters and %d lost are reported, want %d", all, st.Lost, dead)
	}
	sizes, batches := int64(0), uint64(0)
	for _, n := range st.BatchSizes.Counts {
		batches += n
	}
	sizes = int64(st.BatchSizes.Sum)
	if st.Batches != int64(batches) || len(st.BatchSizes.Counts) != len(st.BatchSizes.Bounds)+1 || sizes < st.Published || sizes != st.Published+st.Resent && st.Retried == 0 && dead == 0 {
		tr.t.Errorf("the batches do not add up: %+v", st)
	}
}

// whole checks that the broker has all that was published, and no more, and that the sink says so.
func (tr *trial) whole() {
	tr.t.Helper()
	tr.settle()
	tr.reported(tr.dead)
	var seen [5]int64
	tr.check(&seen)
	if seen != tr.next {
		tr.t.Errorf("the broker has events up to %v, want %v", seen, tr.next)
	}
}
