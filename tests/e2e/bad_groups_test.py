"""Members that join and leave all the time: partitions move, and nothing is lost, overtaken or handled in two places.

The soak (SIPEAT_SOAK) has more events and more members.
"""

import os
import random
import signal
import time

from support import harness, stream
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
EVENTS, GUESTS = (100_000, 60) if SOAK else (6_000, 3)
SEED = int(os.environ.get("SIPEAT_SEED", "20260306"))
QUICK = ("-X", "session.timeout.ms=1500", "-X", "heartbeat.interval.ms=300")


class Groups(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def begin(self, path, *settings):
        return self.start("run", path, *settings, env={"KAFKA_BROKERS": self.kafka.address})

    def come_and_go(self, share_killed, *settings):
        """Guests join and leave beside a host. (guests that were killed, results beyond one for each event)"""
        wire = self.kafka.wire
        for topic, partitions in stream.Stream.topics.items():
            wire.create_topic(topic, partitions)
            self.addCleanup(wire.delete_topic, topic)
        events = stream.Stream(self.kafka.address, EVENTS)
        path = self.script(stream.Stream.script(concurrency=8))
        chance, killed = random.Random(SEED), 0
        print(f"seed {SEED}", flush=True)
        host = self.begin(path, *settings)
        for number in range(GUESTS):
            events.write(EVENTS * number // GUESTS, EVENTS * (number + 1) // GUESTS)
            guest = self.begin(path, *settings)
            guest.until(lambda: wire.group_state("stream")[1] >= 2, "two members", 30)
            time.sleep(chance.uniform(0, 2))
            if chance.random() < share_killed:
                guest.stop(signal.SIGKILL)
                killed += 1
            else:
                self.assertEqual(guest.stop(), 0, guest.tail())
            guest.close()
            self.processes.remove(guest)
        stream.finish(self, self.kafka, host, deadline=120)
        return killed, events.witness(self)

    def test_members_that_join_and_leave(self):
        _, more = self.come_and_go(0)
        self.assertEqual(more, 0, "handled again although nobody was killed")

    def test_members_that_join_and_are_killed(self):
        killed, more = self.come_and_go(0.6, *QUICK)
        print(f"{killed} of {GUESTS} killed: {more} results more than events", flush=True)
        self.assertGreaterEqual(killed, 1)


if __name__ == "__main__":
    harness.main()
