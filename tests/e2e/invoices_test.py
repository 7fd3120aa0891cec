"""The invoices of examples/invoices, as its README says: with nothing installed, and with Kafka and PostgreSQL, where
the app is killed between commit and publish and each event still comes out, in order, with one id."""

import json
import os
import re
import shlex
import signal
import sqlite3
import threading
import urllib.request

from support import harness, kcat
from support.drink_world import MailServer
from support.fake_sentry import FakeSentry
from support.fake_service import FakeService, Reply
from support.harness import SOURCE, free_ports, get, wait_for
from support.kafka import Kafka
from support.postgres import Postgres

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
ROUNDS = 20 if SOAK else 2
EXAMPLE = SOURCE / "examples/invoices"
README = (EXAMPLE / "README.md").read_text()
INVOICE = {"customerId": "customer-1", "amount": 150.00, "status": "pending"}


def blocks(language):
    fenced = [block.split("\n", 1) for block in README.split("```")[1::2]]
    return [text for name, text in fenced if name == language]


def box(invoice):
    """What the README says that the processor prints."""
    text = next(block for block in blocks("text") if "Processing: CREATED" in block)
    return text.strip().replace("abc-123", invoice)


def call(method, url, body=None):
    """(status, decoded body); (0, None) when nobody answered."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(),
                                     {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None
    except OSError:
        return 0, None


class Slack(FakeService):
    """Keeps what its webhook is sent."""

    def __init__(self):
        self.messages = []
        super().__init__()

    def reply(self, request):
        self.messages.append(json.loads(request.body))
        return Reply(200, "ok")


class Invoices(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())
        cls.server = cls.enterClassContext(Postgres())
        cls.mail = cls.enterClassContext(MailServer())

    def serve(self, verb, env=None):
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        app = self.start(verb, EXAMPLE / "main.lua", "--http", f"127.0.0.1:{self.port}", env=env)
        app.until(lambda: get(self.url + "/api/invoices")[0] == 200, "the API answers", 60)
        return app

    def curl(self, part):
        """Runs a command of the README against the port that was free."""
        command = next(c for c in blocks("sh") if part in c)
        arguments = shlex.split(command.replace("http://localhost:3000", self.url))
        self.assertEqual(arguments[:3], ["curl", "-X", "POST"])
        return call("POST", arguments[3], json.loads(arguments[arguments.index("-d") + 1]))

    def test_with_nothing_installed(self):
        app = self.serve("dev")
        status, made = self.curl("/api/invoices")
        self.assertEqual(status, 201)
        app.until(lambda: box(made["id"]) in app.output, "the box of the README", 60)
        status, report = self.curl("/api/kafka/produce")
        self.assertEqual((status, report["success"]), (200, True))
        app.until(lambda: "🆔 Invoice ID: INV-001\n💰 Amount: $15.00" in app.output, "the guide's message", 60)
        page = get(self.url + "/dashboard/invoices")[1].decode()
        self.assertIn(made["id"], page)
        self.assertIn("/api/invoices", json.loads(get(self.url + "/openapi.json")[1])["paths"])

    def environment(self, database):
        return {"KAFKA_BROKER": self.kafka.address, "KAFKA_TOPIC": self.topic, "KAFKA_GROUP_ID": self.topic + "-group",
                "DATABASE_URL": database, "SMTP_URL": self.mail.url, "MAIL_FROM": "invoices@example.com"}

    def change_all(self, committed):
        """An invoice that is created, paid and deleted: what was answered is committed."""
        status, made = call("POST", self.url + "/api/invoices", INVOICE)
        if status != 201:
            return
        committed.append((made["id"], "created"))
        place = f"{self.url}/api/invoices/{made['id']}"
        if call("PUT", place, {**INVOICE, "status": "paid"})[0] == 200:
            committed.append((made["id"], "updated"))
            if call("DELETE", place)[0] == 204:
                committed.append((made["id"], "deleted"))

    def killed_between_commit_and_publish(self, env, committed):
        """The broker stands still: what is committed cannot leave before the app dies."""
        app = self.serve("run", env)
        self.kafka.process.send_signal(signal.SIGSTOP)
        try:
            before = len(committed)
            for _ in range(5):
                self.change_all(committed)
            self.assertEqual(len(committed) - before, 15)  # nobody waited for the broker
            app.stop(signal.SIGKILL)
        finally:
            self.kafka.process.send_signal(signal.SIGCONT)

    def killed_under_load(self, env, committed):
        app = self.serve("run", env)
        before = len(committed)

        def work():
            while app.popen.poll() is None:
                self.change_all(committed)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(committed) > before + 20, "twenty changes", 60)
        app.stop(signal.SIGKILL)
        for thread in threads:
            thread.join(120)

    def check_topic(self, committed):
        """Everything that was answered is there, in order, each with one id; repeats have the same."""
        ids, order = {}, {}
        for record in kcat.read(self.kafka.address, self.topic):
            value, key = json.loads(record.value), record.key.decode()
            self.assertEqual((value["invoiceId"], value["action"]), (key, record.text("event-type")))
            event = ids.setdefault((key, value["action"]), record.text("event-id"))
            self.assertEqual(event, record.text("event-id"))
            if value["action"] not in order.setdefault(key, []):
                order[key].append(value["action"])
        self.assertEqual(len(set(ids.values())), len(ids))
        self.assertEqual(set(committed) - set(ids), set())
        for key, actions in order.items():
            self.assertEqual(actions, ["created", "updated", "deleted"][:len(actions)], key)
        return ids

    def run_on(self, database, waiting):
        self.topic = self._testMethodName
        env, committed = self.environment(database), []
        self.kafka.wire.create_topic(self.topic)
        for _ in range(ROUNDS):
            self.killed_between_commit_and_publish(env, committed)
            self.killed_under_load(env, committed)
        app = self.serve("run", env)
        wait_for(lambda: waiting() == 0, lambda: f"{waiting()} events wait\n{app.tail()}", 90)
        ids = self.check_topic(committed)
        processor = self.start("run", EXAMPLE / "processor.lua", "--http", "off", env=env)
        done = "✅ Event processed successfully"
        processor.until(lambda: processor.output.count(done) == len(ids),
                        lambda: f"{processor.output.count(done)} of {len(ids)} processed", 120)
        first = committed[0][0]
        self.assertIn(box(first), processor.output)
        for action in ("CREATED", "UPDATED", "DELETED"):
            said = re.findall(rf"📨 Processing: {action}\n=+\n🆔 Invoice ID: (\S+)", processor.output)
            self.assertEqual(sorted(said), sorted(key for key, name in ids if name == action.lower()))
        mails = [re.search(r"^Message-ID: <([^@]+)@", one["data"], re.M | re.I)[1] for one in self.mail.taken()
                 if one.get("to") == ["ada@example.com"]]
        mailed = {event for (_, action), event in ids.items() if action != "deleted"}
        self.assertEqual(sorted(m for m in mails if m in mailed), sorted(mailed))
        self.assertEqual(processor.stop(), 0)

    def test_with_kafka_and_postgresql(self):
        self.server.new_database()
        self.run_on(self.server.place, lambda: int(self.server.rows("SELECT count(*) FROM outbox")[0]))

    def test_with_kafka_and_a_file(self):
        place = self.dir / "invoices.db"

        def waiting():
            with sqlite3.connect(place) as db:
                return db.execute("SELECT count(*) FROM outbox").fetchone()[0]

        self.run_on(str(place), waiting)

    def test_what_cannot_be_processed(self):
        slack, sentry = self.enterContext(Slack()), self.enterContext(FakeSentry())
        self.topic = self._testMethodName
        self.kafka.wire.create_topic(self.topic)
        self.kafka.wire.create_topic(self.topic + "-dlt")
        env = {**self.environment(self.dir / "invoices.db"), "SENTRY_DSN": sentry.dsn,
               "SLACK_WEBHOOK": slack.url + "/services/T0/B0/x"}
        kcat.write(self.kafka.address, self.topic, [("INV-9", '{"invoiceId":"INV-9","action":"shredded"}')],
                   [("event-type", "shredded"), ("event-id", "e-9")])
        processor = self.start("run", EXAMPLE / "processor.lua", "--http", "off", env=env)
        processor.until(lambda: slack.messages and sentry.events(), "Slack and Sentry are told", 60)
        letter, = kcat.read(self.kafka.address, self.topic + "-dlt")
        self.assertEqual((letter.key, letter.text("sipeat-error-code")), (b"INV-9", "UNKNOWN_ACTION"))
        self.assertIn("could not be processed", json.dumps(slack.messages[0]))
        self.assertEqual(sentry.events()[0]["tags"]["event_type"], "shredded")

    def test_the_commands_of_the_guide(self):
        env = {"KAFKA_BROKER": self.kafka.address}

        def command(part, *more):
            line, = [line for block in blocks("sh") for line in block.splitlines() if part in line]
            program, *arguments = shlex.split(line)
            self.assertEqual(program, "sipeat")
            done = self.run_sipeat(*arguments, *more, env=env)
            self.assertEqual(done.returncode, 0, done.tail())
            return done.output

        command("topic create")
        self.assertIn("invoices", command("topic list"))
        self.serve("run", {**env, "DATABASE_URL": str(self.dir / "invoices.db")})
        made = [self.curl("/api/invoices")[1]["id"] for _ in range(10)]
        shown = command("consume")
        self.assertEqual([key for key in made if key not in shown], [])
        self.assertEqual(shown.count("event-type"), 10)
        processor = self.start("run", EXAMPLE / "processor.lua", "--http", "off", env={
            **env, "DATABASE_URL": str(self.dir / "invoices.db")})
        processor.until(lambda: processor.output.count("processed successfully") == 10, "ten boxes", 60)
        self.assertIn("invoice-processor", command("group list"))
        command("dlq list")
        done = self.run_sipeat("topic", "delete", "invoices", "--yes", env=env)
        self.assertEqual(done.returncode, 0, done.tail())
        self.assertNotIn("invoices", command("topic list").split())

    def test_its_own_tests_pass(self):
        done = self.run_sipeat("test", EXAMPLE)
        self.assertEqual(done.returncode, 0, done.tail())


if __name__ == "__main__":
    harness.main()
