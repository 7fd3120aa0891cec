"""docs/tio.md names every option of tio, and each of its commands works against a simulated board."""

import os
import re
import shlex
import socket
import subprocess
import threading

from support import harness
from support.harness import SOURCE, wait_for

ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (SOURCE / "docs/tio.md").read_text().splitlines() if line.startswith("| `-")]


class PortServer:
    """Enough of RFC 2217 for one client: agrees to everything, confirms each setting, notes what it was told."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self.listener.getsockname()[1]}"
        self.controls = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with self.listener, self.listener.accept()[0] as client:
            data = b""
            while True:
                try:
                    more = client.recv(1000)
                except ConnectionResetError:
                    return
                if not more:
                    return
                data = self.answer(client, data + more)

    def answer(self, client, data):
        while True:
            found = re.search(rb"\xff[\xfb\xfd](.)|\xff\xfa\x2c(.)(.*?)\xff\xf0", data, re.S)
            if not found:
                return data
            if found[1]:
                client.sendall((b"\xff\xfd" if data[found.start() + 1] == 0xfb else b"\xff\xfb") + found[1])
            else:
                if found[2] == b"\x05":
                    self.controls.append(found[3][0])
                client.sendall(b"\xff\xfa\x2c" + bytes([found[2][0] + 100]) + found[3] + b"\xff\xf0")
            data = data[found.end():]

    def close(self):
        self.listener.close()
        self.thread.join(10)


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
            if "--through" in words or "--pulse" in words:
                continue  # below
            if words[1:3] == ["serial", "monitor"] and "--help" not in words:
                words += ["--max", "1"] if "text" not in words else ["--for", "1s"]
            with self.subTest(option=option, command=command):
                done = self.run_sipeat(*words[1:])
                self.assertEqual(done.returncode, 0, done.tail())
        self.assertIn("fa fb 41", (self.dir / "board.log").read_text())

    def test_a_pulse(self):
        """Pseudo-terminals have no modem lines: a port server does."""
        row = next(row for row in ROWS if "--pulse" in row[1])
        server = PortServer()
        self.addCleanup(server.close)
        words = [server.url if word == "board" else word for word in shlex.split(row[1].strip("`"))]
        done = self.run_sipeat(*words[1:])
        self.assertEqual(done.returncode, 0, done.tail())
        self.assertEqual([c for c in server.controls if c in (8, 9)], [9, 8])  # DTR off, DTR on
        without = self.run_sipeat("serial", "send", "board", "--pulse", "rts=10ms")
        self.assertEqual(without.returncode, 1, without.tail())

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
