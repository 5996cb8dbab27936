# A bot on hikari that writes the shard, seq and type of each event as a line of
# JSON, and ends with its standard input: python3 bot.py API GATEWAY TOKEN COMPRESSION
import asyncio
import json
import logging
import sys

api, _, token, compression = sys.argv[1:]
if compression == 'zlib-stream':  # which it takes when there is no zstd
    sys.modules['backports.zstd'] = None

import hikari
from hikari.impl import event_manager_base

consume = event_manager_base.EventManagerBase.consume_raw_event


def consume_raw_event(self, name, shard, payload):
    """Says what has been handled: hikari has no event with the seq."""
    consume(self, name, shard, payload)
    print(json.dumps({'shard': shard.id, 'seq': shard._seq, 'type': name}), flush=True)


event_manager_base.EventManagerBase.consume_raw_event = consume_raw_event


def on_exception(loop, context):
    # hikari handles what came on a connection that has ended since, and fails on a
    # GUILD_UPDATE, which needs one. That is not about what it was sent.
    if not isinstance(context.get('exception'), hikari.ComponentStateConflictError):
        loop.default_exception_handler(context)


async def main():
    asyncio.get_running_loop().set_exception_handler(on_exception)
    logging.basicConfig(level=logging.WARNING)
    bot = hikari.GatewayBot(token, banner=None, suppress_optimization_warning=True, logs=None,
                            intents=hikari.Intents.ALL, auto_chunk_members=False, rest_url=api)

    # Somebody has to listen, or nothing is made of an event.
    @bot.listen(hikari.Event)
    async def on_event(_):
        pass

    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: sys.stdin.read() or ended.set())
    await bot.start(check_for_updates=False)
    running = asyncio.ensure_future(bot.join())
    end = asyncio.ensure_future(ended.wait())
    await asyncio.wait([running, end], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        sys.exit('it has ended by itself')
    await bot.close()


asyncio.run(main())
