// Drops what a former owner of a shard sends late.

// Epochs is the highest epoch of each shard that has come from each queue. When several gateways share a
// bot, the epoch counts the owners of a shard. A former owner may still send what it had in
// flight when it lost the shard. Whatever of that matters, its successor sends, too: what has a
// lower epoch than something before it in the same queue is dropped. What is left may still be
// repeated: Seen is for that.
//
// Each queue counts for itself, since one may be far behind another. What is redelivered was in
// the queue before, and is never dropped. A process that reads a part of a queue knows the
// epochs of that part: so does each of several consumers of one queue.
export class Epochs {
	#queues = new Map(); // by queue, then by shard

	get empty() {
		return this.#queues.size === 0;
	}

	// former tells whether an event is of a former owner. Epoch 0 is that of a gateway which is alone.
	former(queue, shard, epoch, redelivered) {
		return epoch > 0 && epoch < this.#highest(queue, shard) && !redelivered;
	}

	// note notes the epoch of an event. It returns whether that is the highest so far.
	note(queue, shard, epoch) {
		if (!(epoch > this.#highest(queue, shard))) return false;
		if (!this.#queues.has(queue)) this.#queues.set(queue, new Map());
		this.#queues.get(queue).set(shard, epoch);
		return true;
	}

	#highest(queue, shard) {
		return this.#queues.get(queue)?.get(shard) ?? 0;
	}

	toJSON() {
		return Object.fromEntries(Array.from(this.#queues, ([queue, shards]) => [queue, Object.fromEntries(shards)]));
	}
}
