// What both consumers do with an event, and a store for one that has no database.

import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { decode as unpack } from '@msgpack/msgpack';
import { Seen } from './seen.js';

// decode returns an event's data, in whichever of the encodings msgpack-string, msgpack
// and json the gateway wrote it (broker.encoding).
export function decode(bytes) {
	if (bytes[0] === 0x7b) return JSON.parse(bytes.toString()); // "{"
	const value = unpack(bytes);
	return typeof value === 'string' ? JSON.parse(value) : value;
}

// names returns the arguments, the names of the events to read. Without any the program ends.
export function names() {
	const given = process.argv.slice(2);
	if (given.length === 0) {
		console.error(`name the events to read, as in: node ${basename(process.argv[1])} MESSAGE_CREATE`);
		process.exit(1);
	}
	return given;
}

// An Event is one as it comes from a broker. Without redis.fields or amqp.headers it has no session and
// no seq: repeats of it are not known.
export class Event {
	constructor(name, value, { shard, session, seq }) {
		Object.assign(this, { name, value, shard: Number(shard ?? 0), session: `${session ?? ''}`, seq: Number(seq ?? 0) });
	}

	// work is what the bot does for an event that it has not processed: here it prints the event as
	// a line of JSON. That is no part of a transaction, so it is done again when the consumer ends
	// before its store has what comes of the event. What cannot be read is skipped.
	work() {
		let data;
		try {
			data = decode(this.value);
		} catch (error) {
			console.error(`${this.name} ${this.seq} of session ${this.session} is skipped: ${error.message}`);
			return;
		}
		console.log(JSON.stringify({ event: this.name, data }));
	}
}

// A Journal is a file with a line for each transaction: what has come of the events, here no more
// than which they were, and the Seen of their shards. A line that a crash has cut off does not
// count. A bot with a database has a transaction of that instead. Without a name nothing is kept.
export class Journal {
	#file;
	#seen = new Map(); // by shard

	constructor(name) {
		if (!name) return;
		this.#file = openSync(name, 'a+', 0o600);
		const text = readFileSync(name);
		const whole = text.lastIndexOf(10) + 1;
		ftruncateSync(this.#file, whole);
		for (const line of text.toString('utf8', 0, whole).split('\n')) {
			if (line === '') continue;
			for (const [shard, seen] of Object.entries(JSON.parse(line).seen)) this.#seen.set(Number(shard), new Seen(seen));
		}
	}

	// process works on those of the events that it has not processed, and notes them in one
	// transaction. After an error the journal is opened anew.
	process(events) {
		const done = [];
		const shards = new Set();
		for (const event of events) {
			if (!this.#seen.has(event.shard)) this.#seen.set(event.shard, new Seen());
			const seen = this.#seen.get(event.shard);
			if (seen.has(event.session, event.seq)) continue;
			event.work();
			seen.add(event.session, event.seq);
			done.push([event.name, event.shard, event.session, event.seq]);
			shards.add(event.shard);
		}
		if (this.#file === undefined || done.length === 0) return;
		const seen = Object.fromEntries(Array.from(shards, (shard) => [shard, `${this.#seen.get(shard)}`]));
		const line = Buffer.from(`${JSON.stringify({ done, seen })}\n`);
		if (writeSync(this.#file, line) !== line.length) throw new Error("the journal's line is cut off");
		fsyncSync(this.#file);
	}

	close() {
		if (this.#file !== undefined) closeSync(this.#file);
	}
}
