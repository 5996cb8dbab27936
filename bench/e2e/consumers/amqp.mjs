// This file is a bot's half that reads from RabbitMQ, as its users write it: with the
// library @spectacles/brokers, unmodified. It says when it is bound, how many events came,
// and what the gateway replied to a command.
//
// node amqp.mjs <host:port> <exchange> <events to wait for>

import { createRequire } from 'node:module';

const [address, exchange, want] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const spectacles = createRequire(import.meta.url)('@spectacles/brokers');
const events = process.env.EVENTS.split(',');
const command = { guild_id: '4194304', packet: { op: 8, d: { guild_id: '4194304', query: 'a', limit: 1, nonce: 'spectacles' } } };

let count = 0;
const broker = new (spectacles.Amqp ?? spectacles.AmqpBroker)(exchange, 'bots', { reconnectTimeout: 1000 });
for (const name of events) {
	broker.on(name, async (text, { ack }) => {
		ack();
		const value = typeof text === 'string' ? JSON.parse(text) : text;
		if (value === null || typeof value !== 'object') throw new Error(`not an event's data: ${text}`);
		if (++count !== want) return;
		const reply = await broker.call('SEND', JSON.stringify(command));
		console.log(JSON.stringify({ count: want, reply }));
		setTimeout(() => process.exit(0), 500);
	});
}
broker.on('error', (e) => { console.error(e); process.exit(1); });
await broker.connect(address);
await broker.subscribe(events);
console.log('bound');
