"""The tutorial, command by command."""

import json
import re
import shlex
import urllib.request

from support import harness
from support.harness import SOURCE, save, wait_for

TUTORIAL = (SOURCE / "docs/tutorial.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.S) for line in block.splitlines()]


class Tutorial(harness.Case):
    def setUp(self):
        super().setUp()
        (self.dir / "examples").mkdir()
        for path in (SOURCE / "examples").glob("*.lua"):
            (self.dir / "examples" / path.name).write_text(path.read_text())

    typed = set()

    @classmethod
    def tearDownClass(cls):
        left = [line for line in COMMANDS if line not in cls.typed and not line.startswith("curl")]
        if left:
            raise AssertionError(f"not typed: {left}")

    def arguments(self, part):
        found = [line for line in COMMANDS if part in line]
        self.assertEqual(len(found), 1, f"{part!r} in {COMMANDS}")
        self.typed.add(found[0])
        return shlex.split(found[0])[1:]

    def command(self, part):
        done = self.run_sipeat(*self.arguments(part))
        self.assertEqual(done.returncode, 0, done.tail())
        return done.output

    def consume(self, topic, count):
        return self.run_sipeat("consume", topic, "--from-beginning", "--max", str(count)).output

    def test_hello(self):
        dev = self.start(*self.arguments("dev examples/hello.lua"))
        dev.wait_log("hello.events")
        self.command('"name": "Ada"')
        dev.wait_log("good morning, Ada: 2 cup(s)")
        path = self.dir / "examples/hello.lua"
        text = path.read_text()
        before = len(dev.raw)
        save(path, text.replace("good morning", "good evening"))
        wait_for(lambda: any("load" in line for line in dev.raw[before:]), dev.tail)
        self.command('"name": "Ada"')
        dev.wait_log("good evening, Ada: 2 cup(s)")
        save(path, text.replace("\nend\n", "\n", 1))
        dev.wait_log("hello.lua:")
        save(path, text)
        self.command('"name": "Bob"')
        self.assertIn("Bob", self.command("hello.events-dlt"))
        wrong = self.arguments('"name": "Ada"')
        wrong[wrong.index("--data") + 1] = re.search(r"`--data '(.*?)'`", TUTORIAL)[1]
        self.assertEqual(self.run_sipeat(*wrong).returncode, 0)
        self.assertIn("two", self.consume("hello.events-dlt", 2))
        self.assertEqual(dev.stop(), 0, dev.tail())

    def test_coffee(self):
        dev = self.start(*self.arguments("dev examples/coffee.lua"))
        dev.wait_log("coffee.orders")
        for name in ("Ada", "Bob", "Cid"):
            self.command(f'"customer": "{name}"')
        log = self.command("consume coffee.log")
        for text in ("took 8 g of beans", "brewed a espresso", "put 8 g of beans back"):
            self.assertIn(text, log)
        dead = self.consume("coffee.orders-dlt", 2)
        self.assertIn("Bob", dead)
        self.assertIn("Cid", dead)
        url, data = re.search(r"curl -sS (\S+) -d '(.*?)'", TUTORIAL).groups()
        at = wait_for(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", dev.log), dev.tail)[1]
        request = urllib.request.Request(url.replace("3000", at), data.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.assertEqual(answer.status, 202)
            self.assertIn("id", json.load(answer))
        self.assertIn("brewed a lungo", self.consume("coffee.log", 6))
        self.assertEqual(dev.stop(), 0, dev.tail())

    def test_the_resilient_example(self):
        dev = self.start("dev", SOURCE / "examples/resilient.lua", "--http", f"127.0.0.1:{harness.free_ports(1)[0]}")
        dev.wait_log("shop.orders")
        for key, data in {"a": {"amount": 5}, "b": {"amount": 7, "trouble": 1}, "c": {"amount": 0}}.items():
            published = self.run_sipeat("publish", "shop.ordered", "--topic", "shop.orders", "--key", key,
                                        "--data", json.dumps(data))
            self.assertEqual(published.returncode, 0, published.tail())
        paid = self.consume("shop.paid", 2)
        self.assertIn("paid at attempt 1", paid)
        self.assertIn("paid at attempt 2", paid)
        self.assertIn("NO_AMOUNT", dev.wait_log("dead letter: nothing to pay"))
        self.assertEqual(dev.stop(), 0, dev.tail())


if __name__ == "__main__":
    harness.main()
