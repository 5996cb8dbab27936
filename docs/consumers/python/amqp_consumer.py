"""A bot's consumer for RabbitMQ: it prints each event of the names that it is given.

    pip install -r requirements.txt
    AMQP_URL=amqp://localhost python amqp_consumer.py MESSAGE_CREATE INTERACTION_CREATE
"""

import os
import sys

import pika

from event import Seen, decode, show

connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
channel = connection.channel()
exchange = "gateway"  # broker.group
channel.exchange_declare(exchange, "direct", durable=True)
channel.basic_qos(prefetch_count=100)

# A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
if command := os.environ.get("COMMAND"):
    channel.basic_publish(exchange, "SEND", command.encode())

seen = Seen()


def receive(channel, method, properties, body):
    headers = properties.headers or {}
    if not seen.has(method.routing_key, headers.get("shard"), headers.get("session"), headers.get("seq")):
        show(method.routing_key, decode(body))
    channel.basic_ack(method.delivery_tag)  # after the work: what was not acknowledged is not lost


for event in sys.argv[1:]:
    queue = f"{exchange}:bots:{event}"
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, exchange, event)
    channel.basic_consume(queue, receive)
print("bound", file=sys.stderr, flush=True)
channel.start_consuming()
