"""A bot's consumer for Redis: it prints each event of the names that it is given.

    pip install -r requirements.txt
    REDIS_URL=redis://localhost:6379 python redis_consumer.py MESSAGE_CREATE INTERACTION_CREATE
"""

import os
import sys

import redis

from event import Seen, decode, show

client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
streams = sys.argv[1:]
group, consumer = "bots", f"bot-{os.getpid()}"

for stream in streams:
    try:
        client.xgroup_create(stream, group, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):  # it is there already
            raise

# A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
if command := os.environ.get("COMMAND"):
    client.xadd("SEND", {"data": command})

seen = Seen()
while True:
    answer = client.xreadgroup(group, consumer, {stream: ">" for stream in streams}, count=100, block=1000)
    for stream, entries in answer:
        for entry, fields in entries:
            if not seen.has(stream, fields.get(b"shard"), fields.get(b"session"), fields.get(b"seq")):
                show(stream.decode(), decode(fields[b"data"]))
            client.xack(stream, group, entry)  # after the work: what was not acknowledged is not lost
