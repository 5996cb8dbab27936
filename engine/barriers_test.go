// This file tests what a shard that stops leaves in its queue, and what does not fit into one.

package engine

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
)

func stoppedShard() *shard { return &shard{waker: &stubWaker{}, drained: make(chan struct{})} }

// However many goroutines have asked before the first of them pushes, none waits, and the order of each
// is kept: what has no slot is behind the ring, and counts as in it.
func TestSharedQueueOverflows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const goroutines = 1000
		sink := &gatedSink{gate: make(chan struct{})}
		l := newPublisher(sink, 0)
		q, ses := l.newQueue(4<<10, true), newSession("a", "", 0)
		done := make(chan error, 1)
		go func() { done <- l.run(context.Background()) }()
		seq := int64(0)
		for range 3 { // the first is with the sink, then the ring is full
			for range goroutines {
				seq++
				pushEvent(q, ses, seq, 1)
			}
			synctest.Wait()
		}
		if !q.full() || len(q.overflow) == 0 {
			t.Fatalf("full %v with %d events behind the ring", q.full(), len(q.overflow))
		}
		waits, stops := stoppedShard(), stoppedShard()
		if !q.await(waits) {
			t.Fatal("there is room")
		}
		q.end(stops)
		close(sink.gate)
		<-stops.drained
		synctest.Wait()
		if n := waits.waker.(*stubWaker).woken; q.full() || len(q.overflow) > 0 || n != 1 {
			t.Errorf("full %v with %d events behind the ring, woken %d times", q.full(), len(q.overflow), n)
		}
		l.close()
		if err := <-done; err != nil || len(sink.got) != int(seq) {
			t.Errorf("%d events of %d, %v", len(sink.got), seq, err)
		}
		for i, got := range sink.got {
			if got != int64(i+1) {
				t.Fatalf("event %d came after event %d", got, i)
			}
		}
	})
}

// What was taken of a deposed shard and not given to the sink is dropped, wherever it lies among
// others; its bytes are free. The barriers of both are reached.
func TestPublisherDropsDeposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &gatedSink{gate: make(chan struct{})}
		l := newPublisher(sink, 0)
		q := l.newQueue(64<<20, false)
		one, two := stoppedShard(), stoppedShard()
		a, b := newSession("a", "", 0), newSession("b", "", 1000)
		a.shard.Store(one)
		b.shard.Store(two)
		for i := range int64(30) { // each is a batch
			pushEvent(q, a, i+1, maxBatchBytes)
			pushEvent(q, b, 1001+i, maxBatchBytes)
		}
		q.publish()
		done := make(chan error, 1)
		go func() { done <- l.run(context.Background()) }()
		sink.gate <- struct{}{}
		synctest.Wait() // the second batch is with the sink
		l.depose(one)
		q.end(one)
		q.end(two)
		close(sink.gate)
		<-one.drained
		<-two.drained
		want := []int64{1}
		for i := range int64(30) {
			want = append(want, 1001+i)
		}
		if !slices.Equal(sink.got, want) {
			t.Errorf("published %v", sink.got)
		}
		if a.acked.Load() != 1 || b.checkpoint() != 1030 || l.deposing.Load() != 0 {
			t.Errorf("acknowledged up to %d and %d", a.acked.Load(), b.checkpoint())
		}
		for range 64 {
			if q.full() {
				t.Fatal("the bytes of what was dropped are not free")
			}
			pushEvent(q, b, 2000, 1<<20)
		}
		l.close()
		<-done
	})
}
