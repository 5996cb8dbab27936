"""What both consumers do with an event, and a store for one that has no database."""

import json
import os
import sys

import msgpack

from epochs import Epochs
from seen import Seen


def decode(value: bytes):
    """Returns an event's data, in whichever of the encodings msgpack-string, msgpack
    and json the gateway wrote it (broker.encoding)."""
    if value[:1] == b"{":
        return json.loads(value)
    data = msgpack.unpackb(value, strict_map_key=False)
    return json.loads(data) if isinstance(data, str) else data


def names():
    """Returns the arguments, the names of the events to read. Without any the program ends."""
    if len(sys.argv) < 2:
        sys.exit(f"name the events to read, as in: python {os.path.basename(sys.argv[0])} MESSAGE_CREATE")
    return sys.argv[1:]


def number(value) -> int:
    """Returns a field or header as a number, 0 for what is none: it is not the gateway's."""
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0


class Event:
    """An event as it comes from a broker. Without redis.fields or amqp.headers it has no session
    and no seq: repeats of it are not known. For queue, epoch and redelivered, which are RabbitMQ's, see Epochs."""

    def __init__(self, name, value, shard, session, seq, queue="", epoch=0, redelivered=False):
        self.name, self.value, self.session = name, value, str(session or "")
        self.shard, self.seq = number(shard), number(seq)
        self.queue, self.epoch, self.redelivered = queue, number(epoch), redelivered

    def work(self):
        """What the bot does for an event that it has not processed: here it prints the event as a
        line of JSON. That is no part of a transaction, so it is done again when the consumer ends
        before its store has what comes of the event. What cannot be read is skipped."""
        try:
            data = decode(self.value)
        except Exception as error:
            print(f"{self.name} {self.seq} of session {self.session} is skipped: {error}", file=sys.stderr, flush=True)
        else:
            print(json.dumps({"event": self.name, "data": data}), flush=True)


class Journal:
    """A file with a line for each transaction: what has come of the events, here no more than
    which they were, the Seen of their shards, and Epochs that have changed. A line that a crash has cut off does not count.
    A bot with a database has a transaction of that instead. Without a name nothing is kept."""

    def __init__(self, name):
        self._file, self._seen, self._epochs = None, {}, Epochs()
        if not name:
            return
        self._file = open(name, "a+b", buffering=0)
        self._file.seek(0)
        text = self._file.read()
        whole = text.rfind(b"\n") + 1
        self._file.truncate(whole)
        for line in text[:whole].splitlines():
            record = json.loads(line)
            for shard, seen in record["seen"].items():
                self._seen[int(shard)] = Seen(seen)
            for queue, shards in record.get("epochs", {}).items():
                for shard, epoch in shards.items():
                    self._epochs.note(queue, int(shard), epoch)

    def process(self, events):
        """Works on those of the events that it has not processed, and notes them in one
        transaction. After an OSError of the file the journal is opened anew."""
        done, shards, epochs = [], set(), Epochs()
        try:
            for event in events:
                if self._epochs.former(event.queue, event.shard, event.epoch, event.redelivered):
                    continue
                if self._epochs.note(event.queue, event.shard, event.epoch):
                    epochs.note(event.queue, event.shard, event.epoch)
                seen = self._seen.setdefault(event.shard, Seen())
                if seen.has(event.session, event.seq):
                    continue
                event.work()
                seen.add(event.session, event.seq)
                done.append([event.name, event.shard, event.session, event.seq])
                shards.add(event.shard)
        finally:  # of work that fails, what was done before it is noted: it is known, and skipped when it comes again
            self._note(done, shards, epochs)

    def _note(self, done, shards, epochs):
        if self._file is None or not done and not epochs.queues:
            return
        record = {"done": done, "seen": {shard: str(self._seen[shard]) for shard in shards}}
        if epochs.queues:
            record["epochs"] = epochs.queues
        line = json.dumps(record).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError("the journal's line is cut off")
        os.fsync(self._file.fileno())
