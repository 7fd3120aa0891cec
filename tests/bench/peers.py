"""The programs that are compared: how each is installed, in which version, and how it is started for a run."""

import os
import subprocess

from bench import programs
from bench.programs import HERE, command
from support.harness import BINARY, environment


class Peer:
    """One program. `prepare` builds or installs it once; `arguments` and `settings` start it for a run.

    Each takes its brokers, group, topics and linger from the run, consumes until SIGTERM, and commits only what is
    acknowledged: the runner sees by the topics and the group alone when it is done."""

    name = title = ""
    version = ""

    def prepare(self):
        raise NotImplementedError

    def arguments(self, run):
        raise NotImplementedError

    def settings(self, run):
        return {}

    def start(self, run, output):
        return subprocess.Popen(
            [str(argument) for argument in self.arguments(run)], stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, cwd=run.directory, env=environment(run.directory, self.settings(run)))


def operands(run):
    """What every peer but sipeat takes on its command line."""
    return [run.brokers, run.group, run.source, run.target, run.linger_ms]


class PlainC(Peer):
    name, title = "c", "plain C, librdkafka and cJSON"

    def prepare(self):
        self.program = programs.build_c(HERE / "peers/worker.c")
        versions = [command("pkg-config", "--modversion", library) for library in ("rdkafka", "libcjson")]
        self.version = "librdkafka {}, cJSON {}".format(*versions)

    def arguments(self, run):
        return [self.program, *operands(run)]


class Sipeat(Peer):
    name, title = "sipeat", "sipeat"

    def prepare(self):
        if not BINARY.exists():
            raise programs.Missing(f"{BINARY} is not built (cmake --preset release && cmake --build build/release), "
                                   "or name another one in SIPEAT_BINARY")
        self.version = command(BINARY, "--version").split()[1]

    def arguments(self, run):
        return [BINARY, "run", HERE / "works" / run.script, "--http", "off", "--no-watch", "-b", run.brokers,
                "-X", f"linger.ms={run.linger_ms}", *run.flags]

    def settings(self, run):
        return {"BENCH_IN": run.source, "BENCH_OUT": run.target, "BENCH_GROUP": run.group, **run.variables}


PEERS = {peer.name: peer for peer in (PlainC, Sipeat)}


def prepare(names):
    """The peers, ready to start. Missing names every one that cannot be had."""
    ready, problems = [], []
    os.makedirs(programs.CACHE, exist_ok=True)
    for name in names:
        peer = PEERS[name]()
        try:
            peer.prepare()
            ready.append(peer)
        except programs.Missing as problem:
            problems.append(f"{peer.title}: {problem}")
    if problems:
        raise programs.Missing("\n".join(problems) + "\nLeave out what is missing: --peers "
                               + (",".join(peer.name for peer in ready) or "…"))
    return ready
