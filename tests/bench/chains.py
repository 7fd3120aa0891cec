#!/usr/bin/env python3
"""chains.py - durable chains of five steps, beside a bare C loop that writes the same records through SQLite.

python3 tests/bench/chains.py [--events 20000] [--runs 3]
Prints chains per second with many at once, and the time of one chain after the other, each beside C with the same
number of chains in a commit.
"""

import argparse
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench import programs  # noqa: E402 - needs the path
from bench.broker import Broker  # noqa: E402
from bench.measure import Bench  # noqa: E402
from bench.tables import Table, median, ratio  # noqa: E402
from support.harness import BINARY, environment  # noqa: E402


def journal_of(path):
    """How many chains have ended, the first's begin and the last's end in ms."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute("SELECT count(*), min(at), max(changed) FROM run WHERE state = 10").fetchone()
    except sqlite3.OperationalError:
        return 0, 0, 0  # it is being made


def sipeat(bench, events, keys, concurrency):
    """Seconds from the first chain's begin to the last one's end, and CPU seconds of the process."""
    source = bench.fill(events, keys, 1)
    with tempfile.TemporaryDirectory(prefix="sipeat-bench-") as directory:
        path = pathlib.Path(directory) / "journal.db"
        settings = {"BENCH_IN": source, "BENCH_GROUP": bench.broker.group(), "BENCH_CONCURRENCY": str(concurrency)}
        with open(pathlib.Path(directory) / "log", "wb") as log:
            process = subprocess.Popen(
                [BINARY, "run", programs.HERE / "works/chains.lua", "-b", bench.broker.address, "--journal", path,
                 "--http", "off", "--no-watch"], cwd=directory, stdout=log, stderr=log,
                env=environment(directory, settings))
            try:
                while journal_of(path)[0] < events:
                    if process.poll() is not None:
                        raise AssertionError(f"sipeat ended:\n{pathlib.Path(log.name).read_text()[-2000:]}")
                    time.sleep(0.2)
                ended, first, last = journal_of(path)
                cpu = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            finally:
                process.terminate()
                process.wait(30)
        assert ended == events
        return (last - first) / 1000, (int(cpu[11]) + int(cpu[12])) / os.sysconf("SC_CLK_TCK")


def plain_c(program, chains, group):
    with tempfile.TemporaryDirectory(prefix="sipeat-bench-") as directory:
        seconds, _ = programs.command(program, pathlib.Path(directory) / "journal.db", chains, group).split()
        return float(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    program = programs.build_c(programs.HERE / "c/journal.c", "-lsqlite3")
    rows = []
    with Broker() as broker:
        bench = Bench(broker)
        sipeat(bench, 2000, 2000, 256)
        for events, keys, concurrency in ((options.events, options.events, 256), (options.events // 20, 1, 1)):
            ours, cpu, theirs = [], [], []
            for number in range(options.runs):
                seconds, used = sipeat(bench, events, keys, concurrency)
                ours.append(seconds)
                cpu.append(used)
                theirs.append(plain_c(program, events, concurrency))
                print(f"  {number + 1}/{options.runs} {concurrency:4} at once: sipeat {events / seconds:8,.0f}/s, "
                      f"{used / events * 1e6:6.0f} CPU µs each, C {events / theirs[-1]:8,.0f}/s", flush=True)
            rows.append([concurrency, f"{events / median(ours):,.0f}", f"{median(cpu) / events * 1e6:.0f}",
                         f"{events / median(theirs):,.0f}", f"{ratio(theirs, ours):.2f}"])
    columns = ["chains at once", "chains/s", "CPU µs each", "C's chains/s", "sipeat's ÷ C's"]
    print("\n" + Table("chains", columns, rows).text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
