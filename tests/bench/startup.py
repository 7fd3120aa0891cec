#!/usr/bin/env python3
"""startup.py - how long sipeat takes to start, and what it holds when idle; beside kcat, which has the same library.

Run from the root after a build: PYTHONPATH=tests python3 tests/bench/startup.py. Prints figures; asserts nothing.
"""

import pathlib
import statistics
import subprocess
import tempfile
import time

from support import kcat
from support.harness import BINARY, Process, free_ports, get, wait_for
from support.kafka import Kafka

SCRIPT = """
local sipeat = require "sipeat"
sipeat.flow {
  topic = "start", group = "%s",
  on = { ["*"] = function(_, ctx) ctx.log:info("handled here") end },
}
"""
EVENT = '{"id": "1", "type": "started", "data": {"n": 1}}'


def timed(command, rounds=30):
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        nothing = subprocess.DEVNULL
        subprocess.run(command, stdin=nothing, stdout=nothing, stderr=nothing, check=True)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def first_event(directory, arguments, env, publish=None):
    """Seconds from the start of the process to its first handled event, and the process."""
    began = time.perf_counter()
    process = Process(arguments, directory, env)
    if publish:
        publish(process)
    process.wait_log("handled here", 30)
    return time.perf_counter() - began, process


def main():
    with tempfile.TemporaryDirectory(prefix="sipeat-bench-") as name, Kafka() as kafka:
        directory = pathlib.Path(name)
        script = directory / "script.lua"
        version, peer = timed([BINARY, "--version"]), timed(["kcat", "-V"])
        print(f"process start to --version        {version:8.1f} ms   "
              f"kcat -V {peer:.1f} ms, ratio {version / peer:.2f}")

        kafka.wire.create_topic("start", 1)
        kcat.write(kafka.address, "start", [(None, EVENT)])
        real, groups = [], []
        for number in range(5):
            script.write_text(SCRIPT % f"sipeat-{number}")
            took, process = first_event(directory, ["run", script, "--http", f"127.0.0.1:{free_ports(1)[0]}"],
                                        {"KAFKA_BROKERS": kafka.address})
            real.append(took)
            process.close()
            began = time.perf_counter()
            reader = subprocess.Popen(["kcat", "-b", kafka.address, "-G", f"kcat-{number}", "-q", "-u", "-X",
                                       "auto.offset.reset=earliest", "start"], stdout=subprocess.PIPE)
            reader.stdout.readline()
            groups.append(time.perf_counter() - began)
            reader.kill()
            reader.wait()
            reader.stdout.close()
        here, there = statistics.median(real), statistics.median(groups)
        print(f"start to first event, real Kafka  {here:8.3f} s    kcat -G {there:.3f} s, ratio {here / there:.2f}")

        script.write_text(SCRIPT % "idle")
        http = free_ports(1)[0]
        events = directory / "events.jsonl"
        events.write_text(EVENT + "\n")
        command = ["dev", script, "--http", f"127.0.0.1:{http}", "--samples", events]
        embedded, process = first_event(directory, command, {})
        print(f"start to first event, embedded    {embedded:8.3f} s    (group join of librdkafka's mock cluster: 3 s)")
        wait_for(lambda: get(f"http://127.0.0.1:{http}/ping")[0] == 200, "answers")
        print(f"memory of `dev`, one event later  {process.rss_mb():8.1f} MB")
        process.close()

        process = Process(["run", script, "--http", f"127.0.0.1:{http}"], directory, {"KAFKA_BROKERS": kafka.address})
        wait_for(lambda: get(f"http://127.0.0.1:{http}/ready")[0] == 200, process.tail)
        print(f"memory of `run`, idle             {process.rss_mb():8.1f} MB")
        process.close()


if __name__ == "__main__":
    main()
