# A bot on discord.py that writes the shard, seq and type of each event as a line
# of JSON, and ends with its standard input: python3 bot.py API GATEWAY TOKEN COMPRESSION
import asyncio
import json
import logging
import sys

import yarl

api, url, token, compression = sys.argv[1:]
if compression == 'zlib-stream':  # which it takes when there is no zstd
    sys.modules['zstandard'] = sys.modules['compression.zstd'] = None

import discord
from discord import gateway, http

http.Route.BASE = api
gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url + '/')


class Socket(gateway.DiscordWebSocket):
    """Says what it has handled: discord.py has no event with the seq."""

    def log_receive(self, message, /):
        self.message = message

    async def received_message(self, message, /):
        self.message = None
        await super().received_message(message)
        event = json.loads(self.message) if self.message else {}
        if event.get('op') == 0:
            print(json.dumps({'shard': self.shard_id, 'seq': event['s'], 'type': event['t']}), flush=True)


gateway.DiscordWebSocket = Socket
discord.client.DiscordWebSocket = Socket
discord.shard.DiscordWebSocket = Socket


async def main():
    logging.basicConfig(level=logging.WARNING)
    client = discord.AutoShardedClient(intents=discord.Intents.all(), chunk_guilds_at_startup=False)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: sys.stdin.read() or ended.set())
    async with client:
        running = loop.create_task(client.start(token))
        end = loop.create_task(ended.wait())
        await asyncio.wait([running, end], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()


asyncio.run(main())
