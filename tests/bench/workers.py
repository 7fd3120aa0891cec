"""What a second worker brings: events/s of one and of two workers whose handlers compute 500 us, side by side.

    SIPEAT_BINARY=build/release/sipeat python3 tests/bench/workers.py [ROUNDS]

Every worker logs its count each 250 events; only the time in which all workers are busy counts, with input that is
there already. Prints each round and the medians of the ratios. Needs two cores that nobody else uses; where there are
none, the events for each CPU second still tell what the workers cost each other (1.00: nothing).
"""

import json
import os
import pathlib
import re
import statistics
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("SIPEAT_SOURCE", str(HERE.parent.parent))

from support import harness, kcat  # noqa: E402
from support.kafka import Kafka  # noqa: E402

EVENTS = 6000
SCRIPT = """
local sipeat = require "sipeat"
local now, n, rounds = sipeat.task.monotonic_ms, 0, 0
local function compute(times)
  local x = 0
  for i = 1, times do x = x + i % 7 end
  return x
end
for times = 10000, 10000000, 10000 do -- how often 500 us is, on this machine
  local began = os.clock()
  compute(times)
  rounds = times
  if os.clock() - began >= 0.0005 then break end
end
sipeat.flow { topic = "cpu", group = "cpu", order = "none", concurrency = 8, on = { ["*"] = function()
  compute(rounds)
  n = n + 1
  if n % 250 == 0 then sipeat.log.info(("mark %d %d %.1f"):format(sipeat.worker, n, now())) end
end } }
"""
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


def marks(process):
    """worker -> [(count, ms)]"""
    found = {}
    for line in list(process.raw):
        match = re.search(r"mark (\d+) (\d+) ([\d.]+)", line)
        if match:
            found.setdefault(match[1], []).append((int(match[2]), float(match[3])))
    return found


def rate(found):
    """Events/s of all workers together, while each of them was busy."""
    begin = max(m[0][1] for m in found.values())
    end = min(m[-1][1] for m in found.values())
    total = 0.0
    for m in found.values():
        inside = [one for one in m if begin <= one[1] <= end]
        if len(inside) < 2:
            return None
        total += (inside[-1][0] - inside[0][0]) / (inside[-1][1] - inside[0][1]) * 1000
    return total


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(kafka, path, workers):
    """Events/s, and events for each CPU second of the process."""
    kafka.wire.create_topic("cpu", 4)
    with tempfile.TemporaryDirectory() as place:
        process = harness.Process(
            ["run", path, "--workers", workers, "--http", "off", "--state", "off", "--no-watch"], place,
            {"KAFKA_BROKERS": kafka.address})
        try:
            def is_idle():
                return kafka.wire.lag("cpu", "cpu") == 0
            records = [(f"k{i}", json.dumps({"id": f"e{i}", "type": "x", "data": {}})) for i in range(EVENTS)]
            while len(marks(process)) < workers:  # until each has a share of the partitions
                kcat.write(kafka.address, "cpu", records[:1000])
                process.until(is_idle, "an end of the first events", 60)
            process.raw.clear()
            before = cpu_seconds(process)
            kcat.write(kafka.address, "cpu", records)
            process.until(is_idle, "an end", 120)
            return rate(marks(process)), EVENTS / (cpu_seconds(process) - before)
        finally:
            process.stop()
            kafka.wire.delete_topic("cpu")


def main():
    with tempfile.TemporaryDirectory() as place, Kafka({"group.initial.rebalance.delay.ms": 0}) as kafka:
        path = pathlib.Path(place) / "cpu.lua"
        path.write_text(SCRIPT)
        ratios = []
        for n in range(ROUNDS):
            (one, one_cpu), (two, two_cpu) = run(kafka, path, 1), run(kafka, path, 2)
            if one and two:
                ratios.append((two / one, two_cpu / one_cpu))
                print(f"round {n + 1}: one {one:.0f}/s, two {two:.0f}/s, {two / one:.2f} x; for each CPU second "
                      f"{one_cpu:.0f} and {two_cpu:.0f}", flush=True)
        for what, values in zip(("events/s", "events for each CPU second"), zip(*ratios)):
            print(f"median of {what}: {statistics.median(values):.2f} x")


if __name__ == "__main__":
    main()
