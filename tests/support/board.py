"""A simulated board in a process of its own: it outlives whatever kills or freezes the host.

    with Board("modbus", "/tmp/x/board", motor_ms=100) as board:     a pseudo-terminal at that name
        board.command("state")                                       {"motor_runs": 0, "fallen": 0, …}
        board.unplug()                                               the host sees it gone
        board.replug()                                               and back, under the same name
"""

import contextlib
import json
import queue
import subprocess
import threading

from support import harness


class Board:
    """What `sipeat serial sim` plays; settings are those of the simulator."""

    def __init__(self, protocol, link, **settings):
        words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        self.link = str(link)
        self.popen = subprocess.Popen(
            [str(harness.BINARY), "serial", "sim", protocol, "--link", self.link, "--json", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.turn = threading.Lock()
        self.said = self.line()

    def read(self):
        for line in self.popen.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def line(self):
        line = self.lines.get(timeout=20)
        if line is None:
            raise AssertionError(f"the board ended: {self.popen.stderr.read()}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.wait(10)
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            with contextlib.suppress(BrokenPipeError):  # it ended first: said by `line`
                pipe.close()

    def command(self, name, **fields):
        with self.turn:
            self.popen.stdin.write(" ".join([name, *(f"{key}={value}" for key, value in fields.items())]) + "\n")
            self.popen.stdin.flush()
            answer = self.line()
        if not answer.get("ok"):
            raise AssertionError(f"{name}: {answer}")
        return answer

    def unplug(self):
        self.command("unplug")

    def replug(self):
        self.command("replug")

    def fault(self, kind, **fields):
        self.command("fault", kind=kind, **fields)
