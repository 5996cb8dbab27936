// This file counts events by their names.

package engine

import (
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
		for i := range q.names {
			sum[i] += q.names[i].Load()
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

// nameCounts are the events that shards have left in a queue, by the place of their names.
type nameCounts [numNames]atomic.Int64
