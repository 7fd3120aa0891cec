"""A real USB serial adapter, as far as the kernel is concerned: Debian's kernel with ftdi_sio, udev and libserialport
in a virtual machine, unplugged in the middle of an order and plugged in again. See support/vm.py."""

import json
import os
import random
import subprocess
import threading
import tty

from support import harness
from support.harness import BINARY, SOURCE, wait_for
from support.vm import Machine

SIMULATED = ("--set", "profile=dispenser", "--set", "motor_ms=4000", "--set", "clears=0")


class Board:
    """`sipeat serial sim` on the host."""

    def __init__(self, case, protocol, *arguments):
        self.link = case.dir / f"{protocol}-{len(case.boards)}"
        self.process = subprocess.Popen(
            [BINARY, "serial", "sim", protocol, "--link", self.link, "--json", *arguments], cwd=case.dir, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=harness.environment(case.dir))
        case.boards.append(self)
        self.path = json.loads(self.process.stdout.readline())["path"]

    def state(self):
        self.process.stdin.write("state\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


def answer(far):
    """The board at the other end: what it says when it is greeted."""
    heard = b""
    while b"hello" not in heard:
        heard += os.read(far, 100)
    os.write(far, b"world")


class Lossy:
    """The line to the guest's shell that loses the first bytes of lines, and now and then what comes back."""

    def __init__(self, line):
        self.line, self.random = line, random.Random(4)

    def __getattr__(self, name):
        return getattr(self.line, name)

    def sendall(self, data):
        self.line.sendall(data[3:] if self.random.random() < 0.5 else data)

    def recv(self, size):
        data = self.line.recv(size)
        return data[:-2] if self.random.random() < 0.2 else data


class Usb(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(harness.tempfile.TemporaryDirectory(prefix="sipeat-vm-"))
        scripts = {f"/{path.name}": path for path in (SOURCE / "tests/e2e/guest").glob("*.lua")}
        cls.vm = Machine(cls.folder, scripts)
        cls.addClassCleanup(cls.vm.close)

    def setUp(self):
        super().setUp()
        self.boards, self.plugged = [], []
        self.addCleanup(self.tidy)

    def tidy(self):
        for name in self.plugged:
            self.vm.unplug(name)
        for board in self.boards:
            board.close()
        self.vm.run("rm -rf /tmp/out; killall -q sipeat")

    def plug(self, name, board, port, serial="A1"):
        self.vm.plug(name, board.path, port, serial)
        self.plugged.append(name)

    def unplug(self, name):
        self.plugged.remove(name)
        self.vm.unplug(name)

    def wait_port(self):
        wait_for(lambda: self.vm.run("test -e /dev/ttyUSB0 && ls /dev/serial/by-path/*")[0] == 0,
                 "the port in the guest")

    def begin(self, script):
        """Runs the bench file in the guest, in the background; its report goes to /tmp/out."""
        self.vm.run(f"cd /tmp; sipeat bench /{script} --port /dev/ttyUSB0 --yes --serial T1 --keep-going --json "
                    "> /tmp/report 2> /tmp/log && mv /tmp/report /tmp/out || mv /tmp/report /tmp/out &")

    def report(self):
        """{name: value} of all steps, when it is done."""
        wait_for(lambda: self.vm.run("test -e /tmp/out")[0] == 0, lambda: self.vm.run("cat /tmp/log")[1], 90, 0.5)
        text = self.vm.run("cat /tmp/out")[1]
        phases = json.loads(text)["devices"][0]["phases"]
        steps = {f"{phase['name']}: {step['name']}": step.get("value") for phase in phases
                 for step in phase["steps"] if "value" in step}
        return steps, text + self.vm.run("cat /tmp/log")[1]

    def test_a_line_that_loses_bytes_runs_each_command_once(self):
        sound = self.vm.shell
        self.vm.shell = Lossy(sound)
        try:
            for n in range(1, 5):
                self.assertEqual(self.vm.run("echo once >> /tmp/ran; wc -l < /tmp/ran; test -e /none"), (1, f"{n}\n"))
        finally:
            self.vm.shell = sound
        self.assertEqual(self.vm.run("wc -l < /tmp/ran"), (0, "4\n"))

    def test_the_port_is_listed_as_what_it_is(self):
        self.plug("listed", Board(self, "modbus", *SIMULATED), 1)
        self.wait_port()
        code, text = self.vm.run("sipeat serial list --json")
        self.assertEqual(code, 0, text)
        ports = {port["path"]: port for port in map(json.loads, text.splitlines())}
        port = ports["/dev/ttyUSB0"]
        self.assertEqual((port["vid"], port["pid"], port["serial"], port["driver"]), (0x0403, 0x6001, "A1", "ftdi_sio"))
        self.assertIn("/dev/serial/by-path/", port["by_path"])

    def test_list_says_what_comes_and_goes(self):
        self.vm.run("mkdir -p /run/lock; sipeat serial list --watch --json > /tmp/watch 2>&1 &")
        board = Board(self, "xy")

        def told():
            lines = self.vm.run("cat /tmp/watch")[1].splitlines()
            events = [json.loads(line) for line in lines if line.startswith("{")]
            return [(e["event"], e.get("serial"), e.get("holder")) for e in events
                    if e.get("event") and e["path"] == "/dev/ttyUSB0"]

        def says(*events, skipping=None):
            wait_for(lambda: [event for event in told() if event != skipping] == list(events),
                     lambda: f"told of {events}, but of {told()}", 60, 0.5)
        wait_for(lambda: "ttyS0" in self.vm.run("cat /tmp/watch")[1], "what is there at first")
        self.plug("one", board, 1, "A1")
        says(("new", "A1", None))
        self.vm.run("sipeat serial monitor /dev/ttyUSB0 > /tmp/seen 2>&1 & echo $! > /tmp/pid")
        pid = self.vm.run("cat /tmp/pid")[1].strip()
        held = ("changed", "A1", f"sipeat (process {pid})")
        says(("new", "A1", None), held)
        self.unplug("one")
        # The monitor may let go of the port before `list` finds that it has gone, or after.
        wait_for(lambda: told()[-1][0] == "gone", lambda: f"told that it has gone, but {told()}", 60, 0.5)
        let_go = ("changed", "A1", None)
        says(("new", "A1", None), held, ("gone", "A1", None if let_go in told() else held[2]), skipping=let_go)

    def test_a_port_is_set_up_and_has_one_master(self):
        far, near = os.openpty()
        self.addCleanup(os.close, near)
        self.addCleanup(os.close, far)
        tty.setraw(near)
        self.vm.plug("raw", os.ttyname(near), 4, "A1")
        self.plugged.append("raw")
        self.wait_port()
        threading.Thread(target=answer, args=(far,), daemon=True).start()
        self.vm.run("mkdir -p /run/lock")
        self.begin("port.lua")
        steps, text = self.report()
        self.assertEqual(steps, {
            "port: lines": "dtr false, rts true", "port: other lines": "dtr true, rts false", "port: break": True,
            "port: locked": "EBUSY, this process has it, says /run/lock/LCK..ttyUSB0",
            "port: holder": "this process", "port: answer": "world", "port: direction": "ENOTSUP",
            "port: mark": True, "port: odd speed": True, "port: by path": "/dev/ttyUSB0"}, text)
        mode = self.vm.run("stty -F /dev/ttyUSB0 -a")[1]
        for word in ("-hupcl", "min = 1;", "-icrnl", "-ixon", "-echo ", "clocal"):
            self.assertIn(word, mode)
        self.assertEqual(self.vm.run("cat /sys/bus/usb-serial/devices/ttyUSB0/latency_timer")[1].strip(), "1")
        self.assertEqual(self.vm.run("ls /run/lock")[1].strip(), "")

    def test_unplugged_in_the_middle_of_an_order_and_plugged_in_elsewhere(self):
        board = Board(self, "modbus", *SIMULATED)
        self.plug("first", board, 1)
        self.wait_port()
        self.begin("unplugged.lua")
        wait_for(lambda: board.state()["orders"] == 1, lambda: self.vm.run("cat /tmp/log")[1], 60)
        self.unplug("first")
        wait_for(lambda: board.state()["fallen"] == 1, "what was ordered falls without us")
        self.plug("second", board, 3)
        steps, text = self.report()
        self.assertEqual(steps, {"order: outcome": "unknown", "order: link after": "down", "order: resolved": "done",
                                 "next order: outcome": "done"}, text)
        state = board.state()
        self.assertEqual((state["orders"], state["motor_runs"], state["fallen"]), (2, 2, 2))

    def test_another_board_behind_the_same_adapter_is_not_commanded(self):
        board, other = Board(self, "modbus", *SIMULATED), Board(self, "xy")
        self.plug("first", board, 2)
        self.wait_port()
        self.begin("swapped.lua")
        wait_for(lambda: self.vm.run("grep -q 'first order is over' /tmp/log")[0] == 0,
                 lambda: self.vm.run("cat /tmp/log")[1], 60)
        self.unplug("first")
        self.plug("second", other, 2)
        steps, text = self.report()
        self.assertEqual(steps["orders: first"], "done", text)
        self.assertNotIn(steps["orders: with another board"], ("done", "unknown"), text)
        self.assertEqual(other.state()["motor_runs"], 0)


if __name__ == "__main__":
    harness.main()
