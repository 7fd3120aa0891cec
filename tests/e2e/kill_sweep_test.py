"""kill -9 at system calls: a drink is never vended twice nor a customer charged for nothing.

One request.created event goes through the chain of support/drink.lua (stock, payment, machine, mail). strace kills
sipeat as it enters the K-th write, fsync, sendto, …; it is started again, killed again while it recovers, and at last
left alone until all is quiet. After each kill and at the end, fakes and journal must agree on what happened.

ctest kills at 100 points; the soak (SIPEAT_SOAK) at 1,000.
"""

import collections
import concurrent.futures
import os
import random
import re
import signal
import tempfile
import time

from support import harness, syscalls
from support.drink_world import DEAD, DEAD_LETTERS, DONE, SCRIPT, STATES, MailServer, Request, World, wait_quiet
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
KILLS = 1000 if SOAK else 100
SEED = int(os.environ.get("SIPEAT_SEED", "20260606"))
SIDE_BY_SIDE = 3
# What happens to an event when nobody kills anything.
KINDS = {
    "sold": {},
    "jammed": {"fault": ("jam",)},             # everything is undone
    "declined": {"paymentMethod": "pm_card_chargeDeclined"},
    "blind": {"machine": "blind"},             # a machine that cannot be asked: killed in the middle, it is parked
    "mute": {"once": ("mute_after",)},         # it falls, and only the counter says so
}
ENDS = {"sold": DONE, "jammed": DEAD, "declined": DEAD, "blind": DONE, "mute": DONE}


# Safeguards that are taken away, by what is put before drink.lua or instead of a part of it; and what the sweep says.
WITHOUT = {
    "an intent before the effect": (lambda text: """
        local context = require "sipeat.context"
        local keep = context.keep
        context.keep = function(ctx, phase, where, value, later)
          if phase == "intent" and not where:find "/inventory$" then -- a transaction insists on its own
            return true
          end
          return keep(ctx, phase, where, value, later)
        end
    """ + text, "commanded without an intent"),
    "reconciling": (lambda text: text.replace("reconcile = not is_blind and machine.reconcile or nil",
                                              "reconcile = function() return 'not_done' end"), "2 drinks fell"),
}
# Requests that are lost, or done and not answered, because who asks is killed.
ASKED = ("payments POST /v1/payment_intents", "payments POST /v1/refunds", "machines GET counters",
         "machines POST dispense")


class Lane:
    """Requests one after the other, each killed and restarted until it is quiet."""

    def __init__(self, kafka, mail, script=SCRIPT):
        self.kafka, self.mail, self.script = kafka, mail, script

    def begin(self, request, *prefix):
        arguments = [*prefix, str(harness.BINARY), "run", str(self.script), "-X", "group.instance.id=sweep",
                     "-X", "session.timeout.ms=10000", "--no-watch"]
        return harness.Process(arguments[1:], request.directory, request.env, binary=arguments[0])

    def request(self, world, name, kind, directory):
        options = dict(KINDS[kind])
        fault, once = options.pop("fault", ()), options.pop("once", ())
        request = Request(world, self.kafka, name, directory, **options)
        if fault:
            world.machines.always(request.machine, *fault)
        world.machines.fail(request.machine, *once)
        request.write()
        return request

    def attempt(self, request, *prefix, asked=None, fate=None, late=None):
        """One start: whether it was killed, and its log. `late`: the strace that watches it once it has begun."""
        process, tracer = self.begin(request, *prefix), None
        if asked:
            self.kill_when(request.world, process, asked, fate)
        try:
            if late:
                process.wait_log("joining the group")
                tracer = syscalls.attach(process.popen.pid, late)
            wait_quiet(request, process)
            code = process.stop(signal.SIGTERM)
            log = process.log
        finally:
            process.close()
            if tracer:
                tracer.wait(10)
            request.world.payments.killer = request.world.machines.killer = None
        if code == -signal.SIGKILL:
            request.world.settle()
            return True, log
        if code != 0:
            raise AssertionError(f"{request.id}: ended with {code}\n{process.tail()}")
        return False, log

    @staticmethod
    def kill_when(world, process, asked, fate):
        service, method, end = asked.split(" ")

        def killer(request):
            if request.method == method and request.path.endswith(end):
                process.popen.kill()
                return fate
            return None

        getattr(world, service).killer = killer

    def clean(self, name, kind, late):
        """The calls of a run that nobody kills, in all or once it has begun."""
        with World(self.mail) as world, tempfile.TemporaryDirectory(prefix="sipeat-sweep-") as directory:
            request = self.request(world, name, kind, directory)
            log = f"{directory}/calls"
            killed, text = self.attempt(request, late=syscalls.words(log)) if late else self.attempt(
                request, *syscalls.with_strace(log))
            counts = syscalls.counted(log)
            self.finish(request, killed, text, [])
            run = request.run()
            if run.state != ENDS[kind]:
                raise AssertionError(f"{kind}: {run}\n{text}")
            return counts

    def points(self, name, kind):
        """Where such a request can be killed: counted from the start, and from where it joins its group."""
        return [point for late in (False, True)
                for point in syscalls.points(self.clean(f"{name}-clean-{int(late)}", kind, late), late)]

    def finish(self, request, killed, log, story):
        problems = request.unfinished()
        if killed:
            problems.append("killed by somebody else")
        if not request.is_committed():
            problems.append("not committed")
        if problems:
            raise AssertionError(f"{request.id}, killed at {story}: " + "; ".join(problems) + f"\n{log}")

    def sweep(self, name, kind, points):
        """Kills one request at these points, one start each: how many got there, and how it ended."""
        with World(self.mail) as world, tempfile.TemporaryDirectory(prefix="sipeat-sweep-") as directory:
            request, story = self.request(world, name, kind, directory), []
            for number, point in enumerate(points):
                calls = f"{directory}/calls{number}"
                if isinstance(point, syscalls.Point) and point.late:
                    killed, log = self.attempt(request, late=syscalls.words(calls, point))
                elif isinstance(point, syscalls.Point):
                    killed, log = self.attempt(request, *syscalls.with_strace(calls, point))
                else:
                    killed, log = self.attempt(request, asked=point[0], fate=point[1])
                story.append((point, killed))
                problems = request.broken()
                if problems:
                    raise AssertionError(f"{request.id}, killed at {story}: " + "; ".join(problems) + f"\n{log}")
            killed, log = self.attempt(request)
            self.finish(request, killed, log, story)
            return kind, sum(killed for _, killed in story), len(points), request.run().state


class KillSweep(harness.Case):
    @classmethod
    def setUpClass(cls):
        syscalls.check()
        cls.kafka = cls.enterClassContext(Kafka())
        cls.kafka.wire.create_topic(DEAD_LETTERS)
        cls.mail = cls.enterClassContext(MailServer())

    def plan(self, points):
        """(name, kind, points): one kill each, spread over all calls of all kinds; every third is killed again."""
        every = [(kind, point) for kind in KINDS for point in points[kind]]
        chosen = syscalls.spread(every, KILLS)
        chance = random.Random(SEED)
        chance.shuffle(chosen)
        for number, (kind, point) in enumerate(chosen):
            again = [chance.choice(points[kind])] if number % 3 == 0 else []
            yield f"{kind}-{number}", kind, [point, *again]

    def test_killed_at_system_calls(self):
        began, lane = time.monotonic(), Lane(self.kafka, self.mail)
        points = {kind: lane.points(kind, kind) for kind in KINDS}
        print(f"seed {SEED}, calls: { {kind: len(found) for kind, found in points.items()} }", flush=True)
        kills, starts, ends = 0, 0, collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for kind, done, tried, state in pool.map(lambda job: lane.sweep(*job), self.plan(points)):
                kills += done
                starts += tried
                ends[kind, STATES[state]] += 1
        print(f"{kills} kills at {starts} starts of {sum(ends.values())} requests, "
              f"{time.monotonic() - began:.1f} s: {dict(ends)}", flush=True)
        self.assertGreaterEqual(kills, KILLS)
        self.assertEqual({kind for kind, state in ends if state == "parked"} - {"blind"}, set())
        self.mails()

    def test_killed_while_it_asks(self):
        lane, kills, ends = Lane(self.kafka, self.mail), 0, collections.Counter()
        jobs = [(f"{kind}-asked-{number}-{fate}", kind, [(asked, fate)] * 2)
                for kind in KINDS for number, asked in enumerate(ASKED) for fate in ("lost", "done")]
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for kind, done, _, state in pool.map(lambda job: lane.sweep(*job), jobs):
                kills += done
                ends[kind, STATES[state]] += 1
        print(f"{kills} kills of {len(jobs)} requests: {dict(ends)}", flush=True)
        self.assertGreaterEqual(kills, len(jobs))
        self.assertEqual({kind for kind, state in ends if state == "parked"}, {"blind"})
        self.assertEqual(ends["blind", "parked"], 2)

    def test_without_a_safeguard_a_promise_breaks(self):
        text = SCRIPT.read_text()
        for what, (change, problem) in WITHOUT.items():
            self.assertNotEqual(change(text), text)
            name = what.split(" ")[-1]
            lane = Lane(self.kafka, self.mail, self.script(change(text), f"{name}.lua"))
            with self.subTest(without=what):
                with self.assertRaisesRegex(AssertionError, problem) as caught:
                    lane.sweep(f"sold-{name}", "sold", [("machines POST dispense", "done")])
                print(f"without {what}: {str(caught.exception).splitlines()[0]}", flush=True)
                if SOAK:
                    self.some_points_break(lane, name)

    def some_points_break(self, lane, name):
        """The same with strace: kills at every call of a sale, some of which show that the safeguard is missing."""
        points = Lane(self.kafka, self.mail).points(f"sold-{name}", "sold")

        def is_broken(number, point):
            try:
                lane.sweep(f"sold-{name}-{number}", "sold", [point])
            except AssertionError as error:
                self.assertRegex(str(error), "without an intent|drinks fell|captures")
                return True
            return False

        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            broken = [point for point, broke in zip(points, pool.map(is_broken, range(len(points)), points)) if broke]
        print(f"{len(broken)} of {len(points)} points break: {broken}", flush=True)
        self.assertGreater(len(broken), 0)

    def mails(self):
        """A mail that was sent again is the same mail."""
        ids = collections.defaultdict(set)
        for mail in self.mail.taken():
            self.assertNotIn("violation", mail)
            event, = re.findall(r"^(\S+): enjoy it", mail["data"], re.M)
            message_id, = re.findall(r"^Message-ID: (\S+)", mail["data"], re.M | re.I)
            ids[event].add(message_id)
        self.assertGreater(len(ids), KILLS // 4)
        self.assertEqual({event: many for event, many in ids.items() if len(many) > 1}, {})


if __name__ == "__main__":
    harness.main()
