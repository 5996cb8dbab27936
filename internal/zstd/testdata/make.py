"""Makes the recorded streams beside it with the reference implementation.

It was run with Python 3 and zstandard 0.25.0, which holds zstd 1.5.7:

    pip install zstandard==0.25.0 && python3 make.py

A file is a stream at one level, with Discord's window of 256 KiB and a flush of
the block after each message; level 6 has Discord's other parameters as well, and
so has the one of events alone. A message is the length of its compressed form and of its plain one, 4 bytes each,
little endian, then the first 8 bytes of the plain one's SHA-256, then the
compressed form.
"""

import hashlib
import json
import pathlib
import random
import struct

import zstandard

WORDS = ("general announcements the quick brown fox jumps over lazy dog permission moderator voice stage forum "
         "welcome off topic music bot commands naïve 你好").split()


def text(value):
    return json.dumps(value, separators=(",", ":")).encode()


def event(r, seq):
    snowflake = lambda: str(r.getrandbits(60))
    return text({"t": "MESSAGE_CREATE", "s": seq, "op": 0, "d": {
        "type": 0, "tts": False, "timestamp": "2026-01-0%dT12:34:%02d.%06d+00:00" % (
            r.randint(1, 9), r.randint(0, 59), r.randint(0, 999999)),
        "pinned": False, "nonce": snowflake(), "mentions": [], "mention_roles": [], "mention_everyone": False,
        "member": {"roles": [str(10**17 + r.randint(1, 99)), str(10**17 + r.randint(1, 99))], "premium_since": None,
                   "pending": False, "nick": None, "mute": False, "joined_at": "2021-05-06T07:08:09.123000+00:00",
                   "flags": 0, "deaf": False, "communication_disabled_until": None, "banner": None, "avatar": None},
        "id": snowflake(), "flags": 0, "embeds": [], "edited_timestamp": None,
        "content": " ".join(r.choice(WORDS) for _ in range(r.randint(1, 12))), "components": [],
        "channel_id": str(113 * 10**15 + r.randint(0, 500)),
        "author": {"username": "user%d" % r.randint(0, 3000), "public_flags": 0, "primary_guild": None,
                   "id": str(213 * 10**15 + r.randint(0, 3000)), "global_name": "Name %d" % r.randint(0, 3000),
                   "discriminator": "0", "clan": None, "avatar": "%032x" % r.getrandbits(128)},
        "attachments": [], "guild_id": str(313 * 10**15 + r.randint(0, 100))}})


def guild(r, size):
    channels, n = [], 0
    while n < size:
        channels.append({"version": r.getrandbits(40), "type": r.randint(0, 15),
                         "topic": " ".join(r.choice(WORDS) for _ in range(4)), "position": r.randint(0, 99),
                         "parent_id": str(113 * 10**15 + r.randint(0, 50)),
                         "name": r.choice(WORDS) + "-" + r.choice(WORDS), "id": str(r.getrandbits(60))})
        n += len(text(channels[-1]))
    return text({"t": "GUILD_CREATE", "s": 3, "op": 0, "d": {"channels": channels}})


def messages(r):
    yield text({"t": None, "s": None, "op": 10, "d": {"heartbeat_interval": 41250}})
    for i in range(60):
        m = event(r, i)
        yield m
        if i == 5:
            yield b"x"
        if i == 9:
            yield b"ab" * 300
        if i == 12:
            yield r.randbytes(700)
        if i == 15:
            yield guild(r, 30000)
        if i == 20:
            yield m
        if i == 30:
            yield guild(r, 180000)
        if i == 33:
            yield b"a" * 140000
        if i == 40:
            yield bytes(97 + (b & 7) * (b >> 5) // 7 for b in r.randbytes(5000))
        if i == 50:
            yield guild(r, 60000)


def write(name, level, messages):
    logs = {"window_log": 18}
    if level == 6:
        logs |= {"chain_log": 16, "hash_log": 16}
    params = zstandard.ZstdCompressionParameters.from_level(level, write_content_size=0, write_checksum=0, **logs)
    c = zstandard.ZstdCompressor(compression_params=params).compressobj()
    with open(pathlib.Path(__file__).parent / f"{name}.stream", "wb") as f:
        for m in messages:
            z = c.compress(m) + c.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            f.write(struct.pack("<II", len(z), len(m)) + hashlib.sha256(m).digest()[:8] + z)


for level in -5, 1, 6, 19:
    write(f"level{level}", level, messages(random.Random(level)))
r = random.Random(100)
write("events", 6, [event(r, i) for i in range(500)])
