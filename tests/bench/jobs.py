"""The works of the benchmark: what each one runs, and what its table says."""

from bench import programs, watching
from bench.hardware import serial
from bench.tables import Table, goal, median, ratio
from support.harness import BINARY, wait_for

MANY = 10_000  # keys, where their number is not what is measured
PARTITIONS = 6

OURS = ("sipeat", "sipeat-workers")

# For each peer: at least so many times its throughput, at most that share of its CPU (None: no target).
TARGETS = {"c": (0.65, 1.35), "franz-go": (1.3, 0.75), "java": (1.1, None), "python": (2.5, None), "kafkajs": (3, None)}


def turned(programs_, number):
    """The programs in the order of a round: it turns, so that no place in it is anyone's."""
    at = number % len(programs_)
    return programs_[at:] + programs_[:at]


def rounds(peers, runs, one):
    """{peer's name: [result of each round]}"""
    results = {peer.name: [] for peer in peers}
    for number in range(runs):
        for peer in turned(peers, number):
            latest = one(peer)
            results[peer.name].append(latest)
            print(f"  {number + 1}/{runs} {peer.name:15} {latest.seconds:8.3f} s  {latest.cpu_s:8.2f} CPU s  "
                  f"{latest.peak_mb:7.1f} MB", flush=True)
    return results


def one_m(bench, peers, options):
    """A million events, all of them there from the start."""
    events = options.events or 1_000_000
    source = bench.fill(events, MANY, PARTITIONS)
    bench.run(peers[0], source, events, MANY, PARTITIONS)  # the broker compiles what it runs often
    results = rounds(peers, options.runs, lambda peer: bench.run(peer, source, events, MANY, PARTITIONS))
    seconds = {name: [result.seconds for result in list_] for name, list_ in results.items()}
    cpu = {name: [result.cpu_s for result in list_] for name, list_ in results.items()}
    rows = []
    for peer in peers:
        name, ours = peer.name, peer.name in OURS
        throughput, work = TARGETS.get(name, (None, None))
        beside = [goal(ratio(seconds[name], seconds[one]), at_least=throughput) if not ours and one in results else ""
                  for one in OURS]
        beside += [goal(ratio(cpu["sipeat"], cpu[name]), at_most=work) if not ours and "sipeat" in results else ""]
        peak = goal(max(result.peak_mb for result in results[name]), at_most=256 if ours else None, digits=0)
        took = median(seconds[name])
        rows.append([peer.title, peer.version, f"{took:.2f}", f"{events / took:,.0f}",
                     f"{median(cpu[name]) / events * 1e6:.2f}", peak, *beside])
    columns = ["program", "version", "seconds", "events/s", "CPU s per million", "peak MB",
               "sipeat's throughput ÷ its", "two workers' throughput ÷ its", "sipeat's CPU ÷ its"]
    return [Table("1m", columns, rows)]


def slow(bench, peers, options):
    """Handlers that wait 5 ms each: 2,000 events of 500 keys in one partition, at 64 and at 500 at once."""
    events, keys, wait_ms = options.events or 2000, 500, 5
    rows = []

    def feed(run):
        """The same burst several times; all but the last one warm the program up."""
        for end in range(events, run.events + 1, events):
            bench.write(run.source, end - events, end, keys, 1)
            wait_for(lambda end=end: bench.broker.wire.count(run.target) >= end, "all outputs", 60)

    def one(peer, concurrency, bursts):
        return bench.run(peer, bench.broker.source(1), bursts * events, keys, 1, during=feed,
                         warm=(bursts - 1) * events, linger_ms=0, script="slow.lua", concurrency=concurrency,
                         wait_ms=wait_ms)

    chosen = [peer for peer in peers if peer.name in ("sipeat", "parallel")]
    for concurrency, times in ((64, 1.15), (500, 3)):
        for bursts, which in ((1, "first"), (4, "fourth")):
            ideal_ms = events * wait_ms / concurrency
            results = rounds(chosen, options.runs, lambda peer, n=concurrency, b=bursts: one(peer, n, b))
            # The first output is appended after the first wait: that one counts too.
            took = {name: [result.seconds * 1000 + wait_ms for result in list_] for name, list_ in results.items()}
            for peer in chosen:
                ours, share = peer.name == "sipeat", median(took[peer.name]) / ideal_ms
                beside = ratio(took["sipeat"], took["parallel"]) if ours and "parallel" in took else None
                rows.append([peer.title, concurrency, which, f"{ideal_ms:.0f}", f"{median(took[peer.name]):.0f}",
                             goal(share, at_most=times) if ours else f"{share:.2f}",
                             "" if beside is None else goal(beside, at_most=0.5)])
    return [Table("slow", ["program", "at once", "burst", "ideal ms", "ms", "÷ ideal", "÷ parallel consumer"], rows)]


def latency(bench, peers, options):
    """A steady 5,000 events/s: from leaving their producer to being appended to the outputs' topic."""
    rate, keys = 5000, 1000
    events = options.events or 20 * rate
    variants = [(peer, peer.title, "orders.lua") for peer in peers if peer.name in ("c", "sipeat")]
    variants += [(peer, "sipeat, collector stopped", "uncollected.lua") for peer in peers if peer.name == "sipeat"]
    figures = {title: [] for _, title, _ in variants}

    def feed(run):
        sent = f"{run.directory}/sent"
        bench.write(run.source, 0, events, keys, PARTITIONS, rate, sent)
        return [sent]

    def work(peer, script):
        return bench.run(peer, bench.broker.source(PARTITIONS), events, keys, PARTITIONS, during=feed,
                         warm=events // 10, linger_ms=1, script=script).report

    if variants:
        work(variants[0][0], variants[0][2])  # the broker compiles what it runs often: three times the p99
    for number in range(options.runs):
        for peer, title, script in turned(variants, number):
            report = work(peer, script)
            figures[title].append([report[name] / 1000 for name in ("p50_us", "p99_us", "p999_us")])
            print(f"  {title:30} p50 {{:.2f}}  p99 {{:.2f}}  p99.9 {{:.2f}} ms".format(*figures[title][-1]), flush=True)
    rows = [[title, *(f"{median(column):.2f}" for column in zip(*list_))] for title, list_ in figures.items()]
    ours = [list(column) for column in zip(*figures.get("sipeat", []))]
    plain = [list(column) for column in zip(*figures.get(next((p.title for p in peers if p.name == "c"), ""), []))]
    if ours and plain:
        rows.append(["sipeat ÷ plain C", *(goal(ratio(*pair), at_most=times)
                                            for *pair, times in zip(ours, plain, (1.3, 1.3, 2)))])
    if ours:
        free = list(zip(*figures["sipeat, collector stopped"]))
        rows.append(["the collector's share", *(f"{median(a) - median(b):.2f}" for a, b in zip(ours, free))])
    return [Table("latency", ["program", "p50 ms", "p99 ms", "p99.9 ms"], rows)]


def scale(bench, peers, options):
    """sipeat's CPU per event with more backlog and more keys, and its memory through the longest run."""
    million = options.events or 1_000_000
    peer = next((peer for peer in peers if peer.name == "sipeat"), None)
    if peer is None:
        return []

    def cost(events, keys):
        source = bench.fill(events, keys, PARTITIONS)
        results = [bench.run(peer, source, events, keys, PARTITIONS) for _ in range(options.runs)]
        bench.broker.wire.delete_topic(source)
        print(f"  {events} events, {keys} keys: {median(r.cpu_s for r in results):.2f} CPU s", flush=True)
        return results

    idle_s = median(result.cpu_s for result in cost(1, 1))
    counts = [(million // 10, MANY), (million, MANY), (5 * million, MANY),
              (million, 100), (million, MANY), (million, million)]
    results = {pair: cost(*pair) for pair in dict.fromkeys(counts)}
    each_us = {pair: (median(r.cpu_s for r in list_) - idle_s) / pair[0] * 1e6 for pair, list_ in results.items()}
    rows = []
    for part in (counts[:3], counts[3:]):
        for before, pair in zip([None, *part], part):
            rows.append([f"{pair[0]:,}", f"{pair[1]:,}", f"{each_us[pair]:.2f}",
                         "" if before is None else goal(each_us[pair] / each_us[before], at_most=1.2),
                         f"{max(r.peak_mb for r in results[pair]):.0f}"])
    seen = results[counts[2]][-1].resident_mb
    fifths = [seen[len(seen) * at // 5:len(seen) * (at + 1) // 5] or seen for at in range(5)]
    note = (f"Resident memory through the run of {5 * million:,} events, median of each fifth: "
            + ", ".join(f"{median(fifth):.0f}" for fifth in fifths) + " MB. "
            f"What a run of one event costs ({idle_s:.2f} CPU s: start, group, end) is taken off.")
    return [Table("scale", ["events", "keys", "CPU µs per event", "÷ the row above", "peak MB"], rows, [note])]


def workers(bench, peers, options):
    """Handlers of 500 µs CPU: the throughput of two workers over that of one. The input is in the first twentieth of
    the time, and outputs are collected for long, so that the broker takes little of the two cores."""
    events, keys, aim_us = options.events or 20_000, 6000, 500
    peer = next((peer for peer in peers if peer.name == "sipeat"), None)
    if peer is None:
        return []
    if "--workers" not in programs.command(BINARY, "run", "--help"):
        raise programs.Missing("this sipeat has no --workers")

    def work(count, spins):
        result = bench.run(peer, bench.broker.source(PARTITIONS), events, keys, PARTITIONS, script="busy.lua",
                           rounds=spins, members=count, linger_ms=50, flags=("--workers", count),
                           during=lambda run: bench.write(run.source, 0, events, keys, PARTITIONS))
        print(f"  {count} workers: {result.seconds:.3f} s, {result.cpu_s:.2f} CPU s", flush=True)
        return result

    first = 20_000
    spins = round(first * aim_us / (work(1, first).cpu_s / events * 1e6))
    seconds, cpu = {1: [], 2: []}, {1: [], 2: []}
    for _ in range(options.runs):
        for count in seconds:
            result = work(count, spins)
            seconds[count].append(result.seconds)
            cpu[count].append(result.cpu_s)
    gain = goal(ratio(seconds[1], seconds[2]), at_least=1.6)
    rows = [[count, f"{median(cpu[count]) / events * 1e6:.0f}", f"{events / median(list_):,.0f}",
             gain if count == 2 else ""] for count, list_ in seconds.items()]
    return [Table("workers", ["workers", "CPU µs per event", "events/s", "throughput ÷ one worker's"], rows)]


def observed(bench, peers, options):
    """The 1m work with nothing watched, and with metrics that are scraped, traces of 1 % and log lines as JSON."""
    events = options.events or 1_000_000
    peer = next((peer for peer in peers if peer.name == "sipeat"), None)
    if peer is None:
        return []
    source = bench.fill(events, MANY, PARTITIONS)
    results = {"nothing": [], "all": []}
    with watching.Collector() as collector:
        for number in range(options.runs):
            for name in turned(list(results), number):
                flags, env, scraper = watching.everything(collector) if name == "all" else watching.nothing()
                with scraper:
                    latest = bench.run(peer, source, events, MANY, PARTITIONS, flags=flags, env=env)
                results[name].append(latest)
                print(f"  {number + 1}/{options.runs} {name:8} {latest.seconds:8.3f} s  {latest.cpu_s:8.2f} CPU s",
                      flush=True)
    seconds = {name: [result.seconds for result in list_] for name, list_ in results.items()}
    cpu = {name: [result.cpu_s for result in list_] for name, list_ in results.items()}
    rows = []
    for name, what in (("nothing", "nothing"), ("all", "metrics, traces of 1 %, logs")):
        beside = ["", ""] if name == "nothing" else [
            goal(ratio(seconds["nothing"], seconds["all"]), at_least=0.9), f"{ratio(cpu['all'], cpu['nothing']):.2f}"]
        rate, cost = events / median(seconds[name]), median(cpu[name]) / events * 1e6
        rows.append([what, f"{rate:,.0f}", f"{cost:.2f}", *beside])
    spans = collector.spans / options.runs
    note = ("`SIPEAT_METRICS=off`, no traces and no log lines below errors beside `/metrics` scraped each second, "
            f"`--trace-ratio 0.01` with a collector, which took {spans:,.0f} spans in a run, "
            "and `--log-level info --log-format json`.")
    columns = ["watched", "events/s", "CPU s per million", "throughput ÷ without", "CPU ÷ without"]
    return [Table("observed", columns, rows, [note])]


WORKS = {"1m": one_m, "slow": slow, "latency": latency, "scale": scale, "workers": workers,
         "serial": serial, "observed": observed}
