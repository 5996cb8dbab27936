// This file bounds the commands that shards hold.

package commands

import "sync"

// Quota bounds the commands that are read from a broker and not yet done with, so that a few shards
// that send nothing take neither the memory nor the broker's allowance of all. The zero value with
// PerShard set is ready. Any goroutine may use it.
type Quota struct {
	PerShard int // commands that a shard may hold
	All      int // and all shards together; 0: not bounded

	mu   sync.Mutex
	held map[int]int
	all  int
}

// Hold counts a command of a shard, unless there is no headroom for it.
func (q *Quota) Hold(shard int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held[shard] >= q.PerShard || q.All > 0 && q.all >= q.All {
		return false
	}
	if q.held == nil {
		q.held = make(map[int]int)
	}
	q.held[shard]++
	q.all++
	return true
}

// Release is the end of a Hold that was true.
func (q *Quota) Release(shard int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all--
	if q.held[shard]--; q.held[shard] == 0 {
		delete(q.held, shard)
	}
}

// Held returns how many commands a shard holds.
func (q *Quota) Held(shard int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[shard]
}

// Full returns the shards that hold as many as they may, in no order.
func (q *Quota) Full() (shards []int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for shard, n := range q.held {
		if n >= q.PerShard {
			shards = append(shards, shard)
		}
	}
	return shards
}
