#!/usr/bin/env python3
"""project.py - the rebuild of a projection, beside a plain C program that reads the same topic into the same rows.

python3 tests/bench/project.py [--events 1000000] [--runs 3] [--profile FILE] [--write-docs]
Both read 300 bytes of JSON an event, decode it, and keep one row a customer in SQLite, 5,000 events a transaction,
synchronous=FULL. The rows of all runs are compared. A second C program only reads.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench import programs, tables  # noqa: E402 - needs the path
from bench.broker import Broker  # noqa: E402
from bench.measure import Bench  # noqa: E402
from bench.tables import Table, goal, median, ratio  # noqa: E402
from support.harness import BINARY, SOURCE, environment  # noqa: E402

PAGE = SOURCE / "docs/performance.md"
KEYS, PARTITIONS, BATCH = 10_000, 6, 5000
TITLES = {"sipeat": "sipeat project rebuild", "c": "plain C, librdkafka, cJSON and SQLite",
          "reader": "plain C that only reads"}


def rows_of(path):
    """A digest of the rows that were written, and how many orders are in them."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT customer, orders, cents, last FROM customers ORDER BY customer").fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest(), sum(row[1] for row in rows)


def run(command, directory, settings=None):
    """The last object that it prints, the CPU that it took, and its peak of memory in MB."""
    with open(pathlib.Path(directory) / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=log,
                                   env=environment(directory, settings or {}))
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise AssertionError(f"{command} failed:\n{(pathlib.Path(directory) / 'log').read_text()[-2000:]}")
    return json.loads(output.splitlines()[-1]), usage.ru_utime + usage.ru_stime


def one(name, program, broker, topic, profile):
    """One run: its seconds, its CPU, and what was written."""
    with tempfile.TemporaryDirectory(prefix="sipeat-bench-") as directory:
        path = f"{directory}/read.db"
        if name == "sipeat":
            prefix = ["perf", "record", "-q", "-g", "-F", "499", "-o", profile] if profile else []
            told, cpu_s = run([*prefix, BINARY, "project", "rebuild", programs.HERE / "works/project.lua", "customers",
                               "--json", "-b", broker.address], directory, {"BENCH_IN": topic, "BENCH_DB": path})
        else:
            told, cpu_s = run([program, broker.address, topic, "-" if name == "reader" else path, str(BATCH)],
                              directory)
        return told["seconds"], cpu_s, told["events"], None if name == "reader" else rows_of(path)


def measure(bench, options):
    program = programs.build_c(programs.HERE / "c/project.c", "-lrdkafka", "-lcjson", "-lsqlite3")
    topic = bench.fill(options.events, KEYS, PARTITIONS)
    names, figures, written = list(TITLES), {name: [] for name in TITLES}, set()
    for number in range(options.runs + 1):  # the first round warms the broker up
        for name in names[number % 3:] + names[:number % 3]:
            seconds, cpu_s, events, rows = one(name, program, bench.broker, topic, options.profile)
            assert events == options.events, f"{name} read {events} events"
            if rows:
                written.add(rows)
            if number > 0:
                figures[name].append((seconds, cpu_s))
                print(f"  {number}/{options.runs} {name:8} {seconds:7.3f} s  {cpu_s:7.2f} CPU s", flush=True)
    assert len(written) == 1 and next(iter(written))[1] == options.events, f"the rows differ: {written}"
    lines = []
    for name, title in TITLES.items():
        seconds, cpu = zip(*figures[name])
        ours = list(zip(*figures["sipeat"]))
        beside = ["", ""]
        if name != "sipeat":
            beside = [goal(ratio(seconds, ours[0]), at_least=0.6 if name == "c" else None),
                      f"{ratio(ours[1], cpu):.2f}"]
        lines.append([title, f"{median(seconds):.2f}", f"{options.events / median(seconds):,.0f}",
                      f"{median(cpu) / options.events * 1e6:.2f}", *beside])
    columns = ["program", "seconds", "events/s", "CPU µs per event", "sipeat's rate ÷ its", "sipeat's CPU ÷ its"]
    return Table("project", columns, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="rounds; the table shows medians (default 3)")
    parser.add_argument("--profile", metavar="FILE", help="perf record of sipeat's last run into FILE")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.relative_to(SOURCE)}")
    options, load = parser.parse_args(), os.getloadavg()[0]
    try:
        with Broker() as broker:
            table = measure(Bench(broker), options)
    except (programs.Missing, AssertionError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    print("\n" + table.text())
    if options.write_docs:
        where = f"on {os.cpu_count()} cores, load average {load:.1f} before"
        tables.write(PAGE, [table], "python3 " + " ".join(["tests/bench/project.py", *sys.argv[1:]]), where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
