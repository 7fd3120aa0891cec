"""A board on a serial line beside a million events: how late the answers to its polls are."""

import json
import subprocess

from bench import programs
from bench.tables import Table, goal, median

POLL_US = 2000  # a hundred times as often as the board does, so that one in a thousand means something


def measure(poll_us, work):
    """Calls work(path of the board's pseudo-terminal) while the board polls; how late the answers were, of whoever
    opened that path ("sipeat") and of a bare thread beside it ("bare")."""
    program = programs.build_c(programs.HERE / "c/board.c", "-lpthread")
    with subprocess.Popen([program, str(poll_us)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True) as board:
        try:
            work(board.stdout.readline().strip())
        finally:
            board.terminate()
        answer = json.loads(board.stdout.read())
    if board.returncode != 0 or answer["sipeat"]["count"] == 0:
        raise programs.Missing(f"the board ended with {board.returncode} and {answer}")
    return answer


def serial(bench, peers, options):
    """A board that polls, answered under full load: the orders' work runs in the same process on the same cores."""
    events, keys, partitions = options.events or 1_000_000, 10_000, 6
    peer = next((peer for peer in peers if peer.name == "sipeat"), None)
    if peer is None:
        return []
    source = bench.fill(events, keys, partitions)
    rounds = []
    for number in range(options.runs):
        rounds.append(measure(POLL_US, lambda path: bench.run(
            peer, source, events, keys, partitions, script="serial.lua", port=path)))
        print(f"  {number + 1}/{options.runs} " + ", ".join(
            f"{name} p99.9 {late['p999_us'] / 1000:.2f} max {late['max_us'] / 1000:.2f} ms"
            for name, late in rounds[-1].items()), flush=True)
    rows = []
    for name, title in (("sipeat", "sipeat, beside the work"), ("bare", "a bare thread, beside it")):
        figures = [median(late[name][field] for late in rounds) / 1000 for field in ("p50_us", "p99_us", "p999_us")]
        most = max(late[name]["max_us"] for late in rounds) / 1000
        third = goal(figures[2], at_most=5) if name == "sipeat" else f"{figures[2]:.2f}"
        polls = sum(late[name]["count"] for late in rounds)
        rows.append([title, polls, f"{figures[0]:.2f}", f"{figures[1]:.2f}", third, f"{most:.1f}"])
    beyond = max(late["sipeat"]["max_us"] - late["bare"]["max_us"] for late in rounds) / 1000
    rows.append(["the latest answer, beyond the bare thread's", "", "", "", "", goal(beyond, at_most=50, digits=1)])
    return [Table("serial", ["who answers", "polls", "p50 ms", "p99 ms", "p99.9 ms", "latest ms"], rows),
            histogram(rounds)]


def histogram(rounds):
    counts = {name: [sum(step) for step in zip(*(late[name]["histogram"] for late in rounds))]
              for name in ("sipeat", "bare")}
    last, rows = len(counts["sipeat"]) - 1, []
    for step, pair in enumerate(zip(*counts.values())):
        limit = 0.05 * 2 ** step
        rows.append([f"up to {limit:g}" if step < last else "more", *(f"{count:,}" for count in pair)])
    return Table("serial-histogram", ["ms", "sipeat", "a bare thread"], rows)
