"""A failing event holds its key for a bounded time and before so many others; then these go on, or they do not."""

import json
import signal

from support import harness, kcat
from support.harness import wait_for
from support.kafka import Kafka

# One after the other, all are the same member: none waits for the session of one that was killed, and on a busy machine
# no session ends too early.
SAME_MEMBER = ("-X", "group.instance.id=one", "-X", "session.timeout.ms=10000")
SCRIPT = """
local sipeat = require "sipeat"

sipeat.flow {
  topic = "work", group = "work", %s
  on = { ["*"] = function(event, ctx)
    if event.data.fails then
      return nil, "as asked", ctx.final and "LAST" or "EARLIER"
    end
    ctx:emit("handled", event.key, event.id)
  end },
}
"""


def event(name, fails=False):
    return name[0], json.dumps({"id": name, "type": "t", "data": {"fails": fails}})


class Holds(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def setUp(self):
        super().setUp()
        for topic in ("work", "handled", "work-dlt"):
            self.kafka.wire.create_topic(topic, 1)
            self.addCleanup(self.kafka.wire.delete_topic, topic)

    def begin(self, options):
        return self.start("run", self.script(SCRIPT % options), *SAME_MEMBER, env={"KAFKA_BROKERS": self.kafka.address})

    def write(self, *events, headers=None):
        kcat.write(self.kafka.address, "work", events, headers)

    def handled(self):
        return [r.value.decode() for r in kcat.read(self.kafka.address, "handled")]

    def dead(self):
        return {json.loads(r.value)["id"]: r for r in kcat.read(self.kafka.address, "work-dlt")}

    def none_left(self, process):
        process.until(lambda: self.kafka.wire.lag("work", "work") == 0, "lag 0")

    def test_a_hold_ends_by_time_or_by_followers(self):
        self.write(event("a1", True), event("a2"), event("b1", True), *[event(f"b{n}") for n in range(2, 12)],
                   event("c1"))
        process = self.begin('retry = { attempts = 1000, backoff = { "100ms", "1m" } }, '
                             'hold = { time = "5s", followers = 9 },')
        wait_for(lambda: "b11" in self.handled(), process.tail)
        self.assertNotIn("a2", self.handled())  # its time is not over
        self.none_left(process)
        dead = self.dead()
        self.assertEqual(set(dead), {"a1", "b1"})
        for letter in dead.values():
            self.assertEqual(letter.text("sipeat-error-code"), "LAST")  # the handler knew
        self.assertEqual(self.handled()[-1], "a2")
        self.assertEqual(process.stop(), 0, process.tail())

    def test_a_key_is_held_back_until_its_dead_letter_is_replayed(self):
        options = 'retry = { attempts = 1 }, after_dead = "hold", hold = { time = "1h" },'
        process = self.begin(options)
        self.write(event("a1", True), event("b1"), event("a2"), event("b2"), event("a3"))
        self.none_left(process)
        dead = self.dead()
        self.assertEqual(list(dead), ["a1", "a2", "a3"])
        self.assertEqual(self.handled(), ["b1", "b2"])
        for name in ("a2", "a3"):
            self.assertEqual(dead[name].text("sipeat-error-code"), "HELD_BACK")
            self.assertEqual(dead[name].text("sipeat-held-back-after"), "0")
        self.assertEqual(process.stop(signal.SIGKILL), -signal.SIGKILL)
        process = self.begin(options)
        self.write(event("a4"), event("b3"))
        self.none_left(process)
        self.assertEqual(self.dead()["a4"].text("sipeat-held-back-after"), "0")  # it survived
        self.write(event("a1"), headers=[("sipeat-replayed", "1")])
        self.write(event("a5"))
        self.none_left(process)
        self.assertEqual(self.handled(), ["b1", "b2", "b3", "a1", "a5"])
        self.assertEqual(process.stop(), 0, process.tail())

    def test_a_key_that_is_held_back_goes_on_after_its_time(self):
        process = self.begin('retry = { attempts = 1 }, after_dead = "hold", hold = { time = "1s" },')
        self.write(event("a1", True), event("a2"))
        self.none_left(process)
        self.assertEqual(set(self.dead()), {"a1", "a2"})
        wait_for(lambda: self.write(event("a3")) or "a3" in self.handled(), process.tail, 20, every=0.3)
        self.none_left(process)
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
