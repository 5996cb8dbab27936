// This file counts events by their names.

package engine

import (
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"

	"sluice/wire"
)

// otherName stands for the events that Discord does not document: a peer must not make as many
// counters as it likes.
const otherName = "other"

// numNames is how many names are counted: those of wire.EventNames and otherName, the last.
const numNames = 80

var countedNames = append(wire.EventNames(), otherName)

// nameIndex returns the place of a name in countedNames.
func nameIndex(name []byte) int {
	if i := wire.EventIndex(name); i >= 0 {
		return i
	}
	return numNames - 1
}

// names returns the events by their names, of which there were any.
func (p *publisher) names() []NameCount {
	var sum [numNames]int64
	for _, q := range p.queues {
		for i := range q.names.shown {
			sum[i] += q.names.shown[i].Load()
		}
	}
	var counts []NameCount
	for i, n := range sum {
		if n > 0 {
			counts = append(counts, NameCount{countedNames[i], n})
		}
	}
	slices.SortFunc(counts, func(a, b NameCount) int { return strings.Compare(a.Name, b.Name) })
	return counts
}

// nameCounts are the events that shards have left in a queue, by the place of their names. A queue
// that is not shared counts them in tally, for its goroutine to show.
type nameCounts struct {
	shown   [numNames]atomic.Int64
	tally   [numNames]int64
	changed [(numNames + 63) / 64]uint64 // a bit for each of tally
}

// count counts an event by the place of its name. The producer calls it.
func (q *queue) count(i int) {
	if q.shared {
		q.names.shown[i].Add(1)
		return
	}
	q.names.tally[i]++
	q.names.changed[i/64] |= 1 << (i % 64)
}

// show publishes what has changed of the tally.
func (n *nameCounts) show() {
	for w, set := range n.changed {
		for n.changed[w] = 0; set != 0; set &= set - 1 {
			i := w*64 + bits.TrailingZeros64(set)
			n.shown[i].Store(n.tally[i])
		}
	}
}
