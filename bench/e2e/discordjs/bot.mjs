// A bot on @discordjs/ws that writes the shard, seq and type of each event as a
// line of JSON, and ends with its standard input: node bot.mjs API GATEWAY TOKEN COMPRESSION
import { CompressionMethod, WebSocketManager, WebSocketShardEvents } from '@discordjs/ws';
import { REST } from '@discordjs/rest';

const [api, , token, compression] = process.argv.slice(2);
const rest = new REST({ api: api.replace(/\/v10$/, ''), version: '10' }).setToken(token);
const manager = new WebSocketManager({
  token,
  intents: 53608447,
  rest,
  compression: compression === 'zlib-stream' ? CompressionMethod.ZlibNative : null,
  fetchGatewayInformation: () => rest.get('/gateway/bot'),
});
manager.on(WebSocketShardEvents.Dispatch, ({ s: seq, t: type }, shard) => console.log(JSON.stringify({ shard, seq, type })));
manager.on(WebSocketShardEvents.Error, (error) => console.error(error));
process.stdin.on('end', async () => {
  await manager.destroy({ code: 4900 });
  process.exit(0);
}).resume();
await manager.connect();
