# Makes the fixtures with the reference implementation: pip install zstandard.
# Each is a stream with a window of 256 KiB, flushed after every message: a
# message is behind its length, in four bytes, lowest first.
import json, random, zstandard

random.seed(1)

def message(i):
    kind = i % 17
    if kind == 3:
        return b"x" * random.randrange(4000)
    if kind == 5:
        return random.randbytes(random.randrange(2000))
    if i == 40:
        return json.dumps([{"id": str(random.getrandbits(60)), "roles": [str(j) for j in range(j % 9)]} for j in range(4000)]).encode()
    return json.dumps({"t": "MESSAGE_CREATE", "s": i, "op": 0, "d": {
        "id": str(random.getrandbits(62)), "channel_id": str(random.randrange(9)), "content": "word " * random.randrange(40),
        "author": {"id": str(random.randrange(50)), "avatar": "%032x" % random.getrandbits(128)}, "mentions": []}}).encode()

for level in (-5, 1, 3, 6, 12, 19, 22):
    params = zstandard.ZstdCompressionParameters.from_level(level, window_log=18, write_checksum=False, write_content_size=False)
    c = zstandard.ZstdCompressor(compression_params=params).compressobj()
    with open(f"level{level}.zst", "wb") as out:
        for i in range(150):
            b = c.compress(message(i)) + c.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            out.write(len(b).to_bytes(4, "little") + b)
