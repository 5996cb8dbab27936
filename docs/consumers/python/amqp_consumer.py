"""A bot's consumer for RabbitMQ: it prints each event of the names that it is given.

    pip install -r requirements.txt
    AMQP_URL=amqp://localhost JOURNAL=bot.jsonl python amqp_consumer.py MESSAGE_CREATE INTERACTION_CREATE
"""

import os
import sys
import time

import pika

from event import Event, Journal, names

exchange = "gateway"  # broker.group
prefetch = 100


def serve(events, journal, commands):
    """Reads until the connection ends."""
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL") or "amqp://localhost"))
    try:
        channel = connection.channel()
        channel.exchange_declare(exchange, "direct", durable=True)
        channel.basic_qos(prefetch_count=prefetch)

        # A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
        while commands:
            channel.basic_publish(exchange, "SEND", commands[0].encode())
            del commands[0]

        # A queue for each event, or one for all, as QUEUE says.
        batch, queues = [], set()
        for event in events:
            queue = os.environ.get("QUEUE") or f"{exchange}:bots:{event}"
            if queue not in queues:
                channel.queue_declare(queue, durable=True)
            queues.add(queue)
            channel.queue_bind(queue, exchange, event)
        for queue in queues:
            channel.basic_consume(
                queue, lambda _, method, properties, body: batch.append((method, properties.headers or {}, body)), consumer_tag=queue)
        print("bound", file=sys.stderr, flush=True)
        while True:
            connection.process_data_events(time_limit=1)
            if len(channel.consumer_tags) < len(queues):
                raise pika.exceptions.ConsumerCancelled("a queue was deleted")
            taken, batch[:] = batch[:], []
            if not taken:
                continue
            journal.process([
                Event(method.routing_key, body, headers.get("shard"), headers.get("session"), headers.get("seq"),
                      method.consumer_tag, headers.get("epoch"), method.redelivered)
                for method, headers, body in taken
            ])
            for method, _, _ in taken:  # after the work: what was not acknowledged is not lost
                channel.basic_ack(method.delivery_tag)
    finally:
        if connection.is_open:
            connection.close()


def main():
    events = names()
    journal = Journal(os.environ.get("JOURNAL"))
    commands = [os.environ["COMMAND"]] if os.environ.get("COMMAND") else []
    while True:
        try:
            serve(events, journal, commands)
        except (pika.exceptions.AMQPError, ConnectionError) as error:
            # What was not acknowledged is delivered again.
            print(f"again in a second: {error!r}", file=sys.stderr, flush=True)
        time.sleep(1)


main()
