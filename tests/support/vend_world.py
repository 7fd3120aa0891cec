"""What a request of vend.lua touches: payments, and machines that live outside of sipeat's process.

A VendRequest is one event with a topic, a group, a journal and a ledger of its own; it says whether what the
machine did, what was paid and what the journal says fit together.
"""

import contextlib
import json
import pathlib

from support.board import Board
from support.drink_world import DEAD_LETTERS, DONE, INTENT, LATE, Request
from support.fake_stripe import FakeStripe

SCRIPT = pathlib.Path(__file__).parent / "vend.lua"

# Simulated boards that are quick, and what the driver is told of them.
SIMULATED = {
    "modbus": {"profile": "dispenser", "motor_ms": 150},
    "xy": {"motor_ms": 150, "poll_ms": 110},
    "cctalk": {"acceptor": 0},
}
ENGINE = {
    "modbus": {"profile": "dispenser", "counter_register": 0, "reply_ms": 100, "job_ms": 2000, "health_ms": 300},
    "xy": {"drain_polls": 1, "job_ms": 2000},
    "cctalk": {"acceptor": 0},
}

# Readers of cards, and customers who hold theirs up at once.
READERS = {"vtk": {}, "qibixx": {"slave": 0, "master": 2}}
CUSTOMERS = {"vtk": {"tap_ms": 50, "keepalive_s": 1}, "qibixx": {"card_ms": 50}}
PRICE = 250


class VendWorld(contextlib.ExitStack):
    """Payments, and the environment of what is shared."""

    def __enter__(self):
        super().__enter__()
        self.payments = self.enter_context(FakeStripe(late=LATE))
        self.env = {"STRIPE_API_URL": self.payments.url, "STRIPE_SECRET_KEY": "sk_test_vend",
                    "DEAD_LETTERS": DEAD_LETTERS}
        return self

    def settle(self):
        self.payments.settle()


def settings(protocol, port, **more):
    return {"driver": protocol, "settings": {"port": str(port), "settings": ENGINE[protocol], "settle_time": "400ms",
                                             "ready_time": "3s", **more}}


class FileMachine:
    """The simulated driver with its world in a file."""

    def __init__(self, directory, stock=5):
        self.file = pathlib.Path(directory) / "world.json"
        self.config = {"driver": "simulated", "settings": {
            "proof": "counter", "slots": [stock], "dispense_time": "150ms", "recovery_time": "100ms",
            "file": str(self.file)}}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def state(self):
        """(orders, drinks that fell once the motor stands still)"""
        if not self.file.exists():
            return 0, 0
        world = json.loads(self.file.read_text())
        return len(world["orders"]), world["total"] + bool(world.get("turning", {}).get("falls"))


class BoardMachine(Board):
    """A board of one of the protocols behind a name."""

    def __init__(self, protocol, directory, name="board", port=None, **options):
        link = pathlib.Path(directory) / name
        more = {key: options.pop(key) for key in ("id", "ready_time") if key in options}
        self.protocol = protocol
        self.config = settings(protocol, port or link, **more)
        super().__init__(protocol, link, **{**SIMULATED[protocol], **options})

    def state(self):
        if self.protocol == "cctalk":
            said = self.command("state", slot=1)
            return said["orders"], said["fell"]
        said = self.command("state")
        return said["motor_runs"], said["fallen"]


class PaidMachine(Board):
    """The simulated driver, and a reader of cards beside it, which is the board of this one."""

    def __init__(self, protocol, directory):
        self.device = FileMachine(directory)
        self.protocol = protocol
        link = pathlib.Path(directory) / "board"
        payment = {"driver": protocol, "settings": {"port": str(link), "settings": READERS[protocol],
                                                    "settle_time": "0ms", "ready_time": "5s"}}
        self.config = {**self.device.config, "payment": payment}
        super().__init__(protocol, link, **CUSTOMERS[protocol])

    def state(self):
        return self.device.state()

    def captured(self):
        """Charges that were not given back."""
        said = self.command("state")
        return (said["charged_minor"] - said.get("refunded_minor", 0)) / PRICE

    def booked(self):
        said = self.command("state")
        return said.get("settled_minor", said["charged_minor"]) / PRICE


class VendRequest(Request):
    """One request.created for the machine M1."""

    has_stock = False

    def __init__(self, world, kafka, name, directory, machines):
        super().__init__(world, kafka, name, directory, topic=f"vend-{name}")
        self.machines, self.machine = machines, "M1"
        self.data = {"machineId": "M1"}

    @property
    def env(self):
        return {**super().env, "LEDGER": self.directory / "ledger.db",
                "MACHINES": json.dumps({name: machine.config for name, machine in self.machines.items()}),
                "READER": self.reader and self.reader.protocol}

    @property
    def reader(self):
        machine = self.machines["M1"]
        return machine if isinstance(machine, PaidMachine) else None

    def captured(self):
        return self.reader.captured() if self.reader else super().captured()

    def vends(self):
        return tuple(map(sum, zip(*(machine.state() for machine in self.machines.values()))))

    def broken(self):
        found, run = [], self.run()
        intents = run.keys(INTENT) if run else set()
        orders, fallen = self.vends()
        if orders > 1 or fallen > 1:
            found.append(f"{orders} orders, {fallen} drinks fell")
        if orders and not any(key.endswith(":dispense") for key in intents):
            found.append("ordered without an intent")
        if self.captured() not in (0, 1):
            found.append(f"captures less refunds are {self.captured()}")
        return found

    def unfinished(self):
        found, run = super().unfinished(), self.run()
        if self.reader and run and run.state == DONE and self.reader.booked() != 1:
            found.append(f"{run}, and the reader has not booked it: {self.reader.command('state')}")
        return found

    def parked(self, run):
        if self.reader or self.captured() == 1:  # what a reader decides by itself nobody knows
            return []
        return [f"captures less refunds are {self.captured()} ({run})"]
