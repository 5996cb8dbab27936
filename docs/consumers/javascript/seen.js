// Which events of a shard have been processed.

export const defaultLimit = 8192;
// Of a generation: a consumer that has been away may have many before it, in one stream after the other.
const maxSessions = 256;

// named tells whether an event has a name. Discord counts from 1.
const named = (session, seq) => Boolean(session) && Number.isSafeInteger(seq) && seq > 0;

// Seen is which events of one shard have been processed: an exact set of their sessions and seqs,
// in whatever order they come, from however many streams, queues and consumers. It is bounded: of
// seqs that follow one another a range is kept, and of ranges the last limit at most, at least the
// last half of that. What is forgotten counts as not processed: an event is rather processed
// again than lost.
//
// Its text, toString(), belongs into the transaction that has the event's effect.
//
// Who owns the shard, which is told by its epoch once several gateways share a bot, makes no
// difference: a session's events keep their names whoever passes them on. Epochs is what tells owners apart.
export class Seen {
	#limit;
	// Two generations: by session, the ranges of its seqs, [first, last], in ascending order, none
	// next to another. When the younger one is full, it becomes the older, and that is dropped.
	#young = new Map();
	#old = new Map();
	#ranges = 0; // in #young

	// The constructor reads what toString has written, in each of the languages; the empty text is
	// that of a consumer that begins. It throws if the text is something else: that must not be
	// taken for one.
	constructor(text = '', limit = defaultLimit) {
		this.#limit = limit;
		if (text === '') return;
		let value;
		try {
			value = JSON.parse(text);
		} catch (error) {
			throw new Error(`seen: ${error.message}`);
		}
		if (value?.version !== 1) throw new Error(`seen: version ${value?.version} is none that is known`);
		this.#young = parse(value.young);
		this.#old = parse(value.old);
		for (const ranges of this.#young.values()) this.#ranges += ranges.length;
	}

	// has tells whether the event has been processed, as far as is known. One without a session or
	// a seq never has.
	has(session, seq) {
		return named(session, seq) && (covers(this.#young.get(session), seq) || covers(this.#old.get(session), seq));
	}

	// add notes that the event has been processed. It does nothing if that is known.
	add(session, seq) {
		if (!named(session, seq) || this.has(session, seq)) return;
		const full = !this.#young.has(session) && this.#young.size >= maxSessions;
		if (full || this.#ranges >= Math.floor((this.#limit + 1) / 2)) {
			[this.#young, this.#old, this.#ranges] = [new Map(), this.#young, 0];
		}
		if (!this.#young.has(session)) this.#young.set(session, []);
		const ranges = this.#young.get(session);
		const at = search(ranges, seq);
		const before = at > 0 && ranges[at - 1][1] === seq - 1;
		const after = at < ranges.length && ranges[at][0] === seq + 1;
		if (before && after) {
			ranges[at - 1][1] = ranges[at][1];
			ranges.splice(at, 1);
			this.#ranges--;
		} else if (before) {
			ranges[at - 1][1] = seq;
		} else if (after) {
			ranges[at][0] = seq;
		} else {
			ranges.splice(at, 0, [seq, seq]);
			this.#ranges++;
		}
	}

	toString() {
		return JSON.stringify({ version: 1, young: format(this.#young), old: format(this.#old) });
	}
}

// search returns how many of the ranges begin at seq or before.
function search(ranges, seq) {
	let [low, high] = [0, ranges.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (ranges[middle][0] <= seq) low = middle + 1;
		else high = middle;
	}
	return low;
}

function covers(ranges, seq) {
	if (!ranges) return false;
	const at = search(ranges, seq);
	return at > 0 && ranges[at - 1][1] >= seq;
}

// format returns for each session its ranges, such as "1-5,7".
function format(generation) {
	return Array.from(generation, ([session, ranges]) => [session, ranges.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join()]);
}

function parse(pairs) {
	const generation = new Map();
	if (!Array.isArray(pairs)) throw new Error('seen: a generation is no list');
	for (const [session, text] of pairs) {
		const ranges = [];
		for (const part of `${text}`.split(',')) {
			const match = /^([1-9][0-9]{0,15})(?:-([1-9][0-9]{0,15}))?$/.exec(part);
			const [first, last] = match ? [Number(match[1]), Number(match[2] ?? match[1])] : [0, 0];
			if (first < 1 || last < first || !Number.isSafeInteger(last) || (ranges.length && first <= ranges.at(-1)[1] + 1)) {
				throw new Error(`seen: "${part.slice(0, 40)}" of session "${session}" is no range behind the one before`);
			}
			ranges.push([first, last]);
		}
		if (typeof session !== 'string' || session === '' || generation.has(session)) {
			throw new Error(`seen: session "${session}" is empty or stands twice`);
		}
		generation.set(session, ranges);
	}
	return generation;
}
