// A store for a consumer that has no database: a file.

import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { Epochs } from './epochs.js';
import { Seen } from './seen.js';

// A Journal is a file with a line for each transaction: what has come of the events, here no more
// than which they were, the Seen of their shards, and Epochs that have changed. A line that a crash has cut off does not
// count. A bot with a database has a transaction of that instead. Without a name nothing is kept.
export class Journal {
	#file;
	#seen = new Map(); // by shard
	#epochs = new Epochs();

	constructor(name) {
		if (!name) return;
		this.#file = openSync(name, 'a+', 0o600);
		const text = readFileSync(name);
		const whole = text.lastIndexOf(10) + 1;
		ftruncateSync(this.#file, whole);
		for (const line of text.toString('utf8', 0, whole).split('\n')) {
			if (line === '') continue;
			const { seen, epochs = {} } = JSON.parse(line);
			for (const [shard, text] of Object.entries(seen)) this.#seen.set(Number(shard), new Seen(text));
			for (const [queue, shards] of Object.entries(epochs)) {
				for (const [shard, epoch] of Object.entries(shards)) this.#epochs.note(queue, Number(shard), epoch);
			}
		}
	}

	// process works on those of the events that it has not processed, and notes them in one
	// transaction. After an error the journal is opened anew.
	process(events) {
		const done = [];
		const shards = new Set();
		const epochs = new Epochs();
		for (const event of events) {
			if (this.#epochs.former(event.queue, event.shard, event.epoch, event.redelivered)) continue;
			if (this.#epochs.note(event.queue, event.shard, event.epoch)) epochs.note(event.queue, event.shard, event.epoch);
			if (!this.#seen.has(event.shard)) this.#seen.set(event.shard, new Seen());
			const seen = this.#seen.get(event.shard);
			if (seen.has(event.session, event.seq)) continue;
			event.work();
			seen.add(event.session, event.seq);
			done.push([event.name, event.shard, event.session, event.seq]);
			shards.add(event.shard);
		}
		if (this.#file === undefined || (done.length === 0 && epochs.empty)) return;
		const seen = Object.fromEntries(Array.from(shards, (shard) => [shard, `${this.#seen.get(shard)}`]));
		const line = Buffer.from(`${JSON.stringify({ done, seen, epochs: epochs.empty ? undefined : epochs })}\n`);
		if (writeSync(this.#file, line) !== line.length) throw new Error("the journal's line is cut off");
		fsyncSync(this.#file);
	}

	close() {
		if (this.#file !== undefined) closeSync(this.#file);
	}
}
