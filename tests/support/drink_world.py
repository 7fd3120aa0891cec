"""What a drink request of drink.lua touches, in this process: so it outlives whatever kills sipeat.

A World has strict fakes of payments, machines and mail. A Request is one event with a topic, a group and a journal of
its own; it says what the fakes and the journal know of it, and whether that breaks a promise.
"""

import contextlib
import functools
import json
import pathlib
import shutil
import smtplib
import sqlite3
import subprocess
import sys
import tempfile
import time

from support import kcat
from support.dispenser import Dispenser
from support.fake_stripe import FakeStripe
from support.harness import Process, wait_for

HERE = pathlib.Path(__file__).parent
SCRIPT = HERE / "drink.lua"
DEAD_LETTERS = "drink-dlt"
LATE = 0.8  # seconds that a late answer takes
INTENT, UNDO_INTENT = 1, 3
PARKED, OPEN_BELOW, DONE, DEAD = 5, 10, 10, 11
STATES = {1: "active", 2: "sleeping", 3: "waiting", 4: "held", PARKED: "parked", DONE: "done", DEAD: "dead",
          12: "abandoned", 13: "completed"}


class MailServer:
    """fake_smtp.py, in a process of its own."""

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, HERE / "fake_smtp.py"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())
        self.url = f"smtp://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def taken(self):
        with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as client:
            client.putcmd("STAT")
            return json.loads(client.file.readline(10_000_000))


class World(contextlib.ExitStack):
    """Fakes for one process of sipeat at a time; `mail` may be shared."""

    def __init__(self, mail=None, late=LATE):
        super().__init__()
        self.mail, self.late = mail, late

    def __enter__(self):
        super().__enter__()
        self.payments = self.enter_context(FakeStripe(late=self.late))
        self.machines = self.enter_context(Dispenser(self.late))
        self.mail = self.mail or self.enter_context(MailServer())
        self.env = {
            "STRIPE_API_URL": self.payments.url, "STRIPE_SECRET_KEY": "sk_test_sweep", "SMTP_URL": self.mail.url,
            "MAIL_FROM": "SipEat <no-reply@sipeat.test>", "MACHINES_URL": self.machines.url,
            "DEAD_LETTERS": DEAD_LETTERS,
        }
        return self

    def settle(self):
        """Waits until the fakes have done all that a process asked for that is gone."""
        self.payments.settle()
        self.machines.settle()


class Run:
    """A row of the journal, and the records below it."""

    def __init__(self, row, records):
        self.id, self.state, self.event, self.why = row
        self.records = records  # (phase, scope, body)

    def __str__(self):
        return f"run {self.id} of {self.event}: {STATES[self.state]} ({self.why})"

    def keys(self, phase):
        """Idempotency keys of the steps that have an entry of this phase."""
        return {body["key"] for at, _, body in self.records if at == phase and isinstance(body, dict) and "key" in body}


@contextlib.contextmanager
def copy_of(path):
    """A copy of a database: what was left by a kill stays as it is."""
    with tempfile.TemporaryDirectory(prefix="sipeat-journal-") as directory:
        copy = pathlib.Path(directory) / path.name
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
        with contextlib.closing(sqlite3.connect(copy)) as db:
            yield db


def read_sqlite(path, tries=20):
    """Every run in a journal's file. A copy that was made while somebody wrote may be torn: then another one is."""
    for left in reversed(range(tries)):
        try:
            return read_copy(path)
        except sqlite3.DatabaseError:
            if not left:
                raise
            time.sleep(0.05)


def read_copy(path):
    with copy_of(path) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchall():
            return []
        return [
            Run(row, [(phase, scope, json.loads(body) if body else None) for phase, scope, body in db.execute(
                "SELECT phase, scope, body FROM record WHERE run = ? ORDER BY seq", row[:1])])
            for row in db.execute("SELECT id, state, event_id, why FROM run ORDER BY id").fetchall()]


RUNS = """SELECT json_build_array(id, state, event_id, why, (SELECT json_agg(json_build_array(phase, scope, body)
  ORDER BY seq) FROM sipeat.record WHERE run = r.id)) FROM sipeat.run r ORDER BY id"""


def read_postgres(server):
    """Every run in a journal on that server."""
    if server.rows("SELECT to_regclass('sipeat.run')") == [""]:
        return []
    rows = [json.loads(line) for line in server.rows(RUNS)]
    return [Run(row[:4], [(phase, scope, body and json.loads(body)) for phase, scope, body in row[4] or []])
            for row in rows]


@functools.cache
def empty_journal(brokers):
    """A file with tables and nothing in them.

    strace counts the calls of each thread on its own. Making the tables takes a thread more calls than a whole
    request takes the others later: whoever is to be killed at the K-th call in the middle of a request begins with
    this one.
    """
    nowhere = "http://127.0.0.1:1"
    with tempfile.TemporaryDirectory(prefix="sipeat-journal-") as directory:
        path = pathlib.Path(directory) / "journal.db"
        process = Process(["run", SCRIPT, "--no-watch"], directory, {
            "SIPEAT_JOURNAL": path, "KAFKA_BROKERS": brokers, "TOPIC": "nothing", "DEAD_LETTERS": DEAD_LETTERS,
            "MACHINES_URL": nowhere, "STRIPE_API_URL": nowhere, "STRIPE_SECRET_KEY": "sk_test_sweep",
            "SMTP_URL": "smtp://127.0.0.1:1", "MAIL_FROM": "SipEat <no-reply@sipeat.test>"})
        try:
            process.wait_log("joining the group")
            code = process.stop()
        finally:
            process.close()
        if code != 0:
            raise AssertionError(f"ended with {code}\n{process.tail()}")
        return path.read_bytes()


class Request:
    """One request.created event for a machine of its own."""

    has_stock = True

    def __init__(self, world, kafka, name, directory, machine="counting", topic=None, server=None,
                 **data):
        self.world, self.kafka, self.id, self.server = world, kafka, name, server
        self.topic, self.machine = topic or f"drink-{name}", f"{machine}-{name}"
        self.directory = pathlib.Path(directory)
        self.journal = server.place if server else self.directory / "journal.db"
        self.data = {"machineId": self.machine, **data}

    @property
    def env(self):
        return {**self.world.env, "KAFKA_BROKERS": self.kafka.address, "TOPIC": self.topic,
                "SIPEAT_JOURNAL": self.journal}

    def record(self):
        return self.machine, json.dumps({"id": self.id, "type": "request.created", "data": self.data})

    def write(self):
        """Puts it into a topic of its own."""
        if not self.server:
            self.journal.write_bytes(empty_journal(self.kafka.address))
        self.kafka.wire.create_topic(self.topic)
        kcat.write(self.kafka.address, self.topic, [self.record()])

    def runs(self):
        return read_postgres(self.server) if self.server else read_sqlite(self.journal)

    def run(self):
        """Its run, or None while the journal has none."""
        runs = [run for run in self.runs() if run.event == self.id]
        if len(runs) > 1:
            raise AssertionError(f"the event {self.id} has {len(runs)} runs")
        return runs[0] if runs else None

    def is_settled(self):
        run = self.run()
        return run is not None and (run.state >= OPEN_BELOW or run.state == PARKED)

    def is_committed(self):
        return self.kafka.wire.lag(self.topic, self.topic) == 0

    # --- what happened ---

    def vends(self):
        """Commands, and drinks that fell."""
        with self.world.machines.lock:
            keys = self.world.machines.commands[self.machine]
            return len(keys), sum(self.world.machines.fallen[key] for key in set(keys))

    def payments(self):
        with self.world.payments.lock:
            return [dict(i) for i in self.world.payments.intents.values() if i["metadata"].get("event_id") == self.id]

    def captured(self):
        """Payments made less those that were given back."""
        made = [i for i in self.payments() if i["status"] in ("succeeded", "processing")]
        return len(made) - sum(i["amount_refunded"] == i["amount"] for i in made)

    def taken(self):
        """How often it was taken from the stock and not put back."""
        if self.server:
            has_table, = self.server.rows("SELECT to_regclass('sipeat.taken')")
            return has_table and int(*self.server.rows(f"SELECT count(*) FROM sipeat.taken WHERE event = '{self.id}'"))
        with copy_of(self.journal) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'taken'").fetchall():
                return 0
            return db.execute("SELECT count(*) FROM taken WHERE event = ?", (self.id,)).fetchone()[0]

    # --- promises ---

    def broken(self):
        """What may never be, at no time: a list of texts."""
        found, run = [], self.run()
        intents = run.keys(INTENT) if run else set()
        undos = run.keys(UNDO_INTENT) if run else set()
        commands, fallen = self.vends()
        if fallen > 1:
            found.append(f"{fallen} drinks fell")
        with self.world.machines.lock:
            keys = set(self.world.machines.commands[self.machine])
        found += [f"the machine was commanded without an intent: {key}" for key in keys - intents]
        paid = self.payments()
        if self.captured() not in (0, 1):
            found.append(f"captures less refunds are {self.captured()}")
        for payment in paid:
            key = payment["metadata"]["sipeat_key"]
            if key not in intents:
                found.append(f"charged without an intent: {key}")
            if payment["amount_refunded"] and key not in undos:
                found.append(f"given back without an intent: {key}")
        if self.taken() > 1:
            found.append(f"taken {self.taken()} times from the stock")
        if self.taken() and not any(key.endswith(":inventory") for key in intents):
            found.append("taken from the stock without an intent")
        return found

    def unfinished(self):
        """What must not be once everything is quiet: a list of texts."""
        found, run = self.broken(), self.run()
        if run is None:
            return [*found, "the event was forgotten"]
        _, fallen = self.vends()
        if run.state != DONE and not run.why:
            found.append(f"no reason why: {run}")
        if run.state == PARKED:
            return found + self.parked(run)
        if run.state not in (DONE, DEAD):
            found.append(str(run))
        if self.captured() != fallen:
            found.append(f"captures less refunds are {self.captured()}, drinks {fallen} ({run})")
        if (run.state == DONE) != (fallen == 1):
            found.append(f"{run}, and {fallen} drinks fell")
        if self.has_stock and self.taken() != fallen:
            found.append(f"taken {self.taken()} times from the stock, and {fallen} drinks fell ({run})")
        return found

    def parked(self, _):
        """What must not be of a run that is parked."""
        return []


def wait_quiet(request, process, deadline=60, every=0.01):
    """Waits until the run is over, or the process has ended. A run that was there before goes on without the event:
    then also until that is committed."""
    is_new = request.run() is None

    def is_quiet():
        return process.popen.poll() is not None or (
            "joining the group" in process.log  # signals are waited for by then
            and request.is_settled() and (is_new or request.is_committed()))

    wait_for(is_quiet, lambda: f"quiet: {request.id}, {request.run()}\n{process.tail()}", deadline, every)
