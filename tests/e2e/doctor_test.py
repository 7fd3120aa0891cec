"""`sipeat doctor`: each fault is found and comes with what to do; what is right is said to be."""

import http.server
import json
import os
import pathlib
import threading

from support import harness, kcat
from support.kafka import Kafka

SCRIPT = """
local sipeat = require "sipeat"
sipeat.flow { topic = "orders", group = "order-service", journal = true, on = { ["a.b"] = function() end } }
sipeat.http.route("GET /other", function() return "other" end)
"""


class Webhook(http.server.BaseHTTPRequestHandler):
    status, date = 200, None

    def do_GET(self):
        self.send_response_only(Webhook.status)
        if Webhook.date:
            self.send_header("Date", Webhook.date)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Doctor(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())
        cls.kafka.wire.create_topic("orders", 3)
        cls.kafka.wire.create_topic("orders-dlt", 1)
        kcat.write(cls.kafka.address, "orders", [("k", "{}"), ("k", "{}")])
        kcat.write(cls.kafka.address, "orders-dlt", [("k", "{}")])
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.server_close)
        cls.addClassCleanup(cls.server.shutdown)

    def setUp(self):
        super().setUp()
        Webhook.status, Webhook.date = 200, None

    def doctor(self, *arguments, code=0, env=None, broker=True):
        """{check: (state, text, advice)} of what it says; the last one of several."""
        env = {"SIPEAT_STATE": str(self.dir / "state"), "SIPEAT_HTTP": "off",
               **({"KAFKA_BROKERS": self.kafka.address} if broker else {}), **(env or {})}
        done = self.run_sipeat("doctor", *arguments, "--json", env=env)
        self.assertEqual(done.returncode, code, done.tail())
        found = {}
        for line in done.output.splitlines():
            entry = json.loads(line)
            found[entry["check"]] = (entry["state"], entry["text"], entry.get("advice"))
        return found

    def test_a_healthy_cluster(self):
        found = self.doctor("orders")
        self.assertEqual(found["broker"][0], "ok", found)
        self.assertEqual(found["topic"][:2], ("ok", "orders: 3 partitions, 2 records"))
        self.assertEqual(found["dead letters"], ("warn", "orders-dlt holds 1", "sipeat dlq list orders"))

    def test_topics_and_groups_that_are_not_there(self):
        found = self.doctor("ordres", "-g", "nobody", code=1)
        self.assertEqual(found["topic"][0], "bad")
        self.assertEqual(found["topic"][2], "sipeat topic create ordres --partitions 3")
        self.assertEqual(found["group"][0], "warn")
        self.assertIn("it has never committed", found["group"][1])

    def test_a_group_that_nobody_reads_for(self):
        self.run_sipeat("group", "reset", "left", "--topic", "orders", "--to", "beginning", "--yes",
                        env={"KAFKA_BROKERS": self.kafka.address})
        found = self.doctor(code=1, env={"KAFKA_GROUP_ID": "left"})
        self.assertEqual(found["group"][0], "bad")
        self.assertIn("lag 2: nobody reads", found["group"][1])

    def test_no_broker_and_a_dead_one(self):
        found = self.doctor(broker=False)
        self.assertEqual(found["broker"][0], "warn")
        self.assertIn("KAFKA_BROKERS=", found["broker"][2])
        found = self.doctor(code=1, env={"KAFKA_BROKERS": "127.0.0.1:1"})
        self.assertEqual(found["broker"][0], "bad")
        self.assertIn("Connection refused", found["broker"][1])

    def test_a_private_key_that_all_may_read(self):
        key = self.dir / "client.key"
        key.write_text("secret")
        key.chmod(0o644)
        found = self.doctor(broker=False, env={"KAFKA_SSL_KEY": str(key)})
        self.assertEqual(found["security"], ("warn", f"KAFKA_SSL_KEY: everybody on this machine may read {key}",
                                             f"chmod 600 {key}"))

    def test_the_webhook_and_the_clock(self):
        url = f"http://127.0.0.1:{self.server.server_port}/api/webhooks/1/hidden-token"
        Webhook.date = "Tue, 15 Nov 1994 08:12:31 GMT"
        found = self.doctor(code=1, broker=False, env={"DISCORD_WEBHOOK": url})
        self.assertEqual(found["webhook"][0], "ok")
        self.assertEqual(found["clock"][0], "bad")
        self.assertIn("timedatectl", found["clock"][2])
        Webhook.status = 404
        found = self.doctor(code=1, broker=False, env={"DISCORD_WEBHOOK": url})
        self.assertEqual(found["webhook"][0], "bad")
        self.assertNotIn("hidden-token", str(found))
        found = self.doctor(code=1, broker=False, env={"DISCORD_WEBHOOK": "http://127.0.0.1:1/hidden-token"})
        self.assertEqual(found["webhook"][0], "bad")
        self.assertNotIn("hidden-token", str(found))

    def test_the_program_and_its_journal(self):
        state = self.dir / "state"
        process = self.start("run", self.script(SCRIPT), "--http", "127.0.0.1:0",
                             env={"KAFKA_BROKERS": self.kafka.address, "SIPEAT_STATE": str(state)})
        address = process.wait_log("listening on ").split("http://")[1].split('"')[0]
        process.wait_runs()
        process.until(lambda: self.kafka.wire.lag("order-service", "orders") == 0, "all are read", 60)
        found = self.doctor("--group", "order-service", "--http", address)
        self.assertEqual(found["program"][:2], ("ok", f"ready at {address}"))
        self.assertEqual(found["group"][0], "ok", found)
        self.assertEqual(found["journal"][0], "ok", found)
        self.assertEqual(process.stop(), 0)
        self.assertEqual(self.doctor()["journal"][:2], ("ok", f"{state}/journal.db: whole"))
        file = state / "journal.db"
        with open(file, "r+b") as data:  # a page in the middle is written over
            data.seek(4096)
            data.write(os.urandom(4096))
        found = self.doctor(code=1)
        self.assertEqual(found["journal"][0], "bad", found)
        self.assertIn("docs/journal.md", found["journal"][2])

    def test_one_part(self):
        found = self.doctor("--only", "program", "--http", "127.0.0.1:1", code=1, broker=False)
        self.assertEqual([found["program"][0]], ["bad"])
        self.assertEqual(list(found), ["program"])
        done = self.run_sipeat("doctor", "--only", "progam")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean program?", done.log)

    def test_it_reads_well(self):
        done = self.run_sipeat("doctor", env={"SIPEAT_HTTP": "off", "SIPEAT_STATE": str(self.dir / "state")})
        self.assertIn("careful broker      none is named", done.output)
        self.assertTrue(done.output.endswith("Nothing is wrong."), done.output)
        self.assertFalse(pathlib.Path(self.dir / "state").exists())


if __name__ == "__main__":
    harness.main()
