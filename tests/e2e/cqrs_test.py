"""examples/cqrs: a ledger whose read models are killed in the middle of following and of a rebuild, and equal a recount
of all events at the end; a second rebuild at once is refused; and the example as its README shows it."""

import collections
import contextlib
import json
import os
import random
import re
import shlex
import signal
import sqlite3
import time

from support import harness, kcat
from support.harness import SOURCE, free_ports, get, wait_for
from support.kafka import Kafka
from support.postgres import Postgres

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
EVENTS = 1_000_000 if SOAK else 40_000
MACHINES, SLOTS, TOPIC = 300, 8, "machine.ledger"
MAIN = SOURCE / "examples/cqrs/main.lua"


def ledger(count, seed=7):
    """(key, value) of that many events, as sipeat.eventsource publishes them; some come twice, as after a crash."""
    rng, sequence = random.Random(seed), collections.Counter()
    for number in range(count):
        machine, slot = f"m-{rng.randrange(MACHINES)}", rng.randrange(SLOTS)
        kind = rng.choice(["drink.sold"] * 8 + ["stock.refilled"] * 2 + ["stock.corrected"])
        data = {"machineId": machine, "slot": slot}
        if kind == "drink.sold":
            data |= {"drink": f"drink {slot}", "cents": rng.randrange(100, 400)}
        else:
            data |= {"drink": f"drink {slot}"} if kind == "stock.refilled" else {}
            data |= {"units": rng.randrange(1, 20)}
        stream = f"machine-{machine}"
        sequence[stream] += 1
        event = {"id": f"e-{number}", "type": kind, "stream": stream, "sequence": sequence[stream], "version": "1.0",
                 "source": "sipeat", "occurredAt": f"2026-03-{rng.randrange(1, 29):02}T10:00:00Z", "data": data}
        value = json.dumps(event)
        yield stream, value
        if rng.random() < 0.01:
            yield stream, value


def recount(records):
    """The rows of both read models, made of the records of the topic by other means."""
    stock, sales, last = {}, collections.defaultdict(lambda: [0, 0]), collections.Counter()
    for record in records:
        event = json.loads(record.value)
        if event["sequence"] <= last[event["stream"]]:
            continue
        last[event["stream"]] = event["sequence"]
        data = event["data"]
        key = (data["machineId"], data["slot"])
        drink, units = stock.get(key, (None, 0))
        units += -1 if event["type"] == "drink.sold" else data["units"]
        stock[key] = (data.get("drink") or drink, units)
        if event["type"] == "drink.sold":
            row = sales[(data["drink"], event["occurredAt"][:10])]
            row[0] += 1
            row[1] += data["cents"]
    return (sorted((*key, *row) for key, row in stock.items()), sorted((*key, *row) for key, row in sales.items()))


def ask(path, text):
    """The rows of a query; none while the tables are being made."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(text).fetchall()
    except sqlite3.OperationalError:
        return []


class Ledger(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def write(self, records):
        kcat.write(self.kafka.address, TOPIC, records)

    def run_example(self):
        return self.start("run", MAIN, "--no-watch", "--http", "off", "-b", self.kafka.address)

    def rebuild(self, *more):
        return self.start("project", "rebuild", MAIN, "stock", "-b", self.kafka.address, "--json", *more)

    def models(self):
        return tuple(sorted(ask(self.dir / "cqrs-read.db", f"SELECT * FROM {name}")) for name in ("stock", "sales"))

    def built(self, column="build_events"):
        rows = ask(self.dir / "cqrs-read.db", f"SELECT {column} FROM sipeat_projections WHERE name = 'stock'")
        return rows[0][0] if rows else 0

    def read_to(self, build=0):
        rows = ask(self.dir / "cqrs-read.db", "SELECT coalesce(sum(next_offset), 0) FROM sipeat_projection_positions "
                   f"WHERE name = 'stock' AND build = {build}")
        return rows[0][0] if rows else 0

    def is_locked(self):
        """Whether somebody is in the middle of a transaction that writes."""
        with contextlib.closing(sqlite3.connect(self.dir / "cqrs-read.db", timeout=0.5)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            db.rollback()
        return False

    def freeze_in_the_middle(self):
        """A rebuild that is stopped, by SIGSTOP, between two of its transactions, when a part of it is committed."""
        for _ in range(5):
            process = self.rebuild("--fresh")
            process.until(lambda: self.built() or process.popen.poll() is not None, "the rebuild", every=0.002)
            process.popen.send_signal(signal.SIGSTOP)
            while self.built("build_version") is not None:
                if not self.is_locked():
                    return process
                process.popen.send_signal(signal.SIGCONT)
                time.sleep(0.001)
                process.popen.send_signal(signal.SIGSTOP)
            process.popen.send_signal(signal.SIGCONT)
            process.wait()
        raise AssertionError("each of five rebuilds was through before it could be stopped")

    def test_killed_while_it_follows_and_while_it_rebuilds(self):
        self.kafka.wire.create_topic(TOPIC, 4)
        records = list(ledger(EVENTS))
        self.write(records)
        running = self.run_example()
        running.until(lambda: self.read_to() > 0, "some of it", every=0.005)
        running.stop(signal.SIGKILL)  # while it follows
        running = self.run_example()
        running.until(lambda: self.read_to() == len(records), "all of it", 120)
        expected = recount(kcat.read(self.kafka.address, TOPIC))
        self.assertEqual(sum(row[2] for row in expected[1]), sum("drink.sold" in v for _, v in dict.fromkeys(records)))
        running.until(lambda: self.models() == expected, lambda: f"the recount; {str(self.models())[:300]}")

        frozen = self.freeze_in_the_middle()
        second = self.rebuild()
        self.assertEqual(second.wait(), 1, second.tail())
        self.assertIn(f"stock is being rebuilt by process {frozen.popen.pid}", second.log)
        self.assertEqual(self.models(), expected)  # the live tables are whole meanwhile
        frozen.stop(signal.SIGKILL)
        done = self.built()
        self.assertTrue(0 < done < len(records), done)
        more = list(ledger(500, seed=11))
        self.write([(f"new-{key}", value.replace('"machine-m', '"new-machine-m')) for key, value in more])

        again = self.rebuild()
        self.assertEqual(again.wait(120), 0, again.tail())
        told = json.loads(again.out[-1])
        self.assertTrue(told["resumed"] and told["read"] < len(records), told)
        self.assertEqual(told["events"], told["read"] + done)
        expected = recount(kcat.read(self.kafka.address, TOPIC))
        wait_for(lambda: self.models() == expected, "the recount behind the rebuild", 60)
        self.assertEqual(running.stop(), 0, running.tail())

    def test_what_projects_are_called_wrong_is_said(self):
        wrong = self.run_sipeat("project", "rebuild", MAIN, "stok", "-b", self.kafka.address)
        self.assertEqual(wrong.returncode, 3)
        self.assertIn("did you mean stock?", wrong.log)
        plain = self.script("local sipeat = require 'sipeat'\n")
        none = self.run_sipeat("project", "list", plain, "-b", self.kafka.address)
        self.assertEqual(none.returncode, 3)
        self.assertIn("declares no sipeat.projection", none.log)


class Readme(harness.Case):
    TEXT = (SOURCE / "examples/cqrs/README.md").read_text()

    def commands(self, program):
        lines = [line for block in re.findall(r"```sh\n(.*?)```", self.TEXT, re.S) for line in block.splitlines()]
        return [shlex.split(line)[1:] for line in lines if line.startswith(program + " ")]

    def test_its_commands_do_what_it_says(self):
        self.walk({"XDG_RUNTIME_DIR": str(self.dir)})

    def test_they_do_with_both_sides_in_postgresql(self):
        with Postgres() as server:
            self.walk({"XDG_RUNTIME_DIR": str(self.dir), "LEDGER_DB": server.place, "READ_DB": server.place})
            self.assertFalse((self.dir / "cqrs-read.db").exists())

    def walk(self, runtime):
        port = free_ports(1)[0]
        url = f"http://127.0.0.1:{port}"
        dev, list_, rebuild = ([str(SOURCE / a) if a.startswith("examples/") else a for a in command]
                               for command in self.commands("sipeat"))
        running = self.start(*dev, "--no-watch", "--http", f"127.0.0.1:{port}", env=runtime)
        running.wait_log(": version ")
        for arguments in self.commands("curl"):
            where = arguments[-1].replace("http://127.0.0.1:3000", url)
            if "-d" not in arguments:
                continue
            headers = dict(item.split(": ") for flag, item in zip(arguments, arguments[1:]) if flag == "-H")
            body = arguments[arguments.index("-d") + 1].encode()
            status, answer = get(where, 10, body, **headers)
            self.assertEqual(status, 202, answer)
        self.assertEqual(json.loads(answer), {"version": 2, "repeated": True})
        stock = f"{url}/api/v1/machines/m-1/stock"
        wanted = [{"slot": 3, "drink": "Cola", "units": 11}]
        running.until(lambda: json.loads(get(stock)[1]) == wanted, lambda: f"11 units: {get(stock)}")
        sales = f"{url}/api/v1/sales"
        running.until(lambda: get(sales)[0] == 200 and [row["sold"] for row in json.loads(get(sales)[1])] == [1],
                      lambda: f"the sale: {get(sales)}")
        self.assertEqual(get(f"{url}/api/v1/machines/m-1/sell", 10, b'{"slot":9}')[0], 409)
        listed = self.run_sipeat(*list_, env=runtime)
        self.assertEqual(listed.returncode, 0, listed.tail())
        self.assertIn("followed by process", listed.output)
        done = self.run_sipeat(*rebuild, env=runtime)
        self.assertEqual(done.returncode, 0, done.tail())
        self.assertIn("stock rebuilt: 2 events", done.output)
        running.until(lambda: json.loads(get(stock)[1]) == wanted, lambda: f"11 units again: {get(stock)}")
        self.assertEqual(running.stop(), 0, running.tail())


if __name__ == "__main__":
    harness.main()
