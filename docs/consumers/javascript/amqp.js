// A bot's consumer for RabbitMQ: it prints each event of the names that it is given.
//
//     npm ci
//     AMQP_URL=amqp://localhost JOURNAL=bot.jsonl node amqp.js MESSAGE_CREATE INTERACTION_CREATE

import { setTimeout as sleep } from 'node:timers/promises';
import amqp from 'amqplib';
import { Event, names } from './event.js';
import { Journal } from './journal.js';

const exchange = 'gateway'; // broker.group
const prefetch = 100;
const events = names();
const journal = new Journal(process.env.JOURNAL);
let command = process.env.COMMAND;

// serve reads until the connection ends.
async function serve() {
	const connection = await amqp.connect(process.env.AMQP_URL || 'amqp://localhost');
	const closed = new Promise((_, reject) => {
		connection.on('error', reject);
		connection.on('close', () => reject(new Error('the connection is closed')));
	});
	closed.catch(() => {}); // waited for below
	try {
		const channel = await connection.createChannel();
		channel.on('error', () => {}); // the connection's end says more
		channel.on('close', () => connection.close().catch(() => {}));
		await channel.assertExchange(exchange, 'direct');
		await channel.prefetch(prefetch);

		// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
		if (command) channel.publish(exchange, 'SEND', Buffer.from(command));
		command = undefined;

		// What has arrived together is one transaction.
		let batch = [];
		const receive = (message) => {
			if (!message) return connection.close(); // the queue was deleted
			if (batch.push(message) === 1) setImmediate(flush);
		};
		const flush = () => {
			const taken = batch;
			batch = [];
			journal.process(taken.map(({ fields, content, properties }) => new Event(fields.routingKey, content, properties.headers ?? {}, fields.consumerTag, fields.redelivered)));
			try {
				for (const message of taken) channel.ack(message); // after the work: what was not acknowledged is not lost
			} catch {
				// The channel is closed: they are delivered again.
			}
		};

		// A queue for each event, or one for all, as QUEUE says.
		const queues = new Set();
		for (const event of events) {
			const queue = process.env.QUEUE || `${exchange}:bots:${event}`;
			await channel.assertQueue(queue);
			await channel.bindQueue(queue, exchange, event);
			queues.add(queue);
		}
		for (const queue of queues) await channel.consume(queue, receive, { consumerTag: queue });
		console.error('bound');
		await closed;
	} finally {
		await connection.close().catch(() => {});
	}
}

for (;;) {
	await serve().catch((error) => console.error(`again in a second: ${error.message || error.code || error}`));
	await sleep(1000);
}
