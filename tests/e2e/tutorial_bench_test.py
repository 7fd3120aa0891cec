"""The tutorial of the bench, command by command."""

import re
import shlex
import subprocess
import xml.etree.ElementTree as ElementTree

from support import harness
from support.harness import BINARY, SOURCE, environment, wait_for

TUTORIAL = (SOURCE / "docs/tutorial-bench.md").read_text()
BLOCKS = re.findall(r"```(sh|text)?\n(.*?)```", TUTORIAL, re.S)


class Tutorial(harness.Case):
    def setUp(self):
        super().setUp()
        (self.dir / "examples").symlink_to(SOURCE / "examples")
        self.left = [line for _, block in BLOCKS for line in block.splitlines()]
        self.sim = None

    def next(self, begins):
        command = self.left.pop(0)
        self.assertTrue(command.startswith(begins), f"{command!r} does not begin with {begins!r}")
        return command

    def sipeat(self, begins, says=(), code=0):
        words = shlex.split(self.next("build/release/sipeat " + begins))[1:]
        done = self.run_sipeat(*words)
        self.assertEqual(done.returncode, code, done.tail())
        for text in says:
            self.assertIn(text, TUTORIAL)
            self.assertIn(text, done.output + done.log)
        return done

    def first_terminal(self):
        words = shlex.split(self.next("build/release/sipeat serial sim"))[1:]
        self.sim = subprocess.Popen([BINARY, *words], cwd=self.dir, env=environment(self.dir), text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.sim.wait)
        self.addCleanup(self.sim.kill)
        self.addCleanup(self.sim.stdout.close)
        self.addCleanup(self.sim.stdin.close)
        said = self.sim.stdout.readline().strip()
        self.assertIn(f"`{said}`", TUTORIAL)

    def typed(self, text):
        self.sim.stdin.write(text + "\n")
        self.sim.stdin.flush()

    def test_as_written(self):
        self.first_terminal()
        self.sipeat("serial list")
        self.sipeat("serial doctor", ["Nothing is wrong with it."])
        self.sipeat("serial identify")
        rows = self.sipeat("serial monitor", ["POLL"]).output.splitlines()
        self.assertEqual(len(rows), 5)
        self.assertIn("POLL", self.sipeat("serial send").output)
        self.sipeat("serial record")
        self.assertIn("POLL", self.sipeat("serial replay").output)
        self.sipeat("bench", ["1 of 1 devices passed"])
        self.typed(self.next("fault kind=jam"))
        self.assertIn("ok=true", self.sim.stdout.readline())
        self.sipeat("bench", ["0 of 1 devices passed"], code=1)
        report = self.sipeat("bench")
        self.assertIn("2 of 2 devices passed", report.output)
        self.assertEqual(self.next("xdg-open"), "xdg-open report.html")
        page = (self.dir / "report.html").read_text()
        self.assertEqual(page.count("<canvas "), 8)  # two boards, two series, two plots
        suites = ElementTree.parse(self.dir / "report.xml").getroot()
        self.assertEqual([suite.get("failures") for suite in suites], ["0", "0"])
        self.typed("quit")
        self.assertEqual(self.sim.wait(30), 0)
        self.pair()
        self.assertEqual(self.left, [])

    def pair(self):
        words = shlex.split(self.next("socat").removesuffix(" & pair=$!"))
        socat = subprocess.Popen(words, cwd=self.dir, stderr=subprocess.DEVNULL)
        self.addCleanup(socat.wait)
        self.addCleanup(socat.kill)
        wait_for(lambda: (self.dir / "left").is_symlink() and (self.dir / "right").is_symlink(), "a pair")
        monitor, send = self.next("build/release/sipeat serial monitor").split(" & ")
        monitor = self.start(*shlex.split(monitor)[1:])
        wait_for(lambda: self.holds("left"), "the monitor has it open")
        self.assertEqual(self.run_sipeat(*shlex.split(send)[1:]).returncode, 0)
        self.assertEqual(monitor.wait(), 0, monitor.tail())
        self.assertIn("|hello.|", monitor.output)
        self.assertEqual(self.next("kill"), "kill $pair")

    def holds(self, name):
        """Whether a process of ours has the terminal open."""
        path = str((self.dir / name).resolve())
        for process in self.processes:
            folder = harness.pathlib.Path(f"/proc/{process.popen.pid}/fd")
            if folder.exists() and any(str(fd.resolve()) == path for fd in folder.iterdir()):
                return True
        return False


if __name__ == "__main__":
    harness.main()
