// This file looks for what shards have left behind.

package engine

// LeftBehind is what an Engine holds of shards.
type LeftBehind struct {
	Slots    int // of the epoll reader, free ones included
	Assigned int // shards that it has
	Timers   int
	Paused   int // shards that wait for room
	Barriers int
	Deposed  int // shards whose events are dropped
	Waiting  int // shards that wait for a turn to Identify, or hold one
}

// Left returns what the Engine holds. Nothing must happen meanwhile.
func (e *Engine) Left() (left LeftBehind) {
	f := e.running.Load()
	if r, ok := f.reader.(*loopReader); ok {
		for _, l := range r.loops {
			left.Slots += len(l.shards)
			left.Assigned += int(l.assigned.Load())
			left.Timers += len(l.timers)
		}
	}
	for _, q := range f.publisher.queues {
		left.Paused += len(q.paused)
		left.Barriers += len(q.barriers)
	}
	left.Barriers += len(f.publisher.passed) + int(f.publisher.unpassed.Load()+f.publisher.unacked.Load())
	left.Deposed = int(f.publisher.deposing.Load())
	for _, b := range f.env.identify.buckets {
		left.Waiting += len(b.waiting)
		if b.holder.place != nobody.place {
			left.Waiting++
		}
	}
	return left
}
