"""The SipEat flows with a real driver: machine.created configures a board, request.created dispenses from it, kill -9
while its motor turns changes nothing, and what the machine says of itself makes a visit due."""

import contextlib
import json
import signal
import sqlite3

from support import harness, kcat
from support.drink_world import DONE, read_sqlite
from support.harness import PIPELINE, wait_for
from support.kafka import Kafka
from support.vend_world import ENGINE, BoardMachine

HEALTH = "sipeat.machine.health"


class Flows(harness.Case):
    def setUp(self):
        super().setUp()
        self.kafka = self.enterContext(Kafka())
        for topic in ("sipeat.machine.events", "sipeat.request.events", HEALTH):
            self.kafka.wire.create_topic(topic)
        self.board = self.enterContext(BoardMachine("modbus", self.dir, motor_ms=1000))
        self.env = {"KAFKA_BROKERS": self.kafka.address, "SIPEAT_JOURNAL": self.dir / "journal.db",
                    "SIPEAT_DB": self.dir / "sipeat.db"}

    def begin(self):
        return self.start("run", PIPELINE, "-X", "group.instance.id=flows", "-X", "session.timeout.ms=10000",
                          "--no-watch", env=self.env)

    def rows(self, table, **filters):
        with contextlib.closing(sqlite3.connect(self.dir / "sipeat.db")) as db:
            db.row_factory = sqlite3.Row
            with contextlib.suppress(sqlite3.OperationalError):  # not there yet
                found = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]
                return [row for row in found if all(row[name] == value for name, value in filters.items())]
        return []

    def write(self, topic, kind, number, **data):
        event = {"id": number, "type": kind, "data": {"machineId": "M1", **data}}
        kcat.write(self.kafka.address, topic, [("M1", json.dumps(event))])

    def wish(self, number):
        self.write("sipeat.request.events", "request.created", number, customerName="Jane", drinkName="Cola",
                   payment="prepaid")

    def ended(self, process, number):
        run = process.until(lambda: next((run for run in read_sqlite(self.dir / "journal.db")
                                          if run.event == number and run.state >= DONE), None),
                            lambda: f"the end of {number}: {list(map(str, read_sqlite(self.dir / 'journal.db')))}", 60)
        return run.state

    def told(self):
        """What the machine said: types, in order, and the approvals of its sales."""
        records = kcat.read(self.kafka.address, HEALTH)
        sales = [record for record in records if record.text("ce_type") == "machine.sale"]
        return ([record.text("ce_type") for record in records],
                [json.loads(record.value)["approval"] for record in sales])

    def test_a_board_from_its_set_up_to_its_repair(self):
        process = self.begin()
        self.write("sipeat.machine.events", "machine.created", "m1", machineName="Lobby", location="1 Market Street",
                   slots=[{"slot": 1, "drink": "Cola", "stock": 5, "price": 2.5}],
                   driver={"name": "modbus", "port": self.board.link, "settings": ENGINE["modbus"],
                           "settleTime": "1500ms"})
        process.until(lambda: self.rows("machines", status="active"), "the machine is active", 60)
        self.wish("killed")
        wait_for(lambda: self.board.command("state")["motor_runs"] == 1, process.tail, 60, every=0.02)
        process.stop(signal.SIGKILL)
        process = self.begin()
        self.assertEqual(self.ended(process, "killed"), DONE, process.tail())
        self.assertEqual(self.board.state(), (1, 1))
        self.assertEqual([row["state"] for row in self.rows("reservations")], ["dispensed"])
        self.wish("sold")
        self.assertEqual(self.ended(process, "sold"), DONE, process.tail())
        self.board.fault("jam")
        self.wish("jammed")
        self.assertGreater(self.ended(process, "jammed"), DONE)
        self.assertEqual(self.board.state(), (3, 2))
        visit = process.until(lambda: self.rows("maintenance", kind="repair"), "a visit is due", 60)
        self.assertEqual(visit[0]["machine_id"], "M1")
        health, = process.until(lambda: self.rows("machine_health", state="ready"), "its health", 60)
        self.assertIn("JAMMED", health["last_fault"])
        self.board.unplug()
        process.until(lambda: self.rows("machine_health", state="offline"), "offline", 60)
        self.board.replug()
        process.until(lambda: self.rows("machine_health", state="ready"), "ready again", 60)
        self.assertEqual(process.stop(), 0, process.tail())
        types, sales = self.told()
        print(f"{len(types)} events of the machine: {types}", flush=True)
        self.assertEqual({sale.split(":")[0] for sale in sales}, {"killed", "sold"})
        self.assertIn("machine.fault", types)


if __name__ == "__main__":
    harness.main()
