// Holds Seen against the vectors that all languages share.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Seen } from './seen.js';

const vectors = JSON.parse(readFileSync(new URL('../testdata/seen.json', import.meta.url)));

test('there are vectors', () => assert.ok(vectors.cases.length > 9 && vectors.refused.length > 9));

for (const { name, limit, start, steps, text } of vectors.cases) {
	test(name, () => {
		let seen = new Seen(start, limit);
		const run = {
			add: (session, seq) => seen.add(session, seq),
			adds(session, first, last, step) {
				for (let seq = first; seq <= last; seq += step) seen.add(session, seq);
			},
			has: (session, seq, want) => assert.equal(seen.has(session, seq), want, `${session} ${seq}`),
			reload: () => (seen = new Seen(`${seen}`, limit)),
		};
		for (const [op, ...args] of steps) run[op](...args);
		assert.equal(`${seen}`, text);
	});
}

for (const text of vectors.refused) {
	test(`refused: ${text}`, () => assert.throws(() => new Seen(text), /^Error: seen: /));
}

test('without a name', () => {
	const seen = new Seen();
	seen.add(undefined, undefined);
	seen.add('a', undefined);
	assert.equal(seen.has('a', undefined), false);
	assert.equal(`${seen}`, `${new Seen()}`);
});
