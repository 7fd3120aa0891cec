#!/usr/bin/env python3
"""console.py - how soon the console shows a page of a topic of a million messages, and how fast it looks through all of
them; beside kcat, which reads the same messages and pipes them to grep.

    PYTHONPATH=tests SIPEAT_BINARY=build/release/sipeat python3 tests/bench/console.py [MESSAGES]
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from support import kcat
from support.console import Api, token
from support.harness import BINARY, Process
from support.kafka import Kafka

MESSAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
SCRIPT = 'local sipeat = require "sipeat"\n'
SEARCHES = [
    ("page, newest", {}),
    ("page, oldest", {"from": "oldest"}),
    ("key, backwards", {"key": "o-5"}),
    ("key, forwards", {"key": "o-5x", "from": "oldest"}),
    ("header, forwards", {"header": "event-type=none", "from": "oldest"}),
    ("text, forwards", {"text": "no such text", "from": "oldest"}),
    ("JSON path, backwards", {"json": "customer.tier=gold", "limit": 1000}),
    ("JSON path, forwards", {"json": "customer.tier=gold", "limit": 1000, "from": "oldest"}),
    ("JSON number, forwards", {"json": "total>5000", "from": "oldest"}),
]


def fill(address):
    kcat.write(address, "million", [(f"o-{n}", json.dumps(
        {"id": f"o-{n}", "customer": {"tier": "gold" if n % 1000 == 0 else "basic"}, "total": n % 997,
         "note": "nothing in particular, but some bytes"})) for n in range(MESSAGES)],
               [("event-type", b"order.created")])


def search(api, query):
    began, first, found = time.monotonic(), None, 0
    for name, data, at in api.stream("topics/million/messages", **query):
        found += name == "message"
        first = at if first is None and name == "message" else first
        if name in ("done", "problem"):
            return first, time.monotonic() - began, found, data
    raise AssertionError("the stream did not end")


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    with tempfile.TemporaryDirectory(prefix="sipeat-bench-") as name, Kafka() as kafka:
        place = pathlib.Path(name)
        subprocess.run([BINARY, "topic", "create", "million", "--partitions", "4",
                        "-b", kafka.address], check=True, stdout=subprocess.DEVNULL)
        fill(kafka.address)
        (place / "script.lua").write_text(SCRIPT)
        process = Process(["run", place / "script.lua", "-b", kafka.address, "--state", place / "state"], place)
        try:
            url = re.search(r"http://[0-9.]+:\d+", process.wait_log("listening on "))[0]
            process.wait_log(" runs")
            api = Api(url, token(place / "state", "operator"))
            before = process.rss_mb()
            print(f"{'search':22} {'first find':>11} {'all':>9} {'CPU':>7} {'found':>6} {'looked at':>10} "
                  f"{'a second':>9}")
            for title, query in SEARCHES:
                used = cpu_seconds(process)
                first, took, found, done = search(api, query)
                used = cpu_seconds(process) - used
                shown = f"{first * 1000:8.0f} ms" if first is not None else "       none"
                print(f"{title:22} {shown} {took * 1000:6.0f} ms {used:5.2f} s {found:6} {done['scanned']:10} "
                      f"{done['scanned'] / took:9.0f}", flush=True)
            print(f"memory: {before:.0f} MB before, {process.rss_mb():.0f} MB after")
        finally:
            process.close()
        began = time.monotonic()
        subprocess.run(f"kcat -b {kafka.address} -C -t million -o beginning -e -q | grep -c '\"gold\"'", shell=True,
                       check=True, stdout=subprocess.DEVNULL)
        took = time.monotonic() - began
        print(f"kcat | grep: {took * 1000:.0f} ms, {MESSAGES / took:.0f} a second")


main()
