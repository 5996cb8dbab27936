// This file is a bot's half that reads from Redis, as its users write it: with the
// broker library that it is named, unmodified. It prints how many events of each
// shard's channel came, and sends a command.
//
// node redis.mjs <spectacles|discordjs> <host:port> <events to wait for>

import { createRequire } from 'node:module';

const [library, address, want] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const [host, port] = address.split(':');
const require = createRequire(import.meta.url);
const events = process.env.EVENTS.split(',');
const command = { guild_id: '4194304', packet: { op: 8, d: { guild_id: '4194304', query: 'a', limit: 1, nonce: library } } };

let count = 0;
const seen = (text) => {
	const value = typeof text === 'string' ? JSON.parse(text) : text;
	if (value === null || typeof value !== 'object') throw new Error(`not an event's data: ${text}`);
	if (++count === want) {
		console.log(JSON.stringify({ library, count }));
		setTimeout(() => process.exit(0), 500);
	}
};

if (library === 'spectacles') {
	const spectacles = require('@spectacles/brokers');
	const Redis = createRequire(require.resolve('@spectacles/brokers'))('ioredis'); // the version that it uses
	const broker = new (spectacles.Redis ?? spectacles.RedisBroker)('bots', new Redis(Number(port), host), { blockInterval: 500, maxChunk: 1000 });
	for (const name of events) broker.on(name, (data, { ack }) => { ack(); seen(data); });
	broker.on('error', (e) => { console.error(e); process.exit(1); });
	await broker.subscribe(events);
	await broker.publish('SEND', JSON.stringify(command));
} else {
	const { PubSubRedisBroker } = require('@discordjs/brokers');
	const { Redis } = require('ioredis');
	const broker = new PubSubRedisBroker(new Redis(Number(port), host), { group: 'bots', blockTimeout: 500, maxChunk: 1000 });
	for (const name of events) broker.on(name, ({ ack, data }) => { ack(); seen(data); });
	await broker.subscribe(events);
	await broker.publish('SEND', command);
}
