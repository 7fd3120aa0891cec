"""Vending machines commanded over HTTP, which count what fell: nothing is forgiven, each command turns the motor.

    POST /machines/M/dispense {"slot": 1, "request": KEY}   {"request": KEY, "state": "dropped" | "jam" | "turned"}
    GET  /machines/M/counters                               {"slots": {"1": N}}, or 503 while a motor turns

What goes wrong is said for each machine, once for each command (fail) or for all of them (always):
  jam            the motor turns, nothing falls, and the machine says so
  mute_before    no answer, and nothing falls         mute_after   it falls, and there is no answer
  late           it falls, and the answer comes after `late` seconds
  slow           the motor turns for `late` seconds, during which the counters are not answered
  other          an answer to another request, and nothing falls
  other_after    an answer to another request, and it falls
  silent         it falls, but the drop sensor says nothing ("turned")
  jump           it falls, the counter jumps by three, and there is no answer
  dark           the counters are not answered (said for counters, not for commands)
"""

import collections
import re
import threading

from support.fake_service import FakeService, Reply

DISPENSE = re.compile(r"^/machines/([\w.-]+)/dispense$")
COUNTERS = re.compile(r"^/machines/([\w.-]+)/counters$")
FAULTS = ("jam", "mute_before", "mute_after", "late", "slow", "other", "other_after", "silent", "jump", "dark")


class Dispenser(FakeService):
    """A fleet: a machine is there as soon as it is asked for."""

    def __init__(self, late=1.0):
        self.late = late
        self.commands = collections.defaultdict(list)  # machine -> keys, in order
        self.fallen = collections.Counter()            # by key
        self.counters = collections.Counter()          # by machine and slot
        self.turning = collections.Counter()           # by machine
        self.faults = collections.defaultdict(list)
        self.lasting = {}
        self.left = threading.Event()
        super().__init__()

    def close(self):
        self.left.set()
        super().close()

    @staticmethod
    def known(names):
        unknown = [name for name in names if name not in FAULTS]
        if unknown:
            raise ValueError(f"unknown faults {unknown} (known: {', '.join(FAULTS)})")

    def fail(self, machine, *names):
        """Its next commands (or askings for counters) go wrong in these ways, in order."""
        self.known(names)
        with self.lock:
            self.faults[machine].extend(names)

    def always(self, machine, *names):
        self.known(names)
        with self.lock:
            self.lasting[machine] = names

    def take(self, machine, of_counters=False):
        """The fault of this request, if there is one."""
        queue = self.faults[machine]
        if queue and (queue[0] == "dark") == of_counters:
            return queue.pop(0)
        return next((name for name in self.lasting.get(machine, ()) if (name == "dark") == of_counters), None)

    def vends(self, key):
        with self.lock:
            return self.fallen[key]

    def state(self):
        return {"commands": self.commands, "fallen": self.fallen}

    # --- requests ---

    def reply(self, request):
        match = DISPENSE.match(request.path)
        if match and request.method == "POST":
            return self.dispense(match[1], self.json(request))
        match = COUNTERS.match(request.path)
        if match and request.method == "GET":
            return self.count(match[1])
        return Reply(404, {"error": f"no {request.method} {request.path}"})

    def dispense(self, machine, order):
        slot, key = order.get("slot"), order.get("request")
        if set(order) != {"slot", "request"} or not isinstance(slot, int) or not key or not isinstance(key, str):
            return Reply(400, {"error": "a slot and a request are needed, and nothing else"})
        with self.lock:
            if self.turning[machine]:
                return Reply(503, {"error": "the motor turns"})
            self.commands[machine].append(key)
            fault = self.take(machine)
            if fault == "slow":
                self.turning[machine] += 1
        if fault == "slow":
            self.left.wait(self.late)
        answer = self.turn(machine, slot, key, fault)
        if fault == "late":
            self.left.wait(self.late)
        return answer

    def turn(self, machine, slot, key, fault):
        if fault not in ("jam", "mute_before", "other"):
            with self.lock:
                self.fallen[key] += 1
                self.counters[machine, slot] += 3 if fault == "jump" else 1
                self.turning.pop(machine, None)
        state = {"jam": "jam", "silent": "turned"}.get(fault, "dropped")
        said = "another" if fault in ("other", "other_after") else key
        return Reply(200, {"request": said, "state": state}, drop=fault in ("mute_before", "mute_after", "jump"))

    def count(self, machine):
        with self.lock:
            if self.turning[machine] or self.take(machine, of_counters=True):
                return Reply(503, {"error": "not now"})
            slots = {str(slot): n for (of, slot), n in self.counters.items() if of == machine}
            return Reply(200, {"slots": slots})
