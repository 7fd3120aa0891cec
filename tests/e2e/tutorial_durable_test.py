"""The tutorial of durable chains, command by command."""

import re
import shlex

from support import harness
from support.harness import SOURCE, get, wait_for

TUTORIAL = (SOURCE / "docs/tutorial-durable.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.S) for line in block.splitlines()]


class Tutorial(harness.Case):
    def setUp(self):
        super().setUp()
        (self.dir / "examples").mkdir()
        (self.dir / "examples/tea.lua").write_text((SOURCE / "examples/tea.lua").read_text())
        self.left = list(COMMANDS)

    def next(self, begins):
        command = self.left.pop(0)
        self.assertTrue(command.startswith(begins), command)
        return command

    def dev(self):
        words = self.next("build/release/sipeat dev").removesuffix(" & tea=$!")
        return self.start(*shlex.split(words)[1:])

    def publish(self):
        done = self.run_sipeat(*shlex.split(self.next("build/release/sipeat publish"))[1:])
        self.assertEqual(done.returncode, 0, done.tail())

    def kill(self, process):
        self.assertEqual(self.next("kill -9"), "kill -9 $tea")
        process.popen.kill()
        process.wait()

    def says(self, process, text):
        """What the page quotes is what the log has."""
        self.assertIn(text, TUTORIAL)
        process.wait_log(text)

    def world(self, process):
        at = wait_for(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", process.log), process.tail)[1]
        url = self.next("curl -sS").split(" ")[2].replace("3000", at)
        status, body = get(url)
        self.assertEqual(status, 200, body)
        self.assertIn(body.decode(), TUTORIAL)
        return body.decode()

    def test_killed_twice_and_served_once(self):
        dev = self.dev()
        dev.wait_log("joining the group")
        self.publish()
        self.says(dev, "charged 250 cents")
        self.kill(dev)
        dev = self.dev()
        self.says(dev, "which was not closed, has open: 1 active")
        self.says(dev, "the machine pours assam")
        self.kill(dev)
        dev = self.dev()
        self.says(dev, "asked the machine: it poured 1 cup(s)")
        self.says(dev, "served assam to Ada")
        self.assertEqual(self.world(dev), "charged 1, poured 1")
        self.publish()
        dev.wait_log("charged 250 cents")
        self.assertEqual(self.next("kill"), "kill $tea")
        self.assertEqual(dev.stop(), 0, dev.tail())
        self.assertIn("served sencha to Bob", dev.log)
        self.assertEqual(self.left, [])


if __name__ == "__main__":
    harness.main()
