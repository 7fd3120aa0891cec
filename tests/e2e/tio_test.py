"""docs/tio.md names every option of tio, and each of its commands works against a simulated board."""

import os
import re
import shlex
import socket
import subprocess

from support import harness
from support.harness import SOURCE, wait_for

ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (SOURCE / "docs/tio.md").read_text().splitlines() if line.startswith("| `-")]


class Tio(harness.Case):
    def setUp(self):
        super().setUp()
        self.sim = self.start("serial", "sim", "xy", "--link", "board")
        wait_for(lambda: (self.dir / "board").is_symlink(), self.sim.tail)

    def test_every_option_has_a_row(self):
        text = subprocess.run(["tio", "--help"], capture_output=True, text=True, check=True).stdout
        options = re.findall(r"^\s+(?:-(\w), )?\s*--([\w-]+)", text, re.M)
        self.assertGreater(len(options), 25)
        wanted = [f"-{letter}, --{name}" if letter else f"--{name}" for letter, name in options]
        self.assertEqual([row[0].strip("`") for row in ROWS], wanted)

    def test_every_command_works(self):
        for option, command, _ in ROWS:
            words = shlex.split(command.strip("`"))
            self.assertEqual(words[0], "sipeat")
            if "--through" in words:
                continue  # below
            if words[1:3] == ["serial", "monitor"] and "--help" not in words:
                words += ["--max", "1"] if "text" not in words else ["--for", "1s"]
            with self.subTest(option=option, command=command):
                done = self.run_sipeat(*words[1:])
                self.assertEqual(done.returncode, 0, done.tail())
        self.assertIn("fa fb 41", (self.dir / "board.log").read_text())

    def test_a_socket(self):
        row = next(row for row in ROWS if "--through" in row[1])
        monitor = self.start(*shlex.split(row[1].strip("`"))[1:])
        wait_for(lambda: (self.dir / "line").is_symlink(), monitor.tail)
        socat = subprocess.Popen(shlex.split(re.search(r"`(socat[^`]*)`", row[2])[1]), cwd=self.dir)
        self.addCleanup(socat.wait)
        self.addCleanup(socat.kill)
        wait_for(lambda: os.path.exists(self.dir / "line.sock"), "socat listens")
        with socket.socket(socket.AF_UNIX) as program:
            program.connect(str(self.dir / "line.sock"))
            program.settimeout(10)
            got = b""
            while bytes.fromhex("fafb410040") not in got:
                got += program.recv(100)
            program.sendall(bytes.fromhex("fafb420043"))
            wait_for(lambda: "> fa fb 42 00 43" in monitor.output, monitor.tail)
        self.assertEqual(monitor.stop(), 0, monitor.tail())


if __name__ == "__main__":
    harness.main()
