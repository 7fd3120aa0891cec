"""One run of one program: started, watched until its work is done, ended, and its outputs checked.

The same for every program, from outside. Seconds are those between the first and the last output that the broker
appended; CPU is what the kernel counted for the process (user and system, start-up included); memory is its highest
resident size. A run is done when all outputs are there and the group has committed every event."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from bench import programs


class Failed(Exception):
    """A program did not do the work, or not right."""


@dataclasses.dataclass
class Run:
    """What a program is told, and what it is measured by."""

    brokers: str
    group: str
    source: str
    target: str
    directory: str
    events: int
    keys: int
    partitions: int
    linger_ms: int = 5
    concurrency: int = 0  # 0: each program's own
    wait_ms: int = 0  # how long each handler waits before its output
    script: str = "orders.lua"
    flags: tuple = ()
    warm: int = 0  # of the events: they are checked, but their time does not count
    rounds: int = 0  # of a loop that keeps each handler busy
    members: int = 1  # of the group
    port: str = ""  # of a board
    env: tuple = ()  # more variables: (name, value)
    deadline_s: float = 600


@dataclasses.dataclass
class Result:
    seconds: float
    cpu_s: float
    peak_mb: float
    resident_mb: list
    report: dict


class Watched:
    """A running program. It is waited for here, because its use of CPU comes with its end."""

    def __init__(self, popen, output):
        self.popen, self.output, self.usage = popen, output, None

    def ended(self):
        if self.usage is None:
            pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
            if pid:
                self.usage, self.popen.returncode = usage, os.waitstatus_to_exitcode(status)
        return self.usage is not None

    def memory_mb(self, field):
        """VmRSS or VmHWM: the peak of the program itself, unlike ru_maxrss, which begins with its parent's."""
        try:
            text = pathlib.Path(f"/proc/{self.popen.pid}/status").read_text()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(field)), 0.0)

    def stop(self, deadline_s=30):
        self.popen.send_signal(signal.SIGTERM)
        end = time.monotonic() + deadline_s
        while not self.ended():
            if time.monotonic() > end:
                self.popen.kill()
                raise Failed(f"does not end on SIGTERM within {deadline_s} s:\n{self.tail()}")
            time.sleep(0.02)

    def close(self):
        while not self.ended():
            self.popen.kill()
            time.sleep(0.02)

    def tail(self):
        return pathlib.Path(self.output).read_text(errors="replace")[-3000:]


class Bench:
    """The broker, and the two programs that write events and check outputs."""

    def __init__(self, broker, profile=None):
        self.broker, self.profile = broker, profile
        self.filler = programs.build_c(programs.HERE / "c/fill.c")
        self.checker = programs.build_c(programs.HERE / "c/check.c")

    def fill(self, events, keys, partitions):
        """A new topic with that many events."""
        topic = self.broker.source(partitions)
        self.write(topic, 0, events, keys, partitions)
        return topic

    def write(self, topic, first, end, keys, partitions, *pace):
        """Writes the events from number `first` to that before `end`; `pace`: a rate and a file for their times."""
        programs.command(self.filler, self.broker.address, topic, partitions, first, end, keys, *pace)

    def warm_up(self, peer, events):
        """The broker's JIT, so that the first program does not pay for those after it."""
        source = self.fill(events, 1000, 6)
        for _ in range(2):
            self.run(peer, source, events, 1000, 6)

    def run(self, peer, source, events, keys, partitions, during=None, **options):
        """Lets `peer` do the work and gives its Result. With `during`, the program starts on an empty topic, and
        during(run) fills it once the group is complete; it gives what else the checker needs, or None."""
        with tempfile.TemporaryDirectory(prefix="sipeat-bench-") as directory:
            run = Run(self.broker.address, self.broker.group(), source, self.broker.target(partitions), directory,
                      events, keys, partitions, **options)
            path = os.path.join(directory, "output.log")
            with open(path, "wb") as output:
                watched = Watched(peer.start(run, output), path)
            try:
                profiler = self.start_profile(peer, watched)
                more = self.feed(peer, run, watched, during) if during else ()
                resident = self.watch(peer, run, watched)
                if profiler is not None:
                    profiler.send_signal(signal.SIGINT)
                    profiler.wait(60)
                peak = watched.memory_mb("VmHWM")
                watched.stop()
            finally:
                watched.close()
            if watched.popen.returncode != 0:
                raise Failed(f"{peer.title} ended with {watched.popen.returncode}:\n{watched.tail()}")
            report = self.check(peer, run, watched, more)
            self.broker.wire.delete_topic(run.target)
        usage = watched.usage
        return Result((report["last_ms"] - report["first_ms"]) / 1000, usage.ru_utime + usage.ru_stime, peak,
                      resident, report)

    def feed(self, peer, run, watched, during):
        """Calls during(run) when the group has had all its members, and nothing to settle, for a second."""
        since, end = None, time.monotonic() + 60

        def settled():
            nonlocal since
            if self.broker.wire.group_state(run.group) != ("Stable", run.members):
                since = None
            elif since is None:
                since = time.monotonic()
            return since is not None and time.monotonic() - since > 1

        self.wait(settled, peer, watched, end, 0.05)
        return during(run) or ()

    def watch(self, peer, run, watched):
        """Until all is done; the resident sizes, five a second."""
        wire, resident, end = self.broker.wire, [], time.monotonic() + run.deadline_s

        def done():
            resident.append(watched.memory_mb("VmRSS"))
            return wire.count(run.target) >= run.events and wire.lag(run.group, run.source) == 0

        self.wait(done, peer, watched, end, 0.2)
        return resident

    @staticmethod
    def wait(condition, peer, watched, end, every_s):
        while not condition():
            if watched.ended():
                raise Failed(f"{peer.title} ended in the middle, with {watched.popen.returncode}:\n{watched.tail()}")
            if time.monotonic() > end:
                raise Failed(f"{peer.title} is not done in time:\n{watched.tail()}")
            time.sleep(every_s)

    def start_profile(self, peer, watched):
        if self.profile is None or peer.name != "sipeat":
            return None
        programs.require("perf", "linux-perf")
        return subprocess.Popen(["perf", "record", "-q", "-g", "-F", "499", "-o", self.profile, "-p",
                                 str(watched.popen.pid)], stdin=subprocess.DEVNULL)

    def check(self, peer, run, watched, more):
        """Compares every output with its event; Failed when one is missing, repeated, wrong, or out of order."""
        arguments = [self.checker, run.brokers, run.target, run.partitions, run.events, run.keys, run.warm,
                     *more]
        report = json.loads(programs.command(*arguments))
        bad = {name: report[name] for name in ("missing", "repeated", "wrong", "disordered") if report[name]}
        if bad:
            raise Failed(f"{peer.title}: {bad} of {run.events} outputs {report['example']}\n{watched.tail()}")
        return report
