"""kill -9 at random moments: no event is lost, none overtakes another of its key, and little is done again.

ctest kills a few times; the soak (SIPEAT_SOAK) 200 times over 100,000 events.
"""

import os
import random
import signal
import time

from support import harness, stream
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
EVENTS, KILLS = (100_000, 200) if SOAK else (10_000, 12)
SEED = int(os.environ.get("SIPEAT_SEED", "20260305"))
QUICK = ("-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=300")  # a killed member is missed after 1 s


class Kills(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def test_killed_at_random_moments(self):
        for topic, partitions in stream.Stream.topics.items():
            self.kafka.wire.create_topic(topic, partitions)
        events = stream.Stream(self.kafka.address, EVENTS)
        events.write()
        path = self.script(stream.Stream.script())
        chance, kills = random.Random(SEED), 0
        print(f"seed {SEED}", flush=True)
        while kills < KILLS and self.kafka.wire.lag("stream", "stream") > 500:
            process = self.begin(path)
            if chance.random() < 0.2:  # as it starts, joins, or takes its first events
                time.sleep(chance.uniform(0, 1.6))
            else:
                before = self.kafka.wire.count("results")
                process.until(lambda before=before: self.kafka.wire.count("results") > before, "results", every=0.02)
                time.sleep(chance.uniform(0, 0.25))
            process.stop(signal.SIGKILL)
            process.close()
            self.processes.remove(process)
            kills += 1
        process = self.begin(path)
        stream.finish(self, self.kafka, process, deadline=300)
        more = events.witness(self)
        print(f"{kills} kills, {EVENTS} events: {more} results more than events "
              f"({more / max(1, kills):.1f} for each kill)", flush=True)
        self.assertGreaterEqual(kills, KILLS * 3 // 4)

    def begin(self, path):
        return self.start("run", path, *QUICK, env={"KAFKA_BROKERS": self.kafka.address})


if __name__ == "__main__":
    harness.main()
