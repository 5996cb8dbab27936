// A bot's consumer for RabbitMQ: it prints each event of the names that it is given.
//
//     npm ci
//     AMQP_URL=amqp://localhost node amqp.js MESSAGE_CREATE INTERACTION_CREATE

import amqp from 'amqplib';
import { decode, print, Seen } from './event.js';

const connection = await amqp.connect(process.env.AMQP_URL ?? 'amqp://localhost');
const channel = await connection.createChannel();
const exchange = 'gateway'; // broker.group
await channel.assertExchange(exchange, 'direct');
await channel.prefetch(100);

// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
if (process.env.COMMAND) channel.publish(exchange, 'SEND', Buffer.from(process.env.COMMAND));

const seen = new Seen();
for (const event of process.argv.slice(2)) {
	const queue = `${exchange}:bots:${event}`;
	await channel.assertQueue(queue);
	await channel.bindQueue(queue, exchange, event);
	await channel.consume(queue, (message) => {
		const { shard, session, seq } = message.properties.headers ?? {};
		if (!seen.has(queue, shard, session, seq)) print(event, decode(message.content));
		channel.ack(message); // after the work: what was not acknowledged is not lost
	});
}
console.error('bound');
