"""Each command of docs/seeds.md, typed as it stands beside the program that its section names, on a real Kafka."""

import os
import re
import subprocess

from support import harness
from support.harness import BINARY, SOURCE, free_ports, wait_for
from support.kafka import Kafka

PAGE = (SOURCE / "docs/seeds.md").read_text()
SECTIONS = re.findall(r"(?ms)^## [^\n`]*`sipeat dev (\S+)`\n(.*?)(?=^## |\Z)", PAGE)
READS = re.compile(r"^(curl -s (-o \S+ -w \S+ )?http\S+$|sipeat (consume|chains|group|topic list|topic show|dlq list))")


def rows(text):
    """(feature, command, what is looked for) of each row."""
    for line in text.splitlines():
        found = re.match(r"^\| (.*?) \| `(.*)` \| `(.*)` \|$", line)
        if found:
            yield found.groups()


class Seeds(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def type_one(self, dev, typed, shows, env):
        said = []

        def type_it():
            done = subprocess.run(["bash", "-c", typed], cwd=self.dir, env=harness.environment(self.dir, env),
                                  text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
            said.append(done.stdout + done.stderr)
            return shown()

        def shown():
            return any(shows in text for text in (said[-1], dev.log, dev.output))

        if not type_it():
            wait_for(type_it if READS.match(typed) else shown, lambda: f"in {said[-1][-3000:]}\n{dev.tail(5)}", 60, 0.3)

    def type_all(self, script, table, brokers=None):
        service, orders = free_ports(2)
        env = {**({"KAFKA_BROKERS": brokers} if brokers else {}), "ORDERS_HTTP": f"127.0.0.1:{orders}",
               "SIPEAT_STATE": str(self.dir / "state"), "PATH": f"{BINARY.parent}:{os.environ['PATH']}"}
        for folder in ("deploy", "docs", "examples", "scripts"):
            (self.dir / folder).symlink_to(SOURCE / folder)
        dev = self.start("dev", script, "--http", f"127.0.0.1:{service}", env=env)
        dev.wait_runs()
        for feature, command, shows in rows(table):
            typed = command.replace("localhost:3000", f"127.0.0.1:{service}").replace(
                "localhost:8080", f"127.0.0.1:{orders}")
            with self.subTest(feature=feature, command=typed, shows=shows):
                self.type_one(dev, typed, shows, env)
        self.assertEqual(dev.stop(), 0, dev.tail())

    def test_every_row_is_understood(self):
        self.assertEqual(len(SECTIONS), 4)
        lines = [line for _, text in SECTIONS for line in text.splitlines()
                 if line.startswith("| ") and not line.startswith("| feature")]
        self.assertEqual(len(lines), sum(len(list(rows(text))) for _, text in SECTIONS))

    def test_sipeat(self):
        self.type_all(*SECTIONS[0], self.kafka.address)

    def test_worker(self):
        self.type_all(*SECTIONS[1], self.kafka.address)

    def test_invoices(self):
        self.type_all(*SECTIONS[2])

    def test_orders(self):
        self.type_all(*SECTIONS[3], self.kafka.address)


if __name__ == "__main__":
    harness.main()
