"""Each allocation of our code and of Lua fails once, in start-up and in one event's path: every time the program
ends in a clean error, or goes on, and the event is not lost. ctest runs a sample; the soak (SIPEAT_SOAK) all of them.
"""

import os
import pathlib
import time

from support import harness, kcat
from support.alloc import Control, points
from support.fake_discord import FakeDiscord
from support.harness import free_ports, get, wait_for
from support.kafka import Kafka

SWEEP = pathlib.Path(os.environ.get("SIPEAT_SWEEP", harness.BINARY.parent / "tests/sipeat_sweep"))
SOAK = bool(os.environ.get("SIPEAT_SOAK"))
STARTS, EVENTS = (None, None) if SOAK else (80, None)  # points that the quick tier tries
SCRIPT = """
local sipeat = require "sipeat"
local discord = require "sipeat.discord"

local Order = sipeat.event.define("order.created", { orderId = "string", amount = "money?" })

local accept = sipeat.chain "accept" {
  { "reserve", effect = "local",
    run = function(args) return { reserved = args.orderId } end,
    undo = function() return true end },
  { "tell", effect = "repeatable",
    args = function(event) return { id = event.data.orderId } end,
    run = function(args, ctx)
      ctx:emit("accepted", args.id, sipeat.json.encode { id = args.id })
      return true
    end },
}

sipeat.flow {
  topic = "orders", group = sipeat.env.get "ORDERS_GROUP", dead_letter = true,
  retry = { attempts = 3, backoff = { "5ms", "20ms" } },
  on = { [Order] = discord.notified(accept) }, on_dead = discord.on_dead,
}
"""


class Allocations(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))
        cls.discord = cls.enterClassContext(FakeDiscord(limit=100000))
        for topic in ("orders", "accepted", "orders-dlt"):
            cls.kafka.wire.create_topic(topic, 1)

    def setUp(self):
        super().setUp()
        self.control = Control(self.dir / "control")
        self.path = self.script(SCRIPT)
        self.http = free_ports(1)[0]

    def launch(self, group="orders"):
        return self.start(
            "run", self.path, "--no-watch", "--http", f"127.0.0.1:{self.http}", "-X", "session.timeout.ms=1000",
            "-X", "heartbeat.interval.ms=300", binary=SWEEP,
            env={"ORDERS_GROUP": group, "KAFKA_BROKERS": self.kafka.address, "DISCORD_WEBHOOK": self.discord.url,
                 "SIPEAT_ALLOC_CONTROL": self.control.path})

    def ready(self, process):
        """True when it is ready, False when it has ended."""
        def look():
            return process.popen.poll() is not None or get(f"http://127.0.0.1:{self.http}/ready")[0] == 200
        wait_for(look, lambda: f"ready or ended\n{process.tail()}", 20, every=0.02)
        return process.popen.poll() is None

    def clean_end(self, process, n):
        """It ended by itself: with a code of its own and a message."""
        code = process.wait(20)
        self.assertTrue(0 < code < 64, f"allocation {n}: exit code {code}\n{process.tail()}")
        self.assertRegex(process.log.lower(), "memory|enomem", f"allocation {n}: no message\n{process.tail()}")

    def forget(self, process):
        process.close()
        self.close_all()
        self.processes.clear()

    def test_start_up(self):
        self.sweep_start_up(0)

    def test_start_up_with_a_second_failure(self):
        """Lua collects its garbage and tries once more: this time in vain."""
        self.sweep_start_up(1)

    def test_one_events_path(self):
        self.sweep_events(0)

    def test_one_events_path_with_a_second_failure(self):
        self.sweep_events(1)

    def sweep_start_up(self, more):
        self.control.more = more
        self.control.arm(0)
        process = self.launch(f"start-{more}-0")
        self.assertTrue(self.ready(process), process.tail())
        total = self.control.count
        self.assertEqual(process.stop(), 0, process.tail())
        self.forget(process)
        ended = 0
        for n in points(total, STARTS):
            self.control.arm(n)
            process = self.launch(f"start-{more}-{n}")  # a group of its own: an earlier one may still miss its member
            if self.ready(process):
                self.control.arm(0)
                self.assertEqual(process.stop(), 0, f"allocation {n}\n{process.tail()}")
            else:
                self.clean_end(process, n)
                ended += 1
            self.forget(process)
        print(f"start-up: {total} allocations, {len(points(total, STARTS))} failed by {more + 1}, "
              f"{ended} ended the program", flush=True)

    def sweep_events(self, more):
        self.control.more = more
        self.control.arm(0)
        process = self.launch()
        self.assertTrue(self.ready(process), process.tail())
        self.number, self.restarts = 0, 0
        for _ in range(3):  # warm: pools and caches are filled
            self.send(process, 0)
        total = self.send(process, 0)
        tried = points(total, EVENTS)
        for n in tried:
            self.control.arm(n)
            self.send(process, n)
            if process.popen.poll() is not None:
                self.clean_end(process, n)
                self.forget(process)
                self.control.arm(0)
                process = self.launch()
                self.assertTrue(self.ready(process), process.tail())
                self.restarts += 1
        self.control.arm(0)
        wait_for(lambda: self.kafka.wire.lag("orders", "orders") == 0, lambda: f"lag 0\n{process.tail()}")
        self.assertEqual(process.stop(), 0, process.tail())
        ended = {record.key.decode() for topic in ("accepted", "orders-dlt")
                 for record in kcat.read(self.kafka.address, topic)}
        self.assertEqual({f"o{i}" for i in range(self.number)} - ended, set(), "lost")
        print(f"an event: {total} allocations, {len(tried)} failed by {more + 1}, {self.restarts} ended the program",
              flush=True)

    def send(self, process, n):
        """One event, until it stands in an output or the program has ended; how many allocations that took."""
        before = self.total()
        self.control.arm(n)
        name = f"o{self.number}"
        self.number += 1
        event = f'{{"id":"{name}","type":"order.created","data":{{"orderId":"{name}","amount":150}}}}'
        kcat.write(self.kafka.address, "orders", [(name, event)])
        wait_for(lambda: process.popen.poll() is not None or self.total() > before,
                 lambda: f"allocation {n}: the event ended\n{process.tail()}", 20, every=0.01)
        time.sleep(0.03)  # its notice and its commit come after the output, and nobody outside can see their end
        return self.control.count

    def total(self):
        ends = self.kafka.wire.end_offsets
        return ends("accepted")[0] + ends("orders-dlt")[0]


if __name__ == "__main__":
    harness.main()
