#!/usr/bin/env python3
"""chains.py - durable chains of five steps, beside a bare C loop that writes the same records through SQLite.

python3 tests/bench/chains.py [--part speed,large,start] [--events 40000] [--runs 3] [--profile FILE] [--write-docs]
speed: chains per second, many side by side on one core and on all, and one after the other; each beside C, which gets
the rows of a chain from sipeat's journal and writes as many side by side as sipeat.
large: the same with a million ended and a hundred thousand sleeping chains in the journal. start: with a hundred
thousand unfinished ones, from the start of the process until it has taken them over.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench import programs, tables  # noqa: E402 - needs the path
from bench.broker import Broker  # noqa: E402
from bench.measure import Bench  # noqa: E402
from bench.tables import Table, goal, median, ratio  # noqa: E402
from support.harness import BINARY, SOURCE, environment  # noqa: E402

PAGE = SOURCE / "docs/performance.md"
MANY = 256  # chains side by side
ONE_CORE = ["taskset", "-c", "0"]


@dataclasses.dataclass
class Result:
    seconds: float  # from the first chain's begin to the last one's end
    cpu_s: float  # of the process, from when it joins its group on
    start_s: float = 0  # until then


def ask(path, text):
    """The first row of a query, or None while the journal is being made."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(text).fetchone()
    except sqlite3.OperationalError:
        return None


@contextlib.contextmanager
def running(script, journal, settings, prefix=()):
    """sipeat with that script and journal: the process and the file of its log."""
    with tempfile.TemporaryDirectory(prefix="sipeat-bench-") as directory:
        path = pathlib.Path(directory) / "log"
        with open(path, "wb") as log:
            process = subprocess.Popen(
                [*prefix, BINARY, "run", programs.HERE / "works" / script, "-b", settings["BROKERS"], "--journal",
                 journal, "--http", "off", "--no-watch"], cwd=directory, stdout=log, stderr=log,
                env=environment(directory, settings))
            try:
                yield process, path
            finally:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_until(condition, process, log, every_s, deadline_s=3600):
    end = time.monotonic() + deadline_s
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"sipeat is not done, or has ended:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(every_s)


def cpu_s(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Chains:
    """The broker, and the journals that are made on it."""

    def __init__(self, bench, directory, profile):
        self.bench, self.directory, self.profile = bench, pathlib.Path(directory), profile
        self.program = programs.build_c(programs.HERE / "c/journal.c", "-lsqlite3")
        self.group = bench.broker.group()

    def settings(self, source, **more):
        return {"BROKERS": self.bench.broker.address, "BENCH_IN": source, "BENCH_GROUP": self.group} | more

    def run(self, journal, events, keys, concurrency, prefix=()):
        """Lets sipeat handle that many events, in a group of its own: the same ones were handled before in others."""
        source, group = self.bench.fill(events, keys, 1), self.bench.broker.group()
        known = (ask(journal, "SELECT max(id) FROM run") or (None,))[0] or 0
        count = f"SELECT count(*) FROM run WHERE id > {known}"
        is_open = f"SELECT count(*) FROM run WHERE state < 10 AND id > {known}"  # read from a small index
        with running("chains.lua", journal, self.settings(source, BENCH_GROUP=group, BENCH_CONCURRENCY=concurrency),
                     [*self.profiler(), *prefix]) as (process, log):
            began = time.monotonic()
            wait_until(lambda: "joining the group" in log.read_text(errors="replace"), process, log, 0.005)
            start_s, start_cpu_s = time.monotonic() - began, cpu_s(process)
            wait_until(lambda: (ask(journal, count) or (0,))[0] >= events and ask(journal, is_open) == (0,),
                       process, log, 0.5)
            used = cpu_s(process) - start_cpu_s
        first, last, ended = ask(
            journal, f"SELECT min(at), max(changed), sum(state = 10 AND why IS NULL) FROM run WHERE id > {known}")
        assert ended == events, f"{ended} of {events} chains have ended well"
        return Result((last - first) / 1000, used, start_s)

    def profiler(self):
        if self.profile is None:
            return []
        programs.require("perf", "linux-perf")
        return ["perf", "record", "-q", "-g", "-F", "499", "-o", self.profile]

    def plain_c(self, journal, chains, side_by_side, prefix=()):
        path = self.directory / "c.db"
        try:
            done = programs.command(*prefix, self.program, path, chains, side_by_side, journal)
        finally:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        seconds, cpu_s, _ = map(float, done.split())
        return Result(seconds, cpu_s)

    def fill(self, journal, **counts):
        """Makes a journal large."""
        source = self.bench.fill(1, 1, 1)
        with running("chains_fill.lua", journal, self.settings(source, **counts)) as (process, log):
            wait_until(lambda: "the journal is filled" in log.read_text(errors="replace"), process, log, 0.2)
        os.sync()  # what is measured next does not wait for what this has left to be written
        return journal

    def new(self, name):
        path = self.directory / f"{name}.db"
        for suffix in ("", "-wal", "-shm", ".lock"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return path


def speed(chains, options):
    """Many at once on one core and on all, and one after the other."""
    rows = []
    works = [(f"{MANY} side by side, one core", options.events, options.events, MANY, ONE_CORE),
             (f"{MANY} side by side, {os.cpu_count()} cores", options.events, options.events, MANY, []),
             ("one after the other", options.events // 20, 1, 1, [])]
    for title, events, keys, concurrency, prefix in works:
        ours, theirs = [], []
        for number in range(options.runs):
            journal = chains.new("speed")
            ours.append(chains.run(journal, events, keys, concurrency, prefix))
            theirs.append(chains.plain_c(journal, events, concurrency, prefix))
            print(f"  {number + 1}/{options.runs} {title}: sipeat {events / ours[-1].seconds:8,.0f}/s, "
                  f"{ours[-1].cpu_s / events * 1e6:6.0f} CPU µs each; C {events / theirs[-1].seconds:8,.0f}/s, "
                  f"{theirs[-1].cpu_s / events * 1e6:6.0f}", flush=True)
        seconds, of_c = [result.seconds for result in ours], [result.seconds for result in theirs]
        cpu, cpu_of_c = [result.cpu_s for result in ours], [result.cpu_s for result in theirs]
        rate, alone = events / median(seconds), concurrency == 1
        rows.append([
            title, f"{rate:,.0f}" if alone else goal(rate, at_least=2000, digits=0), f"{events / median(of_c):,.0f}",
            "" if alone else goal(ratio(of_c, seconds), at_least=0.6),
            goal(ratio(seconds, of_c), at_most=1.5) if alone else "", f"{median(cpu) / events * 1e6:.0f}",
            f"{median(cpu_of_c) / events * 1e6:.0f}", f"{ratio(cpu, cpu_of_c):.2f}"])
    columns = ["chains", "a second", "C's", "rate ÷ C's", "time ÷ C's", "CPU µs each", "C's", "CPU ÷ C's"]
    return [Table("chains-speed", columns, rows)]


def large(chains, options):
    """The same chains in an empty journal and in a large one."""
    full = chains.fill(chains.new("large"), BENCH_ENDED=options.ended, BENCH_SLEEPING=options.sleeping)
    times, cpu, starts = ({"empty": [], "full": []} for _ in range(3))
    for number in range(options.runs):
        for name in times:
            journal = full if name == "full" else chains.new("empty")
            result = chains.run(journal, options.events, options.events, MANY)
            times[name].append(result.seconds)
            cpu[name].append(result.cpu_s)
            starts[name].append(result.start_s)
            print(f"  {number + 1}/{options.runs} {name}: {options.events / result.seconds:8,.0f}/s, "
                  f"{result.cpu_s / options.events * 1e6:6.0f} CPU µs each, {result.start_s:.1f} s to start",
                  flush=True)
    rows = []
    for name, text in (("empty", "nothing"), ("full", f"{options.ended:,} ended and {options.sleeping:,} sleeping")):
        rate = options.events / median(times[name])
        beside = ["", ""]
        if name == "full":
            beside = [goal(ratio(of["full"], of["empty"]), at_most=1.2) for of in (times, cpu)]
        rows.append([text, f"{rate:,.0f}", f"{median(cpu[name]) / options.events * 1e6:.0f}", *beside,
                     f"{median(starts[name]):.1f}"])
    columns = ["in the journal", "chains/s", "CPU µs each", "time ÷ empty journal's", "CPU ÷ empty journal's",
               "seconds of the start"]
    return [Table("chains-large", columns, rows)]


def start(chains, options):
    """How long a start takes that finds many unfinished chains."""
    took = []
    for _ in range(options.runs):
        journal = chains.fill(chains.new("start"), BENCH_OPEN=options.unfinished)
        source = chains.bench.fill(1, 1, 1)
        began = time.monotonic()
        with running("chains.lua", journal, chains.settings(source, BENCH_CONCURRENCY=MANY)) as (process, log):
            wait_until(lambda: re.search(rf"has open: {options.unfinished} active", log.read_text(errors="replace")),
                       process, log, 0.01)
            took.append(time.monotonic() - began)
        print(f"  {len(took)}/{options.runs} {took[-1]:.2f} s", flush=True)
    return [Table("chains-start", ["unfinished chains", "seconds until they are taken over"],
                  [[f"{options.unfinished:,}", goal(median(took), at_most=5)]])]


PARTS = {"speed": speed, "large": large, "start": start}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default=",".join(PARTS), metavar="NAME,…", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ended", type=int, default=1_000_000)
    parser.add_argument("--sleeping", type=int, default=100_000)
    parser.add_argument("--unfinished", type=int, default=100_000)
    parser.add_argument("--profile", metavar="FILE", help="perf record of the last run into FILE")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.relative_to(SOURCE)}")
    options, load = parser.parse_args(), os.getloadavg()[0]
    made = []
    with Broker() as broker, tempfile.TemporaryDirectory(prefix="sipeat-bench-") as directory:
        chains = Chains(Bench(broker), directory, options.profile)
        chains.run(chains.new("warm"), 2000, 2000, MANY)
        for name in options.part.split(","):
            print(f"{name}: {PARTS[name].__doc__}", flush=True)
            done = PARTS[name](chains, options)
            made += done
            print("\n" + "\n\n".join(table.text() for table in done) + "\n", flush=True)
    if options.write_docs:
        where = f"on {os.cpu_count()} cores, load average {load:.1f} before"
        tables.write(PAGE, made, "python3 " + " ".join(["tests/bench/chains.py", *sys.argv[1:]]), where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
