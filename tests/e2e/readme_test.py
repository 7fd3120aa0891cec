"""Whatever the README shows works: its script, its commands, with the broker inside and with a real Kafka."""

import json
import re
import shlex

from support import harness, kcat
from support.fake_discord import FakeDiscord
from support.harness import BINARY, SOURCE, free_ports, wait_for
from support.kafka import Kafka

README = (SOURCE / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands():
    return [line for block in blocks("sh") for line in block.splitlines() if line and not line.startswith("export ")]


class Readme(harness.Case):
    def arguments(self, part):
        """The arguments of the README's command that contains `part`, as a shell would split them."""
        found = [line for line in commands() if part in line]
        self.assertEqual(len(found), 1, f"{part!r} in {commands()}")
        program, *arguments = shlex.split(found[0])
        if program.endswith("-run"):
            arguments.insert(0, "run")
        return [str(SOURCE / a) if a.startswith("examples/") else a for a in arguments]

    def test_the_script_is_the_example_and_has_20_lines(self):
        example = (SOURCE / "examples/hello.lua").read_text()
        self.assertEqual(blocks("lua"), [example])
        self.assertLessEqual(len(example.splitlines()), 20)

    def test_every_command_is_known_to_this_test(self):
        known = ("./start", "./check", " dev ", " publish ", " consume ", "discord test", "sipeat-run ", "sipeat test ")
        self.assertEqual([c for c in commands() if not any(k in c for k in known)], [])
        self.assertTrue((BINARY.parent / "sipeat-run").exists())

    def test_the_links_lead_somewhere(self):
        for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/index.md", "docs/tutorial.md"):
            path = SOURCE / name
            for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
                if not link.startswith("http"):
                    self.assertTrue((path.parent / link).exists(), f"{name}: {link}")

    def test_the_tests_of_the_scripts_pass(self):
        *verb, folder = self.arguments("sipeat test ")
        done = self.run_sipeat(*verb, SOURCE / folder)
        self.assertEqual(done.returncode, 0, done.tail())

    def test_with_the_broker_inside(self):
        dev = self.start(*self.arguments(" dev "), "--http", f"127.0.0.1:{free_ports(1)[0]}")
        dev.wait_log("hello.events")
        published = self.run_sipeat(*self.arguments(" publish "))
        self.assertEqual(published.returncode, 0, published.tail())
        dev.wait_log("good morning, Ada: 2 cup(s)")
        consumed = self.run_sipeat(*self.arguments(" consume "))
        self.assertEqual(consumed.returncode, 0, consumed.tail())
        self.assertIn("Ada", consumed.output)
        bad = self.arguments(" publish ")
        bad[bad.index("--data") + 1] = re.search(r'`(\{"name": "Bob".*?\})`', README)[1]
        self.assertEqual(self.run_sipeat(*bad).returncode, 0)
        dead = self.run_sipeat("consume", "hello.events-dlt", "--from-beginning", "--max", "1")
        self.assertIn("Bob", dead.output)
        self.assertEqual(dev.stop(), 0, dev.tail())

    def test_with_real_kafka_and_a_webhook(self):
        with Kafka() as kafka, FakeDiscord() as fake:
            for topic in ("hello.events", "hello.greeted", "hello.events-dlt"):
                kafka.wire.create_topic(topic)
            env = {"KAFKA_BROKERS": kafka.address, "DISCORD_WEBHOOK": fake.url}
            tried = self.run_sipeat(*self.arguments("discord test"), env=env)
            self.assertEqual(tried.returncode, 0, tried.tail())
            self.assertEqual(len(fake.messages()), 5)
            run = self.start(*self.arguments("sipeat-run "), env=env, binary=BINARY)
            event = {"id": "1", "type": "customer.hello", "data": {"name": "Ada", "cups": 2}}
            kcat.write(kafka.address, "hello.events", [("ada", json.dumps(event))])
            run.wait_log("good morning, Ada: 2 cup(s)")
            wait_for(lambda: len(fake.messages()) == 6, run.tail)
            self.assertEqual([r.value for r in kcat.read(kafka.address, "hello.greeted")], [b"Ada"])
            self.assertEqual(run.stop(), 0, run.tail())


if __name__ == "__main__":
    harness.main()
