"""The programs that are compared: how each is installed, in which version, and how it is started for a run."""

import os
import re
import subprocess
import sys

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
        return {"BENCH_IN": run.source, "BENCH_OUT": run.target, "BENCH_GROUP": run.group,
                "BENCH_CONCURRENCY": run.concurrency, "BENCH_WAIT_MS": run.wait_ms, "BENCH_ROUNDS": run.rounds,
                "BENCH_PORT": run.port, **dict(run.env)}


class SipeatWorkers(Sipeat):
    name, title = "sipeat-workers", "sipeat, two workers"

    def arguments(self, run):
        return [*super().arguments(run), "--workers", 2]


class FranzGo(Peer):
    """Versions: peers/franz-go/go.mod and go.sum."""

    name, title, form = "franz-go", "franz-go, encoding/json into maps", "map"

    def prepare(self):
        programs.require("go", "golang, or a newer one from go.dev")
        with programs.place("franz-go") as directory:
            self.program = directory / "worker"
            command("go", "build", "-o", self.program, ".", cwd=HERE / "peers/franz-go", env={
                **os.environ, "GOPATH": directory / "go", "GOFLAGS": "-modcacherw -mod=readonly"})
        self.version = "{} ({})".format(
            pinned(HERE / "peers/franz-go/go.mod", r"franz-go v(\S+)"), command("go", "env", "GOVERSION"))

    def arguments(self, run):
        return [self.program, *operands(run), self.form]


class FranzGoStructs(FranzGo):
    name, title, form = "franz-go-structs", "franz-go, encoding/json into structs", "struct"


class Java(Peer):
    """Versions: peers/java/pom.xml."""

    name, title = "java", "plain Java client and Jackson"
    folder, main, sources, artifact = "java", "Plain", ("java/Orders.java", "java/Plain.java"), "kafka-clients"

    def prepare(self):
        programs.require("mvn", "maven")
        programs.require("javac", "openjdk-17-jdk-headless")
        pom = HERE / "peers" / self.folder / "pom.xml"
        with programs.place(self.folder) as directory:
            jars, classes = directory / f"jars-{programs.digest(pom)}", directory / "classes"
            if not (jars / ".done").exists():
                command("mvn", "-q", "-B", "-Dstyle.color=never", "-f", pom, "dependency:copy-dependencies",
                        "-DincludeScope=runtime", f"-DoutputDirectory={jars}")
                (jars / ".done").touch()
            command("javac", "-cp", f"{jars}/*", "-d", classes, *(HERE / "peers" / source for source in self.sources))
        self.path = f"{classes}:{jars}/*"
        self.version = pinned(pom, rf"<artifactId>{self.artifact}</artifactId>\s*<version>([^<]+)")

    def arguments(self, run):
        return ["java", "-Xmx1g", "-cp", self.path, self.main, *operands(run)]


class Parallel(Java):
    """Versions: peers/parallel/pom.xml. The parallel consumer brings the Java client that it was made for."""

    name, title = "parallel", "Java parallel consumer by key, Reactor"
    folder, main, artifact = "parallel", "Parallel", "parallel-consumer-reactor"
    sources = ("java/Orders.java", "parallel/Parallel.java")

    def arguments(self, run):
        return [*super().arguments(run), run.concurrency or 1000, run.wait_ms]


class Python(Peer):
    name, title, version = "python", "confluent-kafka for Python", "2.16.1"

    def prepare(self):
        with programs.place("python") as directory:
            self.packages = directory / f"{self.version}-{sys.implementation.cache_tag}"
            if not (self.packages / ".done").exists():
                command(sys.executable, "-m", "pip", "install", "-q", "--target", self.packages,
                        f"confluent-kafka=={self.version}")
                (self.packages / ".done").touch()

    def arguments(self, run):
        return [sys.executable, HERE / "peers/python_worker.py", *operands(run)]

    def settings(self, run):
        return {"PYTHONPATH": self.packages, "PYTHONDONTWRITEBYTECODE": "1"}


class KafkaJs(Peer):
    name, title, version = "kafkajs", "KafkaJS", "2.2.4"

    def prepare(self):
        programs.require("node", "nodejs")
        programs.require("npm", "npm")
        with programs.place("kafkajs") as directory:
            self.packages = directory / self.version
            if not (self.packages / ".done").exists():
                self.packages.mkdir(exist_ok=True)
                command("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", self.packages,
                        f"kafkajs@{self.version}")
                (self.packages / ".done").touch()

    def arguments(self, run):
        return ["node", HERE / "peers/kafkajs/worker.js", *operands(run)]

    def settings(self, run):
        return {"NODE_PATH": self.packages / "node_modules", "KAFKAJS_NO_PARTITIONER_WARNING": "1"}


def pinned(path, pattern):
    """The version that a file of a package manager pins."""
    return re.search(pattern, path.read_text())[1]


PEERS = {peer.name: peer for peer in (
    Sipeat, SipeatWorkers, PlainC, FranzGo, FranzGoStructs, Java, Parallel, Python, KafkaJs)}


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
