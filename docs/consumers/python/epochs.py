"""Drops what a former owner of a shard sends late."""


class Epochs:
    """The highest epoch of each shard that has come from each queue. When several gateways share a
    bot, the epoch counts the owners of a shard. A former owner may still send what it had in
    flight when it lost the shard. Whatever of that matters, its successor sends, too: what has a
    lower epoch than something before it in the same queue is dropped. What is left may still be
    repeated: Seen is for that.

    Each queue counts for itself, since one may be far behind another. What is redelivered was in
    the queue before, and is never dropped. A process that reads a part of a queue knows the
    epochs of that part: so does each of several consumers of one queue."""

    def __init__(self):
        self.queues = {}  # by queue, then by shard

    def former(self, queue, shard, epoch, redelivered) -> bool:
        """Whether an event is of a former owner. Epoch 0 is that of a gateway which is alone."""
        return 0 < epoch < self.queues.get(queue, {}).get(shard, 0) and not redelivered

    def note(self, queue, shard, epoch) -> bool:
        """Notes the epoch of an event. Returns whether that is the highest so far."""
        if epoch <= self.queues.get(queue, {}).get(shard, 0):
            return False
        self.queues.setdefault(queue, {})[shard] = epoch
        return True
