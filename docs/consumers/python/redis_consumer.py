"""A bot's consumer for Redis: it prints each event of the streams that it is given.

    pip install -r requirements.txt
    REDIS_URL=localhost:6379 python redis_consumer.py MESSAGE_CREATE INTERACTION_CREATE
"""

import os
import socket
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from event import Event, names
from seen import Seen

group = os.environ.get("GROUP") or "bots"
# The name stays the same when the process starts again: it finds what it has not acknowledged.
name = os.environ.get("BOT_NAME") or socket.gethostname()
# Longer than any work takes, in seconds: others do it then.
claim_after = float(os.environ.get("CLAIM_AFTER") or 60)


def text(value):
    return value.decode(errors="replace") if value is not None else None


def serve(client, streams, commands):
    """Reads until something fails."""
    for stream in streams:
        try:
            client.xgroup_create(stream, group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # it is there already
                raise

    # A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
    while commands:
        client.xadd("SEND", {"data": commands[0]})
        del commands[0]

    while read(client, streams, "0"):  # what was in flight when the last process of this name ended
        pass
    claimed = None
    while True:
        if claimed is None or time.monotonic() - claimed > claim_after / 2:  # what others have left lying
            claim(client, streams)
            claimed = time.monotonic()
        read(client, streams, ">")


def read(client, streams, start):
    """Processes entries: those that are new, ">", or from "0" on those delivered to this name
    before. Returns how many there were."""
    answer = client.xreadgroup(group, name, {stream: start for stream in streams}, count=100, block=1000)
    got = {stream.decode(): entries for stream, entries in answer if entries}
    if got:
        process(client, got)
    return sum(map(len, got.values()))


def claim(client, streams):
    """Takes the entries over that nobody has acknowledged for long."""
    for stream in streams:
        start = "0-0"
        while True:
            answer = client.xautoclaim(stream, group, name, int(claim_after * 1000), start, count=100)
            start, entries = answer[0].decode(), [entry for entry in answer[1] if entry[0] is not None]
            if entries:
                process(client, {stream: entries})
            if start == "0-0":
                break


def process(client, got):
    """Works on entries that have not been processed. Of the effects in Redis there is one, whoever
    else of the group has the same entries: the transaction fails if the Seen of a shard is another
    meanwhile."""
    events = {}
    for stream, entries in got.items():
        for entry, fields in entries:
            if not fields:
                print(f"{stream} {entry.decode()} was trimmed before it was processed", file=sys.stderr, flush=True)
                continue
            event = text(fields.get(b"event")) or stream
            events[stream, entry] = Event(event, fields.get(b"data", b""), fields.get(b"shard"), text(fields.get(b"session")), fields.get(b"seq"))
    while True:
        try:
            return transaction(client, got, events)
        except redis.WatchError:
            pass


def transaction(client, got, events):
    keys = {event.shard: f"{group}:seen:{event.shard}" for event in events.values()}
    with client.pipeline() as pipe:
        seen = {}
        for shard, key in keys.items():
            pipe.watch(key)
            seen[shard] = Seen(text(pipe.get(key)) or "")
        pipe.multi()
        for event in events.values():
            if seen[event.shard].has(event.session, event.seq):
                continue
            event.work()
            seen[event.shard].add(event.session, event.seq)
            done = {"event": event.name, "shard": event.shard, "session": event.session, "seq": event.seq}
            pipe.xadd(f"{group}:log", done, maxlen=1_000_000)
        for shard, key in keys.items():
            pipe.set(key, str(seen[shard]))
        for stream, entries in got.items():  # after the work: what was not acknowledged is not lost
            pipe.xack(stream, group, *(entry for entry, _ in entries))
        pipe.execute()


def main():
    streams = names()
    url = os.environ.get("REDIS_URL") or "redis://localhost:6379"
    if "://" not in url:  # as the gateway takes it, too
        url = "redis://" + url
    # Not tried again in here: a transaction would go on without its WATCH.
    client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    commands = [os.environ["COMMAND"]] if os.environ.get("COMMAND") else []
    while True:
        try:
            serve(client, streams, commands)
        except redis.RedisError as error:
            print(f"again in a second: {error!r}", file=sys.stderr, flush=True)
        time.sleep(1)


main()
