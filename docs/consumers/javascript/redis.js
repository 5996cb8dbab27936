// A bot's consumer for Redis: it prints each event of the streams that it is given.
//
//     npm ci
//     REDIS_URL=localhost:6379 node redis.js MESSAGE_CREATE INTERACTION_CREATE

import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Event, names } from './event.js';
import { Seen } from './seen.js';

let url = process.env.REDIS_URL || 'redis://localhost:6379';
if (!url.includes('://')) url = `redis://${url}`; // as the gateway takes it, too
const streams = names();
const group = process.env.GROUP || 'bots';
// The name stays the same when the process starts again: it finds what it has not acknowledged.
const name = process.env.BOT_NAME || hostname();
// Longer than any work takes, in milliseconds: others do it then.
const claimAfter = 1000 * Number(process.env.CLAIM_AFTER || 60);
if (!(claimAfter >= 0)) {
	console.error(`CLAIM_AFTER is "${process.env.CLAIM_AFTER}": it is a number of seconds, such as 60`);
	process.exit(1);
}
let command = process.env.COMMAND;

// serve reads until something fails.
async function serve(redis) {
	for (const stream of streams) {
		await redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM').catch((error) => {
			if (!error.message.startsWith('BUSYGROUP')) throw error; // it is there already
		});
	}

	// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
	if (command) await redis.xadd('SEND', '*', 'data', command);
	command = undefined;

	while (await read(redis, '0')); // what was in flight when the last process of this name ended
	for (let claimed = -Infinity; ; ) {
		if (performance.now() - claimed > claimAfter / 2) {
			await claim(redis); // what others have left lying
			claimed = performance.now();
		}
		await read(redis, '>');
	}
}

// read processes entries: those that are new, '>', or from '0' on those delivered to this name
// before. It returns how many there were.
async function read(redis, from) {
	const answer = (await redis.xreadgroupBuffer('GROUP', group, name, 'COUNT', 100, 'BLOCK', 1000, 'STREAMS', ...streams, ...streams.map(() => from))) ?? [];
	const entries = answer.flatMap(([stream, entries]) => entries.map(([id, pairs]) => ({ stream: `${stream}`, id: `${id}`, pairs })));
	if (entries.length > 0) await work(redis, entries);
	return entries.length;
}

// claim takes the entries over that nobody has acknowledged for long.
async function claim(redis) {
	for (const stream of streams) {
		let from = '0-0';
		do {
			const [next, answer] = await redis.xautoclaimBuffer(stream, group, name, claimAfter, from, 'COUNT', 100);
			const entries = answer.filter(Boolean).map(([id, pairs]) => ({ stream, id: `${id}`, pairs }));
			if (entries.length > 0) await work(redis, entries);
			from = `${next}`;
		} while (from !== '0-0');
	}
}

// work works on entries that have not been processed. Of the effects in Redis there is one, whoever
// else of the group has the same entries: the transaction fails if the Seen of a shard is another meanwhile.
async function work(redis, entries) {
	const events = [];
	for (const { stream, id, pairs } of entries) {
		if (!pairs) {
			console.error(`${stream} ${id} was trimmed before it was processed`);
			continue;
		}
		const fields = {};
		for (let i = 0; i < pairs.length; i += 2) fields[pairs[i]] = pairs[i + 1];
		events.push(new Event(`${fields.event ?? stream}`, fields.data ?? Buffer.alloc(0), fields));
	}
	while (!(await transaction(redis, entries, events)));
}

// transaction returns false if it has to be tried again.
async function transaction(redis, entries, events) {
	const key = (shard) => `${group}:seen:${shard}`;
	const seen = new Map();
	for (const { shard } of events) {
		if (seen.has(shard)) continue;
		await redis.watch(key(shard));
		seen.set(shard, new Seen((await redis.get(key(shard))) ?? ''));
	}
	const multi = redis.multi();
	for (const event of events) {
		const { name, shard, session, seq } = event;
		if (seen.get(shard).has(session, seq)) continue;
		event.work();
		seen.get(shard).add(session, seq);
		multi.xadd(`${group}:log`, 'MAXLEN', '~', 1_000_000, '*', 'event', name, 'shard', shard, 'session', session, 'seq', seq);
	}
	for (const [shard, s] of seen) multi.set(key(shard), `${s}`);
	for (const { stream, id } of entries) multi.xack(stream, group, id); // after the work: what was not acknowledged is not lost
	const results = await multi.exec();
	for (const [error] of results ?? []) if (error) throw error;
	return results !== null;
}

for (;;) {
	// A connection of its own each time: a transaction must not go on without its WATCH on another.
	const redis = new Redis(url, { lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 });
	let reason; // which a command that fails over it does not have
	redis.on('error', (error) => (reason = error));
	try {
		await redis.connect();
		await serve(redis);
	} catch (error) {
		reason ??= error;
		console.error(`again in a second: ${reason.message || reason.code || reason}`);
	}
	redis.disconnect();
	await sleep(1000);
}
