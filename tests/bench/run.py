#!/usr/bin/env python3
"""run.py - the same work done by sipeat and by its peers, side by side on one real Kafka.

python3 tests/bench/run.py [--work 1m] [--peers c,sipeat] [--events N] [--runs 3] [--write-docs]
Checks every output of every run and prints tables; it fails when an output is missing or wrong, never for a time.
Each peer is pinned to a version and installed by its own registry's client into ~/.cache/sipeat/bench.
"""

import argparse
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench import jobs, measure, peers, programs, tables  # noqa: E402 - needs the path
from bench.broker import TOGETHER, Broker  # noqa: E402
from support.harness import SOURCE  # noqa: E402

WARM = 1_000_000  # events: the broker compiles what it runs often
PAGE = SOURCE / "docs/performance.md"


def options():
    def names(known):
        def split(text):
            chosen = text.split(",")
            for name in chosen:
                if name not in known:
                    raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
            return chosen
        return split

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=names(jobs.WORKS), default=list(jobs.WORKS), metavar="NAME,…",
                        help=f"of {', '.join(jobs.WORKS)} (default: all)")
    parser.add_argument("--peers", type=names(peers.PEERS), default=list(peers.PEERS), metavar="NAME,…",
                        help=f"of {', '.join(peers.PEERS)} (default: all)")
    parser.add_argument("--events", type=int, help="another number of events, for a quick look")
    parser.add_argument("--runs", type=int, default=3, help="rounds; tables show medians (default 3)")
    parser.add_argument("--profile", metavar="FILE", help="perf record of sipeat's last run into FILE")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.relative_to(SOURCE)}")
    return parser.parse_args()


def main():
    chosen, load = options(), os.getloadavg()[0]
    try:
        ready = peers.prepare(chosen.peers)
        made = []
        with Broker(TOGETHER) as broker:
            bench = measure.Bench(broker, chosen.profile)
            bench.warm_up(ready[0], min(chosen.events or WARM, WARM))
            for name in chosen.work:
                print(f"{name}: {jobs.WORKS[name].__doc__.splitlines()[0]}", flush=True)
                began = time.monotonic()
                done = jobs.WORKS[name](bench, ready, chosen)
                made += done
                print("\n" + "\n\n".join(table.text() for table in done), flush=True)
                print(f"\n({time.monotonic() - began:.0f} s)\n", flush=True)
    except (programs.Missing, measure.Failed, AssertionError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    if chosen.write_docs:
        where = f"on {os.cpu_count()} cores, load average {load:.1f} before"
        tables.write(PAGE, made, "python3 " + " ".join(["tests/bench/run.py", *sys.argv[1:]]), where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
