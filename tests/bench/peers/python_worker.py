"""The benchmark's work with confluent-kafka for Python and Python's own json.

python_worker.py BROKERS GROUP IN OUT LINGER_MS
Each call of consume is a batch that waits for its outputs' acknowledgements; batches are stored for commit in order.
"""

import collections
import json
import signal
import sys

from confluent_kafka import Consumer, Producer, TopicPartition

ROUTES = {"order.created": ("accepted", 1), "order.paid": ("settled", 1), "order.shipped": ("closed", 1),
          "order.cancelled": ("refunded", -1)}


class Batch:
    def __init__(self, messages):
        self.pending = len(messages)
        self.ends = {message.partition(): message.offset() + 1 for message in messages}

    def on_report(self, error, _message):
        if error is not None:
            sys.exit(f"worker: an output: {error}")
        self.pending -= 1


def transform(value):
    event = json.loads(value)
    data = event["data"]
    status, sign = ROUTES[event["type"]]
    return json.dumps({"id": event["id"], "order": data["orderId"], "customer": data["customerId"], "status": status,
                       "amount": sign * data["total"]}, separators=(",", ":"))


def handle(producer, target, messages):
    batch = Batch(messages)
    for message in messages:
        if message.error() is not None:
            sys.exit(f"worker: read: {message.error()}")
        value = transform(message.value())
        while True:
            try:
                producer.produce(target, value, message.key(), on_delivery=batch.on_report)
                break
            except BufferError:
                producer.poll(0.01)
    producer.poll(0)
    return batch


def store(consumer, source, waiting):
    while waiting and waiting[0].pending == 0:
        ends = waiting.popleft().ends
        consumer.store_offsets(offsets=[TopicPartition(source, partition, end) for partition, end in ends.items()])


def main():
    brokers, group, source, target, linger_ms = sys.argv[1:]
    stopped = []
    signal.signal(signal.SIGTERM, lambda *unused: stopped.append(True))
    consumer = Consumer({
        "bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.offset.store": False, "auto.commit.interval.ms": 1000, "queued.min.messages": 200_000})
    producer = Producer({
        "bootstrap.servers": brokers, "enable.idempotence": True, "acks": "all", "linger.ms": int(linger_ms),
        "partitioner": "murmur2_random", "queue.buffering.max.messages": 500_000})
    consumer.subscribe([source])
    waiting = collections.deque()
    while not stopped:
        messages = consumer.consume(2000, 0.05)
        if messages:
            waiting.append(handle(producer, target, messages))
        else:
            producer.poll(0)
        store(consumer, source, waiting)
    producer.flush(10)
    store(consumer, source, waiting)
    consumer.close()


if __name__ == "__main__":
    main()
