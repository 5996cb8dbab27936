// Counts events with @discordjs/ws, whose shards run in one process, and keeps
// the protocol of the load harness. It has no zstd: zlib stands in for it.
import { readFileSync, writeSync } from 'node:fs';
import { CompressionMethod, WebSocketManager, WebSocketShardEvents } from '@discordjs/ws';
import { REST } from '@discordjs/rest';

const env = process.env;
const sample = Number(env.BENCH_SAMPLE || 1);
const compression = env.DISCORD_COMPRESSION === 'none' ? 'none' : 'zlib-stream';
const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));
const write = (line) => writeSync(1, JSON.stringify(line) + '\n');

write({ peer: `@discordjs/ws ${dependencies['@discordjs/ws']}`, compression });
const rest = new REST({ api: env.DISCORD_API_URL.replace(/\/v10$/, ''), version: '10' }).setToken(env.DISCORD_TOKEN);
const manager = new WebSocketManager({
  token: env.DISCORD_TOKEN,
  intents: Number(env.DISCORD_INTENTS),
  rest,
  shardCount: Number(env.DISCORD_SHARD_COUNT || 1),
  compression: compression === 'none' ? null : CompressionMethod.ZlibNative,
  fetchGatewayInformation: () => rest.get('/gateway/bot'),
});
let count = 0;
manager.on(WebSocketShardEvents.Dispatch, ({ s, t }, shard) => {
  count++;
  if (s % sample === 0) write({ event: t, shard, seq: s });
});
manager.on(WebSocketShardEvents.Error, (error) => console.error(error));
process.on('SIGTERM', () => {
  write({ count });
  process.exit(0);
});
await manager.connect();
