// Holds the journal against the vectors of events of former owners that all languages share.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Journal } from './journal.js';

const { cases } = JSON.parse(readFileSync(new URL('../testdata/epochs.json', import.meta.url)));

test('there are vectors', () => assert.ok(cases.length > 9));

for (const { name, steps } of cases) {
	test(name, (t) => {
		const folder = mkdtempSync(join(tmpdir(), 'epochs-'));
		t.after(() => rmSync(folder, { recursive: true }));
		let journal = new Journal(join(folder, 'journal'));
		for (const [queue, shard, epoch, redelivered, session, seq, want] of steps) {
			if (queue === 'reopen') {
				journal.close();
				journal = new Journal(join(folder, 'journal'));
				continue;
			}
			let worked = false;
			const work = () => (worked = true);
			journal.process([{ name: 'A', queue, shard, epoch, redelivered, session, seq, work }]);
			assert.equal(worked, want, JSON.stringify([queue, shard, epoch, redelivered, session, seq]));
		}
		journal.close();
	});
}
