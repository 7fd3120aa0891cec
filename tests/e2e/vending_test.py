"""A drink request over real drivers: sipeat killed, and the board unplugged, at each record of a dispense.

The boards are simulators in processes of their own (and the simulated machine's world is a file), so they go on
whatever happens to sipeat. Whatever was done to it: one order for an approval at most, never two drinks, and what was
paid, what fell and what the journal says fit together, or it is parked.

ctest takes some of the points; the soak (SIPEAT_SOAK) all of them.
"""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import threading
import time

from support import harness, syscalls
from support.drink_world import DEAD, DEAD_LETTERS, DONE, STATES, wait_quiet
from support.harness import wait_for
from support.kafka import Kafka
from support.vend_world import (READERS, SCRIPT, BoardMachine, FileMachine, PaidMachine, VendRequest,
                                VendWorld)

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
# Boards; the simulated machine; one that has sold out: there the payment is undone, and the event dies; and readers
# of cards beside the simulated machine.
KILLS = {"modbus": 8, "cctalk": 6, "xy": 5, "simulated": 5, "empty": 4, "vtk": 5, "qibixx": 4}
FILES = {"simulated": 5, "empty": 0}  # the stock of those whose world is a file
FREEZES = 3  # of each way to replug
AGAIN = 25 if SOAK else 1  # of each kind
SEED = int(os.environ.get("SIPEAT_SEED", "20261121"))
SIDE_BY_SIDE = 3
# A board that counts, and whose counter can be read, leaves no doubt, nor does a reader that knows charges by number.
SURE = ("modbus", "cctalk", "vtk", *FILES)
# What makes a record durable, in the journal and in the ledger; what is said to a board, and what it says: a point
# before each of them.
CALLS = {"journal.db-wal": ("fdatasync",), "ledger.db-wal": ("pwrite64", "fdatasync"), "board": ("write", "read"),
         "world.json": ("rename",)}

Point = collections.namedtuple("Point", "file call number")


def make(kind, directory):
    if kind in FILES:
        return FileMachine(directory, FILES[kind])
    return PaidMachine(kind, directory) if kind in READERS else BoardMachine(kind, directory)


def holds(process, path):
    """Has the process this terminal open?"""
    for entry in pathlib.Path(f"/proc/{process.popen.pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry) == path:
                return True
    return False


class Lane:
    """One request: killed, frozen, and at last left alone until all is quiet."""

    def __init__(self, kafka, name, directory, world, machines):
        self.request = VendRequest(world, kafka, name, directory, machines)
        self.directory = directory
        self.request.write()

    def begin(self):
        words = ["run", str(SCRIPT), "-X", "group.instance.id=vend", "-X", "session.timeout.ms=10000", "--no-watch"]
        return harness.Process(words, self.request.directory, self.request.env)

    def attempt(self, watcher=None, frozen=None):
        """One start: whether it was killed, and its log. `watcher`: the strace that watches it once it has begun."""
        process, tracer, over = self.begin(), None, threading.Event()

        def wake():  # strace counts for each thread: the others stop it at their own K-th call
            while process.popen.poll() is None and not over.wait(0.02):
                process.popen.send_signal(signal.SIGCONT)

        waker = threading.Thread(target=wake, daemon=True)
        try:
            if watcher:
                process.wait_log("joining the group")
                tracer = syscalls.attach(process.popen.pid, watcher)
            if frozen:
                wait_for(lambda: self.is_stopped() or self.request.is_settled() or process.popen.poll() is not None,
                         process.tail, 30, every=0.01)
                if self.is_stopped():
                    frozen(process, waker.start)
                else:
                    waker.start()  # the point may be one that it passes as it ends
            wait_quiet(self.request, process)
            if process.popen.poll() == 0:
                raise AssertionError(f"{self.request.id}: stopped, but not by us\n{process.log}")
            code = process.stop(signal.SIGTERM)
            log = process.log
        finally:
            over.set()
            process.close()
            if tracer:
                tracer.wait(10)
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"{self.request.id}: ended with {code}\n{log}")
        if code:
            self.request.world.settle()
        return code != 0, log

    def path(self, name):
        board = name == "board" and self.request.machines["M1"].link
        return os.path.realpath(board or pathlib.Path(self.directory) / name)

    def strace(self, point, sig="SIGKILL"):
        """The strace that does that to a process before it makes this call."""
        return ["strace", "-f", "-qq", "-o", f"{self.directory}/stops", "-e", "signal=SIGSTOP",
                "-P", self.path(point.file),
                "-e", f"trace={point.call}", "-e", f"inject={point.call}:signal={sig}:when={point.number}"]

    def is_stopped(self):
        with contextlib.suppress(FileNotFoundError):
            return "stopped by SIGSTOP" in pathlib.Path(f"{self.directory}/stops").read_text()
        return False

    def counts(self, name):
        """Runs it undisturbed: how often each call is made on that file."""
        log = f"{self.directory}/calls"
        killed, text = self.attempt(["strace", "-f", "-qq", "-o", log, "-e", "signal=none", "-P", self.path(name),
                                     "-e", "trace=" + ",".join(CALLS[name])])
        self.check([*self.request.unfinished(), *["killed"] * killed], "undisturbed", text)
        return syscalls.counted(log)

    def check(self, problems, story, log):
        if problems:
            raise AssertionError(f"{self.request.id}, {story}: " + "; ".join(problems) + f"\n{log}")

    def finish(self, story):
        """Left alone, it comes to an end: its state."""
        killed, log = self.attempt()
        problems = self.request.unfinished()
        if killed:
            problems.append("killed by somebody else")
        self.check(problems, story, log)
        return self.request.run().state


@contextlib.contextmanager
def lane(kafka, name, kind, machines=None):
    with VendWorld() as world, tempfile.TemporaryDirectory(prefix="sipeat-vend-") as directory:
        with contextlib.ExitStack() as stack:
            made = {name: stack.enter_context(machine)
                    for name, machine in (machines or (lambda d: {"M1": make(kind, d)}))(directory).items()}
            yield Lane(kafka, name, directory, world, made)


class Vending(harness.Case):
    known = {}  # kind -> its points

    @classmethod
    def setUpClass(cls):
        syscalls.check()
        cls.kafka = cls.enterClassContext(Kafka())
        cls.kafka.wire.create_topic(DEAD_LETTERS)

    def points(self, kind):
        """Where a run that nobody disturbs makes a record, or talks to its board."""
        if kind in self.known:
            return self.known[kind]
        self.known[kind] = found = []
        for name in CALLS:
            if name in ("world.json", "board") and (name == "world.json") != (kind in FILES):
                continue
            with lane(self.kafka, f"{kind}-clean-{name.split('.')[0]}", kind) as one:
                counts = one.counts(name)
                self.assertEqual(one.request.run().state, DEAD if kind == "empty" else DONE)
            found += [Point(name, call, number) for call, most in sorted(counts.items())
                      for number in range(1, most + 1)]
        return found

    def side_by_side(self, jobs):
        ends = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for what, state, hit in pool.map(lambda job: job[0](*job[1:]), jobs):
                ends[what, STATES[state]] += 1
                ends["hits"] += hit
        return ends

    def killed(self, kind, number, point):
        with lane(self.kafka, f"{kind}-{number}", kind) as one:
            killed, log = one.attempt(one.strace(point))
            story = f"killed at {point}" if killed else f"not killed at {point}"
            one.check(one.request.broken(), story, log)
            return kind, one.finish(story), killed

    def test_killed_at_each_record(self):
        began, jobs = time.monotonic(), []
        for kind, count in KILLS.items():
            points = self.points(kind)
            chosen = points if SOAK else syscalls.spread(points, count)
            jobs += [(self.killed, kind, number, point) for number, point in enumerate(chosen)]
        ends = self.side_by_side(jobs)
        print(f"{ends['hits']} kills of {len(jobs)} requests, {time.monotonic() - began:.1f} s: {dict(ends)}",
              flush=True)
        self.assertGreater(ends["hits"], len(jobs) // 2)
        for kind in SURE:
            self.assertEqual(ends[kind, "parked"], 0)

    def again(self, kind, number, point, ends):
        """Killed at the point, then stopped or killed while it recovers, wherever it is by then."""
        with lane(self.kafka, f"{kind}-again-{number}", kind) as one:
            killed, log = one.attempt(one.strace(point))
            story = f"killed at {point}, then {ends}"
            for delay, sig in ends:
                process = one.begin()
                try:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.popen.wait(delay)
                    code = process.stop(sig)
                finally:
                    process.close()
                if code not in (0, -sig, 128 + sig):
                    one.check([f"ended with {code}"], story, process.log)
                one.request.world.settle()
                one.check(one.request.broken(), story, f"{log}\n{process.log}")
            return kind, one.finish(story), killed

    def test_stopped_and_killed_while_it_recovers(self):
        began, dice, jobs = time.monotonic(), random.Random(SEED), []
        for kind in KILLS:
            points = self.points(kind)
            for number in range(AGAIN):
                ends = [(dice.uniform(0.05, 1), dice.choice((signal.SIGTERM, signal.SIGKILL)))
                        for _ in range(dice.randint(1, 3))]
                jobs.append((self.again, kind, number, dice.choice(points), ends))
        ends = self.side_by_side(jobs)
        print(f"seed {SEED}, {ends['hits']} of {len(jobs)}, {time.monotonic() - began:.1f} s: {dict(ends)}", flush=True)
        self.assertGreater(ends["hits"], len(jobs) // 2)
        for kind in SURE:
            self.assertEqual(ends[kind, "parked"], 0)

    # --- unplugged ---

    def frozen(self, way, number, point):
        """Stopped at the point, the board unplugged there, and plugged in again in some way."""
        def boards(directory):
            made = {}
            for name, board, serial in (("M1", "one", 111), ("M2", "two", 222)):
                port = pathlib.Path(directory) / f"socket-{name}"
                port.symlink_to(pathlib.Path(directory) / board)
                made[name] = BoardMachine("cctalk", directory, board, port, serial=serial, acceptor=0,
                                          ready_time="2s" if way in ("same", "elsewhere") else "300ms",
                                          id=f"3:{serial + 1}")  # the hopper's address and serial number
            return made

        with lane(self.kafka, f"{way}-{number}", "vtk" if way == "reader" else "cctalk",
                  None if way == "reader" else boards) as one:
            done = []

            def freeze(process, woken):
                done.append(True)
                self.unplugged(way, one, process, woken)

            _, log = one.attempt(one.strace(point, "SIGSTOP"), frozen=freeze)
            story = f"{way}, frozen at {point}" if done else f"not frozen at {point}"
            one.check(one.request.unfinished(), story, log)
            if "M2" in one.request.machines:
                self.assertEqual(one.request.machines["M2"].state(), (0, 0), f"{story}: the other board moved")
            return way, one.request.run().state, bool(done)

    @staticmethod
    def unplugged(way, one, process, woken):
        mine, other = one.request.machines["M1"], one.request.machines.get("M2")
        directory, path = pathlib.Path(one.directory), os.path.realpath(one.request.machines["M1"].link)
        mine.unplug()
        if way == "swapped":
            other.unplug()
        woken()
        wait_for(lambda: not holds(process, path) or process.popen.poll() is not None, "closed", 20, every=0.01)
        if way in ("other", "swapped"):
            (directory / "socket-M1").unlink()
            (directory / "socket-M1").symlink_to(other.link)
        if way == "swapped":
            (directory / "socket-M2").unlink()
            (directory / "socket-M2").symlink_to(mine.link)
            other.replug()
        if way == "elsewhere":  # the same board under the same name, which leads to another terminal
            (directory / "socket-M1").unlink()
            mine.command("replug")
            (directory / "moved").symlink_to(os.path.realpath(mine.link))
            (directory / "socket-M1").symlink_to(directory / "moved")
        elif way != "other":
            mine.replug()

    def test_unplugged_at_each_record(self):
        began, jobs = time.monotonic(), []
        for way in ("same", "elsewhere", "other", "swapped", "reader"):
            points = self.points("vtk" if way == "reader" else "cctalk")
            chosen = points if SOAK else syscalls.spread(points, FREEZES)
            jobs += [(self.frozen, way, number, point) for number, point in enumerate(chosen)]
        ends = self.side_by_side(jobs)
        print(f"{ends['hits']} times unplugged of {len(jobs)}, {time.monotonic() - began:.1f} s: {dict(ends)}",
              flush=True)
        self.assertGreater(ends["hits"], len(jobs) // 2)
        for way in ("same", "elsewhere", "reader"):
            self.assertEqual(ends[way, "parked"], 0)


if __name__ == "__main__":
    harness.main()
