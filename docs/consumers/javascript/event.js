// What both consumers do with an event.

import { basename } from 'node:path';
import { decode as unpack } from '@msgpack/msgpack';

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
// no seq: repeats of it are not known. For epoch, queue and redelivered, which are RabbitMQ's, see Epochs.
export class Event {
	constructor(name, value, { shard, session, seq, epoch }, queue = '', redelivered = false) {
		Object.assign(this, { name, value, shard: Number(shard ?? 0), session: `${session ?? ''}`, seq: Number(seq ?? 0) });
		Object.assign(this, { epoch: Number(epoch ?? 0), queue, redelivered });
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
