"""Brokers that stop, freeze, die and lose their leadership while a flow runs: nothing is lost or reordered.

The soak (SIPEAT_SOAK) has more events and more rounds.
"""

import os
import signal
import time

from support import harness, stream
from support.harness import wait_for
from support.kafka import Cluster, Kafka
from support.kafka_wire import WireError

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
EVENTS, ROUNDS = (100_000, 10) if SOAK else (6_000, 1)


class OneBroker(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def results(self):
        """How many there are; waits until the broker, which may have just started, says so."""
        def count():
            try:
                return (self.kafka.wire.count("results"),)
            except WireError:
                return None
        return wait_for(count, "an answer")[0]

    def test_the_broker_stopped_killed_and_frozen(self):
        wire = self.kafka.wire
        for topic, partitions in stream.Stream.topics.items():
            wire.create_topic(topic, partitions)
        events = stream.Stream(self.kafka.address, EVENTS)
        events.write()
        process = self.start("run", self.script(stream.Stream.script()), env={"KAFKA_BROKERS": self.kafka.address})
        for number in range(3 * ROUNDS):
            goal = min(self.results() + EVENTS // (5 * ROUNDS), EVENTS * 9 // 10)
            process.until(lambda goal=goal: self.results() >= goal, f"{goal} results", 60)
            if number % 3 == 2:
                self.kafka.process.send_signal(signal.SIGSTOP)
                time.sleep(3)  # long enough for requests to pile up; what follows is waited for
                self.kafka.process.send_signal(signal.SIGCONT)
            else:
                self.kafka.stop(signal.SIGKILL if number % 3 else signal.SIGTERM)
                self.assertIsNone(process.popen.poll(), process.tail())
                self.kafka.start()
        stream.finish(self, self.kafka, process, deadline=120)
        print(f"{events.witness(self)} results more than events", flush=True)


class ThreeBrokers(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(3))

    def leaders(self):
        for node in self.cluster.nodes:
            if node.process is not None:
                return node.wire.leaders("stream")
        return {}

    def results(self, events):
        return sum(len(numbers) for numbers in events.results().values())

    def test_the_leader_moves(self):
        wire = self.cluster.nodes[0].wire
        for topic, partitions in stream.Stream.topics.items():
            wire.create_topic(topic, partitions, copies=3)
        events = stream.Stream(self.cluster.address, EVENTS)
        events.write()
        process = self.start("run", self.script(stream.Stream.script()), env={"KAFKA_BROKERS": self.cluster.address})
        for number in range(3 * ROUNDS):
            node = self.cluster.nodes[number % 3]
            led = sum(1 for leader in self.leaders().values() if leader == node.node)
            print(f"node {node.node} leads {led} partitions; ending it", flush=True)
            node.stop(signal.SIGTERM if number % 2 else signal.SIGKILL)
            wait_for(lambda node=node: len(self.leaders()) == 6 and node.node not in self.leaders().values(),
                     lambda: f"leaders moved: {self.leaders()}", 60)
            before = self.results(events)
            process.until(lambda before=before: self.results(events) > before or before >= EVENTS * 99 // 100,
                          "results under the new leaders", 90, every=0.5)
            node.start()
        poison = -(-EVENTS // stream.FAILS_ALWAYS)
        process.until(lambda: self.results(events) >= EVENTS - poison and len(events.dead()) == poison,
                      "all results", 180, every=1)
        self.assertEqual(process.stop(), 0, process.tail())
        print(f"{events.witness(self)} results more than events", flush=True)
        self.assertEqual(self.lag(), 0)

    def lag(self):
        """As the coordinator has it, whichever node that is."""
        committed = {}
        for node in self.cluster.nodes:
            committed.update(node.wire.committed("stream", "stream"))
        ends = {}
        for record in stream.kcat.read(self.cluster.address, "stream"):
            ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
        return sum(end - committed[partition][0] for partition, end in ends.items())


if __name__ == "__main__":
    harness.main()
