"""What both consumers do with the value of an event."""

import json

import msgpack


def decode(value: bytes):
    """Returns an event's data, in whichever of the encodings msgpack-string, msgpack
    and json the gateway wrote it (broker.encoding)."""
    if value[:1] == b"{":
        return json.loads(value)
    data = msgpack.unpackb(value, strict_map_key=False)
    return json.loads(data) if isinstance(data, str) else data


class Seen:
    """Knows the last event of each session in each stream or queue, which come in order. The
    gateway sends an event again when it could not learn whether the broker had taken it."""

    def __init__(self):
        self.last = {}

    def has(self, queue, shard, session, seq) -> bool:
        if seq is None:  # not switched on (redis.fields, amqp.headers)
            return False
        if int(seq) <= self.last.get((queue, shard, session), 0):
            return True
        self.last[queue, shard, session] = int(seq)
        return False


def show(event: str, data) -> None:
    print(json.dumps({"event": event, "data": data}), flush=True)
