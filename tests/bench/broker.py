"""The broker of the benchmark: the tests' Apache Kafka with a full JIT and a heap, and the topics of a work."""

import itertools

from support.kafka import Kafka

NUMBERS = itertools.count(1)
# Kafka's default, which the tests' brokers do without: the members of a program begin together.
TOGETHER = {"group.initial.rebalance.delay.ms": 3000}


class Broker(Kafka):
    """One node. The broker itself stamps outputs, so each program's time is taken by the same clock."""

    jvm = ["-Xmx1g", "-Xms1g", "-XX:+UseSerialGC"]

    def source(self, partitions):
        """A new topic for events; its name."""
        name = f"events-{next(NUMBERS)}"
        self.wire.create_topic(name, partitions)
        return name

    def target(self, partitions):
        """A new topic for the outputs of one run; its name."""
        name = f"outputs-{next(NUMBERS)}"
        self.wire.create_topic(name, partitions, {"message.timestamp.type": "LogAppendTime"})
        return name

    def group(self):
        return f"group-{next(NUMBERS)}"
