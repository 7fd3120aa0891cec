#!/usr/bin/env python3
"""web.py - JSON requests by wrk against sipeat, nginx with LuaJIT, and Node with KafkaJS, in one run.

python3 tests/bench/web.py [--runs 3] [--seconds 10] [--connections 64] [--servers NAME,…] [--write-docs]
Two routes: /lua decodes a JSON body and answers JSON from the script alone; /publish puts it into a Kafka topic too and
does not wait for the broker. Each server runs one event loop. KafkaJS is there twice: with a send for each request, as
its documentation has it, and with batches that the benchmark makes for it by hand. Every answer must be a 2xx, and
every message must be in the topic at the end; it fails for that, never for a time. CPU is that of the server's process,
its threads included.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench import peers, programs, tables  # noqa: E402 - needs the path
from bench.broker import Broker  # noqa: E402
from bench.programs import HERE  # noqa: E402
from support.harness import BINARY, SOURCE, environment, free_ports  # noqa: E402

PAGE = SOURCE / "docs/performance.md"
ORDER = '{"id":"o-1234567","quantity":3,"price":1250,"drink":"espresso","machine":"m-17"}'
WRK = f"""wrk.method = "POST"
wrk.body = [[{ORDER}]]
wrk.headers["content-type"] = "application/json"
"""
TICKS = os.sysconf("SC_CLK_TCK")
DRAIN_S = 120


class Failed(Exception):
    """A server did not do the work, or not right."""


class Server:
    """A program that serves the routes. `start` runs it on a port; with a topic it has /publish, too."""

    name = title = ""
    routes = ("/lua", "/publish")

    def prepare(self):
        raise NotImplementedError

    def command(self, port, directory, brokers, topic):
        raise NotImplementedError

    def settings(self, topic):
        return {}


class Sipeat(Server):
    name, title = "sipeat", "sipeat"

    def prepare(self):
        if not BINARY.exists():
            raise programs.Missing(f"{BINARY} is not built; name another one in SIPEAT_BINARY")

    def command(self, port, directory, brokers, topic):
        return [BINARY, "run", HERE / "works/web.lua", "--http", f"127.0.0.1:{port}", "--no-watch", "--no-embedded",
                "--state", "off", "-b", brokers or "127.0.0.1:9"]

    def settings(self, topic):
        return {"BENCH_OUT": topic} if topic else {}


class Nginx(Server):
    name, title, routes = "nginx", "nginx with LuaJIT", ("/lua",)

    def prepare(self):
        programs.require("nginx", "nginx libnginx-mod-http-lua lua-cjson")
        if not pathlib.Path("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists():
            raise programs.Missing("nginx has no Lua module (Debian: apt-get install libnginx-mod-http-lua)")

    def command(self, port, directory, brokers, topic):
        text = (HERE / "peers/nginx/web.conf").read_text()
        path = pathlib.Path(directory) / "nginx.conf"
        path.write_text(text.replace("PORT", str(port)).replace("DIRECTORY", directory))
        return ["nginx", "-p", directory, "-c", path, "-e", "stderr"]


class Node(Server):
    name, title, mode = "node", "Node's http, KafkaJS, batches by hand", ()

    def prepare(self):
        self.kafkajs = peers.KafkaJs()
        self.kafkajs.prepare()

    def command(self, port, directory, brokers, topic):
        return ["node", HERE / "peers/kafkajs/web.js", port,
                *([brokers, topic, *self.mode] if topic else [])]

    def settings(self, topic):
        return self.kafkajs.settings(None)


class NodeEach(Node):
    name, title, mode, routes = "node-each", "Node's http, KafkaJS, a send each", ("each",), ("/publish",)


SERVERS = {server.name: server for server in (Sipeat, Nginx, Node, NodeEach)}


@dataclasses.dataclass
class Figures:
    per_s: float
    p99_ms: float
    cpu_us: float


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def load(url, script, connections, seconds):
    """What wrk saw: requests, per second, p99 in ms."""
    out = programs.command("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, url)
    if "Non-2xx" in out or "Socket errors" in out:
        raise Failed(f"{url}: not every request was answered well:\n{out}")
    count = int(re.search(r"(\d+) requests in", out)[1])
    return count, float(re.search(r"Requests/sec: *([\d.]+)", out)[1]), milliseconds(re.search(r"99% +(\S+)", out)[1])


def wait_until_it_answers(url, popen, log):
    end = time.monotonic() + 30
    request = urllib.request.Request(url, ORDER.encode(), {"content-type": "application/json"})
    while time.monotonic() < end and popen.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:  # it does not listen, or has no routes yet
            time.sleep(0.05)
    raise Failed(f"the server does not answer:\n{pathlib.Path(log).read_text()[-2000:]}")


def await_messages(wire, topic, count, connections):
    """All that was answered is in the topic, and no more than what wrk left under way."""
    end = time.monotonic() + DRAIN_S
    while (found := wire.count(topic)) < count:
        if time.monotonic() > end:
            raise Failed(f"{found} messages of {count} are in {topic}")
        time.sleep(0.2)
    if found > count + connections:
        raise Failed(f"{found} messages are in {topic}, and only {count} requests were answered")


def measure(server, route, options, broker=None):
    """One run of one server on one route."""
    topic = broker.target(6) if broker else None
    with tempfile.TemporaryDirectory(prefix="sipeat-web-") as directory:
        script, log = os.path.join(directory, "post.lua"), os.path.join(directory, "output.log")
        pathlib.Path(script).write_text(WRK)
        port = free_ports(1)[0]
        command = server.command(port, directory, broker.address if broker else None, topic)
        with open(log, "wb") as output:
            popen = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=output, cwd=directory,
                                     env=environment(directory, server.settings(topic)))
        try:
            url = f"http://127.0.0.1:{port}{route}"
            wait_until_it_answers(url, popen, log)
            warm, _, _ = load(url, script, options.connections, 1)
            before = cpu_s(popen.pid)
            count, per_s, p99_ms = load(url, script, options.connections, options.seconds)
            if broker:  # what it has taken is its work, too
                await_messages(broker.wire, topic, 1 + warm + count, 2 * options.connections)
            used = cpu_s(popen.pid) - before
        except Failed as problem:
            said = pathlib.Path(log).read_text(errors="replace")[-2000:]
            raise Failed(f"{server.title}: {problem}\n{said}") from None
        finally:
            popen.terminate()
            try:
                popen.wait(30)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
    if broker:
        broker.wire.delete_topic(topic)
    return Figures(per_s, p99_ms, used / count * 1e6)


def table(route, title, rounds, targets):
    """`rounds`: server -> figures of each round."""
    def middle(figures, field):
        return statistics.median(getattr(one, field) for one in figures)

    ours, rows = rounds["sipeat"], []
    for name, figures in rounds.items():
        called = SERVERS[name].title
        row = [called if route == "/publish" else called.partition(",")[0], f"{middle(figures, 'per_s'):,.0f}",
               f"{middle(figures, 'p99_ms'):.2f}", f"{middle(figures, 'cpu_us'):.1f}"]
        if name == "sipeat":
            rows.append([*row, "", ""])
            continue
        ratio = tables.ratio([one.per_s for one in ours], [one.per_s for one in figures])
        cpu = tables.ratio([one.cpu_us for one in figures], [one.cpu_us for one in ours])
        rows.append([*row, tables.goal(ratio, at_least=targets.get(name)), f"{cpu:.2f}"])
    columns = [title, "requests/s", "p99 ms", "CPU µs each", "sipeat's requests/s to its", "its CPU to sipeat's"]
    return tables.Table("web-" + route.strip("/"), columns, rows)


def compare(route, title, options, targets, broker=None):
    chosen = [server for server in options.ready if route in server.routes]
    rounds = {server.name: [] for server in chosen}
    if broker:  # its JIT, so that the first server does not pay for those after it
        for server in chosen:
            measure(server, route, options, broker)
    for number in range(options.runs):
        for server in chosen:
            figures = measure(server, route, options, broker)
            rounds[server.name].append(figures)
            print(f"  {number + 1}/{options.runs} {route} {server.title}: {figures.per_s:,.0f}/s, p99 "
                  f"{figures.p99_ms:.2f} ms, CPU {figures.cpu_us:.1f} us", flush=True)
    return table(route, title, rounds, targets)


def parse():
    def names(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in SERVERS:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SERVERS)}")
        return chosen if "sipeat" in chosen else ["sipeat", *chosen]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=names, default=list(SERVERS), metavar="NAME,…",
                        help=f"of {', '.join(SERVERS)} (default: all)")
    parser.add_argument("--routes", type=lambda text: text.split(","), default=list(Server.routes), metavar="PATH,…",
                        help=f"of {', '.join(Server.routes)} (default: both)")
    parser.add_argument("--runs", type=int, default=3, help="rounds; tables show medians (default 3)")
    parser.add_argument("--seconds", type=int, default=10, help="of load in each (default 10)")
    parser.add_argument("--connections", type=int, default=64, help="of wrk (default 64)")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.relative_to(SOURCE)}")
    return parser.parse_args()


def main():
    options, busy = parse(), os.getloadavg()[0]
    try:
        programs.require("wrk", "wrk")
        options.ready = [SERVERS[name]() for name in options.servers]
        for server in options.ready:
            server.prepare()
        made = []
        if "/lua" in options.routes:
            made.append(compare("/lua", "answers from the script alone", options, {"nginx": 0.75}))
        if "/publish" in options.routes:
            with Broker() as broker:
                targets = {"node": 3, "node-each": 3}
                made.append(compare("/publish", "publishes, and does not wait", options, targets, broker))
    except (programs.Missing, Failed) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    print("\n" + "\n\n".join(one.text() for one in made), flush=True)
    if options.write_docs:
        where = f"on {os.cpu_count()} cores, load average {busy:.1f} before"
        tables.write(PAGE, made, "python3 " + " ".join(["tests/bench/web.py", *sys.argv[1:]]), where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
