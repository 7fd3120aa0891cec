"""Bad input, and what it gets: none of it crashes, hangs or loses an event."""

import json
import socket

from support import harness, kcat
from support.fake_discord import FakeDiscord
from support.harness import free_ports, get, wait_for
from support.kafka import Kafka

SCRIPT = """
local sipeat = require "sipeat"
local discord = require "sipeat.discord"

local Order = sipeat.event.define("order.created", { orderId = "string", amount = "number?" })

local function accept(event, ctx)
  ctx:emit("accepted", event.key, event.data.orderId)
end

sipeat.flow {
  topic = "orders", group = sipeat.env.get("ORDERS_GROUP", "orders"), dead_letter = true,
  retry = { attempts = 2, backoff = { "10ms", "50ms" } },
  on = { [Order] = discord.notified(accept) }, on_dead = discord.on_dead,
}
"""


def order(number, **changes):
    data = {"orderId": f"o{number}", "amount": 150}
    event = {"id": f"id-{number}", "type": "order.created", "time": "2026-01-02T03:04:05Z", "data": data}
    return json.dumps({**event, **changes})


# name -> (value, part of the reason)
BROKEN = {
    "not JSON": ("this is no JSON", "JSON"),
    "truncated": (order(1)[:-20], "JSON"),
    "1 MB": ('{"type": "order.created", "data": {"orderId": "' + "x" * 990_000, "JSON"),
    "nested deeper than 128": ('{"type":"order.created","data":{"orderId":' + "[" * 200 + "]" * 200 + "}}", "nested"),
    "NUL": (b'{"type": "order.created", "data": {"orderId": "a\0b"}}', ""),
    "broken UTF-8": (b'{"type": "order.created", "data": {"orderId": "\xff\xfe"}}', "UTF-8"),
    "wrong type": (order(2, data={"orderId": 7}), "orderId"),
    "missing field": (order(3, data={"amount": 1}), "orderId"),
    "unknown event type": (order(4, type="order.exploded"), "order.exploded"),
    "empty": ("", ""),
    "a number": ("17", ""),
    "no type": ('{"data": {"orderId": "x"}}', "type"),
}


class Load(harness.Case):
    """Scripts that do not load, and commands that do not exist."""

    def refused(self, *arguments, code=None, **options):
        process = self.run_sipeat(*arguments, **options, deadline=40)
        self.assertNotEqual(process.returncode, 0)
        self.assertLess(process.returncode, 100)
        if code is not None:
            self.assertEqual(process.returncode, code, process.tail())
        return process.log

    def test_a_missing_script(self):
        self.assertIn("nowhere.lua", self.refused("run", "nowhere.lua"))

    def test_a_directory_as_script(self):
        self.refused("run", self.dir)

    def test_a_syntax_error_names_file_line_and_shows_the_line(self):
        log = self.refused("run", self.script("local x = 1\nlocal = 2\n"))
        self.assertIn("script.lua:2:", log)
        self.assertIn("local = 2", log)

    def test_raising_at_load_has_the_traceback(self):
        log = self.refused("run", self.script("local function f()\n  error('no luck')\nend\nf()\n"))
        self.assertIn("script.lua:2: no luck", log)
        self.assertIn("traceback", log)

    def test_looping_for_ever_at_load(self):
        log = self.refused("run", self.script("local n = 0\nwhile true do n = n + 1 end\n"))
        self.assertIn("script.lua:2", log)

    def test_a_module_that_is_not_there(self):
        self.assertIn("nosuchmodule", self.refused("run", self.script("require 'nosuchmodule'\n")))

    def test_eating_all_memory_at_load(self):
        log = self.refused("run", self.script("local t = {}\nlocal s = ('x'):rep(1e6)\n"
                                              "for i = 1, 1e9 do t[i] = s .. i end\n"))
        self.assertIn("memory", log)

    def test_an_unknown_verb_names_the_nearest(self):
        self.assertIn("publish", self.refused("publsh", code=2))

    def test_an_unknown_option_names_the_nearest(self):
        self.assertIn("--http", self.refused("run", "x.lua", "--htpp", "1", code=2))

    def test_a_misspelt_kafka_property(self):
        log = self.refused("run", self.script(SCRIPT), "-X", "linger.mss=5", env={"KAFKA_BROKERS": "127.0.0.1:1"})
        self.assertIn("linger.ms", log)

    def test_options_that_do_not_exist_in_a_flow(self):
        log = self.refused("run", self.script("require('sipeat').flow { topik = 'x' }\n"))
        self.assertIn("topic", log)
        self.assertIn("script.lua:1", log)


class Broker(harness.Case):
    """What comes from, or is missing at, a real Kafka."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"message.max.bytes": 8_000_000, "replica.fetch.max.bytes": 8_000_000}))

    def setUp(self):
        super().setUp()
        self.wire = self.kafka.wire
        self.group = self.id().split(".")[-1]
        for topic in ("orders", "accepted", "orders-dlt"):
            if topic in self.wire.topics():
                self.wire.delete_topic(topic)
                wait_for(lambda: topic not in self.wire.topics(), f"{topic} is gone")

    def topics(self, dead=1):
        self.wire.create_topic("orders", 2)
        self.wire.create_topic("accepted", 1)
        if dead:
            self.wire.create_topic("orders-dlt", 1)

    def run_orders(self, *arguments, **env):
        script = self.script(SCRIPT)
        return self.start("run", script, *arguments, env={
            "KAFKA_BROKERS": self.kafka.address, "ORDERS_GROUP": self.group, **env})

    def accepted(self):
        return sorted(r.value.decode() for r in kcat.read(self.kafka.address, "accepted"))

    def wait_accepted(self, expected, process, deadline=30):
        wait_for(lambda: self.accepted() == sorted(expected),
                 lambda: f"{expected}, but {self.accepted()}\n{process.tail()}", deadline, every=0.2)

    def test_every_broken_event_goes_to_the_dead_letters_and_the_next_goes_on(self):
        self.topics()
        with FakeDiscord(limit=1000) as fake:
            process = self.run_orders(DISCORD_WEBHOOK=fake.url)
            expected = []
            for number, (value, _) in enumerate(BROKEN.values(), 100):
                kcat.write(self.kafka.address, "orders", [("broken", value)])
                kcat.write(self.kafka.address, "orders", [(None, order(number))])
                expected.append(f"o{number}")
            kcat.write(self.kafka.address, "orders", [(None, order(200))], headers=[("trace", b"\xff\xfe\x01")])
            kcat.write(self.kafka.address, "orders", [("k", order(201))], headers=[("ce_type", b"\xff\xfe")])
            wait_for(lambda: self.wire.count("orders-dlt") >= len(BROKEN) and self.wire.lag(self.group, "orders") == 0,
                     lambda: f"all dead; {self.wire.count('orders-dlt')} are\n{process.tail()}")
            dead = {r.value: r for r in kcat.read(self.kafka.address, "orders-dlt")}
            for name, (value, reason) in BROKEN.items():
                with self.subTest(name):
                    record = dead.get(value if isinstance(value, bytes) else value.encode())
                    self.assertIsNotNone(record, "is not among the dead letters, as it came")
                    self.assertIn(reason.lower(), record.text("kafka_dlt-exception-message").lower())
                    self.assertEqual(record.text("kafka_dlt-original-topic"), "orders")
            self.assertLessEqual({*expected, "o200"}, set(self.accepted()))
            total = self.wire.count("orders")
            self.assertEqual(self.wire.count("orders-dlt") + self.wire.count("accepted"), total)
            embeds = wait_for(lambda: len(fake.embeds()) >= total and fake.embeds(),
                              lambda: f"{total} embeds, but {len(fake.embeds())}\n{process.tail()}")
            red = [e for e in embeds if e["color"] >> 16 > 0x80]
            self.assertEqual((len(embeds), len(red)), (total, self.wire.count("orders-dlt")))
            self.assertEqual(fake.stats().get("status_400", 0), 0)
            self.assertEqual(process.stop(), 0, process.tail())

    def test_one_too_large_for_the_dead_letters_leaves_a_pointer_and_a_local_file(self):
        self.topics(dead=0)
        self.wire.set_topic_config("orders", max_message_bytes=8_000_000)
        self.wire.create_topic("orders-dlt", 1, {"max.message.bytes": 20_000})
        process = self.run_orders("-X", "message.max.bytes=8000000")
        body = '{"type": "order.created", "broken' + "y" * 3_000_000
        kcat.write(self.kafka.address, "orders", [("big", body), ("next", order(1))])
        self.wait_accepted(["o1"], process)
        wait_for(lambda: self.wire.count("orders-dlt") == 1, lambda: f"a pointer\n{process.tail()}")
        pointer = kcat.read(self.kafka.address, "orders-dlt")[0]
        self.assertLess(len(pointer.value or b""), 20_000)
        self.assertIn("json", pointer.text("kafka_dlt-exception-message").lower())
        files = [p for p in self.dir.rglob("*") if p.is_file() and p.stat().st_size >= len(body)]
        self.assertEqual(len(files), 1, [str(p) for p in self.dir.rglob("*")])
        self.assertIn(body.encode(), files[0].read_bytes())
        named = str(pointer.headers) + (pointer.value or b"").decode()
        self.assertIn(files[0].name, named)
        wait_for(lambda: self.wire.lag(self.group, "orders") == 0, "lag 0")
        self.assertEqual(process.stop(), 0, process.tail())

    def test_a_missing_topic_is_named_and_taken_up_when_it_is_there(self):
        process = self.run_orders()
        line = process.wait_log("orders")
        self.assertIsNone(process.popen.poll())
        wait_for(lambda: any("orders" in raw and ("topic" in raw.lower()) for raw in process.raw), lambda: line)
        self.topics()
        kcat.write(self.kafka.address, "orders", [(None, order(1))])
        self.wait_accepted(["o1"], process)
        self.assertEqual(process.stop(), 0, process.tail())

    def test_two_runs_with_one_group_share_the_events(self):
        self.topics()
        first = self.run_orders("--http", "off")
        kcat.write(self.kafka.address, "orders", [(f"k{n}", order(n)) for n in range(50)])
        wait_for(lambda: self.wire.count("accepted") == 50, lambda: f"50\n{first.tail()}")
        second = self.run_orders("--http", "off")
        wait_for(lambda: self.wire.group_state(self.group) == ("Stable", 2),
                 lambda: f"two members\n{second.tail()}\n{first.tail()}", 40)
        kcat.write(self.kafka.address, "orders", [(f"k{n}", order(n)) for n in range(50, 250)])
        expected = sorted(f"o{n}" for n in range(250))
        wait_for(lambda: sorted(set(self.accepted())) == expected, lambda: f"all\n{first.tail()}\n{second.tail()}")
        self.assertEqual(first.stop(), 0, first.tail())
        kcat.write(self.kafka.address, "orders", [(f"k{n}", order(n)) for n in range(250, 300)])
        wait_for(lambda: {f"o{n}" for n in range(300)} == set(self.accepted()), lambda: f"300\n{second.tail()}", 60)
        self.assertEqual(second.stop(), 0, second.tail())
        self.assertEqual(len(self.accepted()), 300, "an event was handled twice")


class Unreachable(harness.Case):
    def test_a_broker_that_is_not_there_is_said_at_once_and_tried_again(self):
        with Kafka() as kafka:
            kafka.wire.create_topic("orders", 1)
            kafka.wire.create_topic("accepted", 1)
            kafka.stop()
            http = free_ports(1)[0]
            process = self.start("run", self.script(SCRIPT), "--http", f"127.0.0.1:{http}",
                                 env={"KAFKA_BROKERS": kafka.address})
            process.wait_log(kafka.address, deadline=5)
            wait_for(lambda: get(f"http://127.0.0.1:{http}/ping")[0] == 200, lambda: process.tail(), 5)
            self.assertEqual(get(f"http://127.0.0.1:{http}/ready")[0], 503)
            kafka.start()
            kcat.write(kafka.address, "orders", [(None, order(1))])
            wait_for(lambda: kafka.wire.count("accepted") == 1, lambda: f"handled\n{process.tail()}")
            wait_for(lambda: get(f"http://127.0.0.1:{http}/ready")[0] == 200, lambda: process.tail())
            kafka.stop()
            ready = f"http://127.0.0.1:{http}/ready"
            wait_for(lambda: get(ready)[0] == 503, lambda: f"503 again\n{process.tail()}", 60)
            kafka.start()
            kcat.write(kafka.address, "orders", [(None, order(2))])
            wait_for(lambda: kafka.wire.count("accepted") == 2, lambda: f"handled\n{process.tail()}", 60)
            self.assertEqual(process.stop(), 0, process.tail())

    def test_it_ends_at_once_while_the_broker_is_not_there(self):
        process = self.start("run", self.script(SCRIPT), env={"KAFKA_BROKERS": f"127.0.0.1:{free_ports(1)[0]}"})
        process.wait_log("127.0.0.1", deadline=5)
        self.assertEqual(process.stop(deadline=15), 0, process.tail())


class Discord(harness.Case):
    """However bad the webhook is, events are neither failed nor held up by it."""

    EVENTS = 40

    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def handle_all(self, webhook, stop_deadline=30):
        wire = self.kafka.wire
        for topic in ("orders", "accepted", "orders-dlt"):
            if topic in wire.topics():
                wire.delete_topic(topic)
                wait_for(lambda: topic not in wire.topics(), f"{topic} is gone")
            wire.create_topic(topic, 1)
        process = self.start("run", self.script(SCRIPT), "--drain", "2s",
                             env={"KAFKA_BROKERS": self.kafka.address, "DISCORD_WEBHOOK": webhook})
        kcat.write(self.kafka.address, "orders", [(f"k{n}", order(n)) for n in range(self.EVENTS)])
        wait_for(lambda: wire.count("accepted") == self.EVENTS and wire.lag("orders", "orders") == 0,
                 lambda: f"all handled, but {wire.count('accepted')}\n{process.tail()}", 15)
        self.assertEqual(wire.count("orders-dlt"), 0)
        return process

    def ended(self, process, deadline=30):
        self.assertEqual(process.stop(deadline=deadline), 0, process.tail())
        return process.log

    def test_answers(self):
        token = "verysecrettoken"
        for answer in ("bad_request", "unauthorized", "gone", "error", "huge", "not_json", "cloudflare", "drop",
                       "redirect"):
            with self.subTest(answer), FakeDiscord(limit=1000, webhooks={"17": token}) as fake:
                fake.answer_always(answer)
                process = self.handle_all(fake.url)
                wait_for(lambda: fake.received(), lambda: f"asked\n{process.tail()}")
                if answer in ("unauthorized", "gone"):
                    wait_for(lambda: "webhook" in process.log.lower(), lambda: f"said\n{process.tail()}")
                self.assertNotIn(token, self.ended(process))
                if answer == "gone":  # a deleted webhook is left alone
                    self.assertLessEqual(len(fake.received()), 3)

    def test_a_429_is_waited_for_as_long_as_told(self):
        with FakeDiscord(limit=1000) as fake:
            fake.answer_next({"retry_after": 1.2, "times": 1})
            process = self.handle_all(fake.url)
            wait_for(lambda: len(fake.embeds()) == self.EVENTS, lambda: f"{len(fake.embeds())}\n{process.tail()}")
            self.assertEqual(fake.stats().get("early", 0), 0, "it came back before it was told")
            self.ended(process)

    def test_hanging(self):
        with FakeDiscord(limit=1000) as fake:
            fake.answer_always("hang")
            self.ended(self.handle_all(fake.url))

    def test_nobody_listens(self):
        self.ended(self.handle_all(f"http://127.0.0.1:{free_ports(1)[0]}/api/webhooks/1/t"))

    def test_a_name_that_does_not_resolve(self):
        with self.assertRaises(OSError):
            socket.getaddrinfo("discord.invalid", 443)
        self.ended(self.handle_all("https://discord.invalid/api/webhooks/1/t"))

    def test_malformed_urls(self):
        for url in ("not a url", "http://", "ftp://x/y", "https://[::1", "https://discord.com/", "\x7f"):
            with self.subTest(url):
                process = self.start("run", self.script(SCRIPT), "--drain", "2s",
                                     env={"KAFKA_BROKERS": self.kafka.address, "DISCORD_WEBHOOK": url})
                wait_for(lambda: "DISCORD_WEBHOOK" in process.log or "webhook" in process.log.lower(),
                         lambda: f"said\n{process.tail()}")
                process.stop()
                self.assertGreaterEqual(process.popen.returncode, 0)


if __name__ == "__main__":
    harness.main()
