"""The works of the benchmark: what each one runs, and what its table says."""

from bench.tables import Table, goal, median, ratio

MANY = 10_000  # keys, where their number is not what is measured
PARTITIONS = 6

# For each peer: at least so many times its throughput, at most that share of its CPU (None: no target).
TARGETS = {"c": (0.65, 1.35), "franz-go": (1.3, 0.75), "java": (1.1, None), "python": (2.5, None), "kafkajs": (3, None)}


def rounds(peers, runs, one):
    """{peer's name: [result of each round]}. The order turns with each round, so that no place in it is anyone's."""
    results = {peer.name: [] for peer in peers}
    for number in range(runs):
        at = number % len(peers)
        for peer in peers[at:] + peers[:at]:
            results[peer.name].append(one(peer))
            latest = results[peer.name][-1]
            print(f"  {number + 1}/{runs} {peer.name:10} {latest.seconds:8.3f} s  {latest.cpu_s:8.2f} CPU s  "
                  f"{latest.peak_mb:7.1f} MB", flush=True)
    return results


def one_m(bench, peers, options):
    """A million events, all of them there from the start."""
    events = options.events or 1_000_000
    source = bench.fill(events, MANY, PARTITIONS)
    results = rounds(peers, options.runs, lambda peer: bench.run(peer, source, events, MANY, PARTITIONS))
    seconds = {name: [result.seconds for result in list_] for name, list_ in results.items()}
    cpu = {name: [result.cpu_s for result in list_] for name, list_ in results.items()}
    rows = []
    for peer in peers:
        name, (throughput, work) = peer.name, TARGETS.get(peer.name, (None, None))
        peak = max(result.peak_mb for result in results[name])
        faster, cheaper = "", ""
        if "sipeat" in results and name != "sipeat":
            faster, cheaper = ratio(seconds[name], seconds["sipeat"]), ratio(cpu["sipeat"], cpu[name])
            faster = goal(faster, at_least=throughput) if throughput else f"{faster:.2f}"
            cheaper = goal(cheaper, at_most=work) if work else f"{cheaper:.2f}"
        rows.append([peer.title, peer.version, f"{median(seconds[name]):.2f}",
                     f"{events / median(seconds[name]):,.0f}", f"{median(cpu[name]) / events * 1e6:.2f}",
                     f"{peak:.0f}" if name != "sipeat" else goal(peak, at_most=256).replace(".00", ""),
                     faster, cheaper])
    columns = ["program", "version", "seconds", "events/s", "CPU s per million", "peak MB",
               "sipeat's throughput ÷ its", "sipeat's CPU ÷ its"]
    return [Table("1m", columns, rows)]


WORKS = {"1m": one_m}
