"""Chains on a journal that several hosts share: PostgreSQL restarts, a host is killed, a host is frozen.

Each request goes through the chain of support/drink.lua, on processes of one group with one journal.
"""

import os
import signal

from support import harness, kcat
from support.drink_world import DEAD_LETTERS, DONE, PARKED, SCRIPT, MailServer, Request, World
from support.harness import wait_for
from support.kafka import Kafka
from support.postgres import Postgres

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
EVENTS = 200 if SOAK else 24
# What a host believes although its journal says otherwise.
NO_FENCE = """
local journal = require "sipeat.journal"
local write = journal.write
journal.write = function(...)
  local results = table.pack(write(...))
  for i = 1, select("#", ...) do
    local name = select(i, ...)[1]
    if results[1] and (name == "record_add" or name == "run_state") then
      results[i] = 1
    end
  end
  return table.unpack(results, 1, results.n)
end
"""


class Hosts(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))
        cls.mail = cls.enterClassContext(MailServer())
        cls.server = cls.enterClassContext(Postgres())
        cls.kafka.wire.create_topic(DEAD_LETTERS)

    def setUp(self):
        super().setUp()
        self.server.new_database()
        self.world = self.enterContext(World(self.mail))
        self.topic = f"drink-{self._testMethodName}"
        self.kafka.wire.create_topic(self.topic, 4)

    def write(self, count):
        requests = [Request(self.world, self.kafka, f"{self._testMethodName[5:20]}-{n}", self.dir, topic=self.topic,
                            server=self.server) for n in range(count)]
        kcat.write(self.kafka.address, self.topic, [request.record() for request in requests])
        return requests

    def begin(self, request, script=SCRIPT, **env):
        return self.start("run", script, "-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=300",
                          "--no-watch", env={**request.env, **env})

    def finish(self, requests, *processes):
        def left():
            runs = requests[0].runs()
            return len(requests) - len(runs) + sum(run.state < DONE and run.state != PARKED for run in runs)

        what = lambda: f"0 open: {left()}\n" + "\n".join(process.tail(15) for process in processes)  # noqa: E731
        wait_for(lambda: left() == 0, what, 90, every=0.3)
        wait_for(requests[0].is_committed, what, 30)
        for process in processes:
            self.assertEqual(process.stop(), 0, process.tail())
        problems = {request.id: request.unfinished() for request in requests}
        self.assertEqual({name: found for name, found in problems.items() if found}, {})

    def commands(self):
        with self.world.machines.lock:
            return sum(len(keys) for keys in self.world.machines.commands.values())

    def test_the_server_restarts_in_the_middle(self):
        requests = self.write(EVENTS)
        process = self.begin(requests[0])
        process.until(lambda: self.commands() >= 3, "three drinks", every=0.005)
        self.server.crash()
        self.server.start()
        self.finish(requests, process)

    def test_a_host_is_killed_and_another_goes_on(self):
        requests = self.write(EVENTS)
        first, second = self.begin(requests[0]), self.begin(requests[0])
        wait_for(lambda: self.commands() >= EVENTS // 4, first.tail, every=0.005)
        first.stop(signal.SIGKILL)
        self.forget(first)
        self.finish(requests, second)

    def forget(self, process, now=not SOAK):
        """The lease of that host runs out: now, or with SIPEAT_SOAK in its time."""
        if now:
            self.server.rows(f"UPDATE sipeat.host SET until = 1 WHERE name LIKE '%{process.popen.pid}%'")

    def frozen_in_its_payment(self, script, lease):
        """Freezes a host as it charges, lets another one go on, and wakes the first one up; `lease` says whether it can
        see that its lease was over."""
        request, = self.write(1)
        patience = {} if lease else {"STEP_TIMEOUT": "60s"}  # the call is still under way as it wakes up
        first = self.begin(request, script, **patience)
        self.world.payments.killer = lambda _: first.popen.send_signal(signal.SIGSTOP)
        first.until(lambda: self.world.payments.state()["captured"] == 1, "it charges", every=0.01)
        self.world.payments.killer = None
        self.forget(first, not (SOAK and lease))  # who is frozen for that long sees it, or its call runs out of time
        second = self.begin(request, script)
        second.until(request.is_settled, lambda: f"the other host goes on: {request.run()}", 60, every=0.2)
        self.assertEqual(request.vends(), (1, 1))
        if not lease:
            self.server.rows("UPDATE sipeat.host SET until = 1::BIGINT << 62")
        first.popen.send_signal(signal.SIGCONT)
        return request, first, second

    def starts_nothing(self, lease, says):
        request, first, second = self.frozen_in_its_payment(SCRIPT, lease)
        before = self.world.payments.requests, self.world.machines.requests
        if says:
            first.wait_log(says)
        first.stop()  # what is in flight may end: its one call
        self.assertEqual((self.world.payments.requests, self.world.machines.requests), before)
        self.finish([request], second)
        self.assertEqual(request.vends(), (1, 1))

    def test_a_frozen_host_starts_nothing_when_its_lease_is_over(self):
        self.starts_nothing(True, "may have been given to another one")

    def test_a_frozen_host_starts_nothing_that_is_not_its_own(self):
        self.starts_nothing(False, None)

    def test_without_the_fence_it_vends_again(self):
        text = NO_FENCE + SCRIPT.read_text()
        request, first, _ = self.frozen_in_its_payment(self.script(text, "unfenced.lua"), False)
        wait_for(lambda: request.vends()[1] == 2, lambda: f"two drinks, but {request.vends()}\n{first.tail()}", 30)
        self.assertIn("2 drinks fell", request.broken())


if __name__ == "__main__":
    harness.main()
