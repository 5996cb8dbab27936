// What both consumers do with the value of an event.

import { decode as unpack } from '@msgpack/msgpack';

// decode returns an event's data, in whichever of the encodings msgpack-string, msgpack
// and json the gateway wrote it (broker.encoding).
export function decode(bytes) {
	if (bytes[0] === 0x7b) return JSON.parse(bytes.toString()); // "{"
	const value = unpack(bytes);
	return typeof value === 'string' ? JSON.parse(value) : value;
}

// Seen knows the last event of each session in each stream or queue, which come in order. The
// gateway sends an event again when it could not learn whether the broker had taken it.
export class Seen {
	#last = new Map();

	has(queue, shard, session, seq) {
		if (seq === undefined) return false; // not switched on (redis.fields, amqp.headers)
		const key = `${queue} ${shard} ${session}`;
		if (seq <= (this.#last.get(key) ?? 0)) return true;
		this.#last.set(key, seq);
		return false;
	}
}

export const print = (event, data) => console.log(JSON.stringify({ event, data }));
