// This file drops what a former owner of a shard sends late.

package consumers

// Epochs is the highest epoch of each shard that has come from each queue. When several gateways share a bot,
// the epoch counts the owners of a shard. A former owner may still send what it had in flight when it lost the shard. Whatever
// of that matters, its successor sends, too: what has a lower epoch than something before it in
// the same queue is dropped. What is left may still be repeated: Seen is for that.
//
// Each queue counts for itself, since one may be far behind another. What is redelivered was in the queue before, and
// is never dropped. A process that reads a part of a queue knows the epochs of that part: so does each of several
// consumers of one queue.
type Epochs map[string]map[int]int64

// Former reports whether an event is of a former owner. Epoch 0 is that of a gateway which is alone.
func (e Epochs) Former(queue string, shard int, epoch int64, redelivered bool) bool {
	return 0 < epoch && epoch < e[queue][shard] && !redelivered
}

// Note notes the epoch of an event, and reports whether that is the highest so far.
func (e Epochs) Note(queue string, shard int, epoch int64) bool {
	if epoch <= e[queue][shard] {
		return false
	}
	if e[queue] == nil {
		e[queue] = map[int]int64{}
	}
	e[queue][shard] = epoch
	return true
}
