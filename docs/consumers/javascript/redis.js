// A bot's consumer for Redis: it prints each event of the names that it is given.
//
//     npm ci
//     REDIS_URL=redis://localhost:6379 node redis.js MESSAGE_CREATE INTERACTION_CREATE

import { Redis } from 'ioredis';
import { decode, print, Seen } from './event.js';

const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost:6379');
const streams = process.argv.slice(2);
const [group, consumer] = ['bots', `bot-${process.pid}`];

for (const stream of streams) {
	await redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM').catch((error) => {
		if (!error.message.startsWith('BUSYGROUP')) throw error; // it is there already
	});
}

// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
if (process.env.COMMAND) await redis.xadd('SEND', '*', 'data', process.env.COMMAND);

const seen = new Seen();
for (;;) {
	const answer = await redis.xreadgroupBuffer('GROUP', group, consumer, 'COUNT', 100, 'BLOCK', 1000, 'STREAMS', ...streams, ...streams.map(() => '>'));
	for (const [stream, entries] of answer ?? []) {
		for (const [id, pairs] of entries) {
			const fields = {};
			for (let i = 0; i < pairs.length; i += 2) fields[pairs[i]] = pairs[i + 1];
			if (!seen.has(`${stream}`, `${fields.shard}`, `${fields.session}`, fields.seq && Number(fields.seq))) {
				print(`${stream}`, decode(fields.data));
			}
			await redis.xack(stream, group, id); // after the work: what was not acknowledged is not lost
		}
	}
}
