"""A real Apache Kafka 4.1 for the tests: one KRaft node, started from the jars that Maven brings.

The jars are kept in ~/.cache/sipeat (SIPEAT_CACHE names another place), so only the first run downloads them.
`with Kafka() as kafka:` gives a broker on free ports with a directory of its own, and ends it; `with Cluster(3) as
cluster:` gives several that replicate.
"""

import base64
import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import uuid

from support.kafka_wire import Client

HERE = pathlib.Path(__file__).parent
JVM = ["-Xmx320m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
LOGGING = """status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


def jars():
    """The directory with Kafka's jars; downloads them once."""
    cache = pathlib.Path(os.environ.get("SIPEAT_CACHE", pathlib.Path.home() / ".cache/sipeat"))
    place = cache / "kafka-4.1.0"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "kafka.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            subprocess.run(
                ["mvn", "-q", "-B", "-Dstyle.color=never", "-f", HERE / "kafka/pom.xml", "dependency:copy-dependencies",
                 "-DincludeScope=runtime", f"-DoutputDirectory={place}"],
                check=True, stdin=subprocess.DEVNULL, timeout=600)
            (place / ".done").touch()
    return place


def free_ports(count):
    """Different ports that nobody listens on now."""
    sockets, ports = [], []
    while len(ports) < count:
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        sockets.append(s)
        ports.append(s.getsockname()[1])
    for s in sockets:
        s.close()
    return ports


def new_cluster_id():
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class Kafka:
    """One broker. `address` is host:port without encryption; support.kafka_secure has one with TLS, users and ACLs."""

    jvm = JVM

    def __init__(self, config=None, node=1, quorum=None, cluster_id=None):
        self.config = dict(config or {})
        self.node, self.quorum = node, quorum or {node: free_ports(1)[0]}  # controllers' ports by node
        self.cluster_id = cluster_id or new_cluster_id()
        self.process, self.temp = None, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self.stop()
        self.temp.cleanup()

    @property
    def wire(self):
        return Client(self.address)

    def start(self):
        """Formats the storage at the first start, then runs the broker and waits until it answers."""
        self.launch()
        return self.wait_ready()

    def launch(self):
        if self.temp is None:
            self.prepare()
        self.output = open(self.directory / "broker.log", "ab")
        self.process = subprocess.Popen(
            self.java("kafka.Kafka", self.directory / "server.properties"),
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, start_new_session=True)

    def wait_ready(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                self.wire.topics()
                return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Kafka does not start:\n" + self.log()[-4000:])
            time.sleep(0.05)

    def prepare(self):
        self.temp = tempfile.TemporaryDirectory(prefix="sipeat-kafka-")
        self.directory = pathlib.Path(self.temp.name)
        controller = self.quorum[self.node]
        self.port = free_ports(1)[0]
        self.address = f"127.0.0.1:{self.port}"
        others = self.listeners()
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **{n: p for n, (p, _) in others.items()}}
        listeners = ",".join([f"PLAINTEXT://{self.address}", *(f"{name}://{at}" for name, (_, at) in others.items())])
        settings = {
            "process.roles": "broker,controller", "node.id": self.node,
            "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{port}" for node, port in self.quorum.items()),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": self.directory / "data", "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1, "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4, "group.initial.rebalance.delay.ms": 0,
        }
        settings.update({"listeners": listeners + f",CONTROLLER://127.0.0.1:{controller}",
                         "advertised.listeners": listeners})
        settings.update(self.security())
        settings.update(self.config)
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.directory / "server.properties").write_text(text)
        (self.directory / "log4j2.properties").write_text(LOGGING)
        subprocess.run(
            self.java("kafka.tools.StorageTool", "format", f"--cluster-id={self.cluster_id}", "-c",
                      self.directory / "server.properties", *self.format_options()),
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)

    def listeners(self):
        """Further listeners: {NAME: (security protocol, "host:port")}."""
        return {}

    def security(self):
        """Their settings."""
        return {}

    def format_options(self):
        return []

    def java(self, main, *arguments):
        logging = f"-Dlog4j2.configurationFile=file:{self.directory}/log4j2.properties"
        return ["java", *self.jvm, logging, "-cp", f"{jars()}/*", main, *map(str, arguments)]

    def stop(self, sig=signal.SIGTERM):
        """Ends the broker; its ports and data stay for start()."""
        if self.process is not None:
            self.process.send_signal(sig)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None
            self.output.close()

    def kill(self):
        self.stop(signal.SIGKILL)

    def restart(self):
        self.stop()
        self.start()

    def log(self):
        return (self.directory / "broker.log").read_text(errors="replace")


class Cluster:
    """Several brokers that replicate to each other. `address` names all of them."""

    def __init__(self, size=3):
        quorum, cluster_id = dict(enumerate(free_ports(size), 1)), new_cluster_id()
        copies = {"offsets.topic.replication.factor": size, "transaction.state.log.replication.factor": size,
                  "transaction.state.log.min.isr": size - 1, "min.insync.replicas": size - 1,
                  "default.replication.factor": size}
        self.nodes = [Kafka(copies, node=node, quorum=quorum, cluster_id=cluster_id) for node in quorum]

    def __enter__(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        return self

    def __exit__(self, *unused):
        for node in self.nodes:
            node.stop(signal.SIGKILL)
        for node in self.nodes:
            node.temp.cleanup()

    @property
    def address(self):
        return ",".join(node.address for node in self.nodes)
