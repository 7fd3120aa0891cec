"""`sipeat serial` as a person meets it: a simulated board, watched, asked, recorded, replayed, and diagnosed."""

import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import termios
import threading
import tty

from support import harness
from support.harness import BINARY, environment, wait_for

POLL = "fa fb 41 00 40"
ACK = "FA FB 42 00 43"


class World(harness.Case):
    def sim(self, *arguments, board="xy", link="board"):
        sim = self.start("serial", "sim", board, "--link", link, *arguments)
        wait_for(lambda: (self.dir / link).is_symlink(), sim.tail)
        return sim

    def serial(self, *arguments, code=0, deadline=60):
        done = self.run_sipeat("serial", *arguments, deadline=deadline)
        self.assertEqual(done.returncode, code, done.tail())
        return done

    def terminal(self):
        """A pseudo-terminal: our end as a descriptor, and the path of the other."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs, termios.TCSANOW)
        path = os.ttyname(theirs)
        os.close(theirs)
        self.addCleanup(os.close, ours)
        return ours, path

    @staticmethod
    def got(ours, count):
        """That many bytes; nothing is read while nobody has the other end open."""
        data = b""

        def more():
            nonlocal data
            try:
                data += os.read(ours, count - len(data))
            except OSError:
                pass
            return len(data) == count
        wait_for(more, lambda: f"{count} bytes, only {data!r}")
        return data


class Serial(World):
    def test_help_of_each_verb(self):
        for verb in ("list", "monitor", "send", "identify", "record", "replay", "sim", "doctor"):
            self.assertIn(f"usage: sipeat serial {verb}", self.serial(verb, "--help").output)

    def test_wrong_words_are_named(self):
        for arguments, part in (
                (("monitor", "x", "--format", "octal"), "--format is one of hex, text, raw, json"),
                (("monitor", "x", "--protocol", "xi"), "did you mean xy?"),
                (("send", "x", "f", "--hex"), "is no hex"),
                (("send", "x", "\\q"), "\\q is none of"),
                (("send", "x"), "TEXT or --file is missing"),
                (("sim", "xz"), "did you mean xy?"),
                (("sim", "xy", "--set", "motor"), "is no NAME=VALUE")):
            with self.subTest(arguments=arguments):
                self.assertIn(part, self.serial(*arguments, code=2).log)

    def test_boards_are_listed(self):
        boards = [json.loads(line) for line in self.serial("sim", "--json").output.splitlines()]
        self.assertIn("xy", [board["name"] for board in boards])
        self.assertEqual(next(b for b in boards if b["name"] == "xy")["baud"], 57600)

    def test_the_link_ends_with_the_board(self):
        sim = self.sim()
        self.assertEqual(sim.stop(), 0, sim.tail())
        self.assertFalse((self.dir / "board").is_symlink())
        (self.dir / "board").write_text("a file")
        self.assertIn("there is a file of this name", self.serial("sim", "xy", "--link", "board", code=1).log)
        self.assertEqual((self.dir / "board").read_text(), "a file")

    def test_monitor_shows_frames_in_words_with_their_time(self):
        self.sim()
        done = self.serial("monitor", "board", "--protocol", "xy", "--max", "3", "--time", "delta", "--log", "log.txt")
        rows = done.output.splitlines()
        self.assertEqual(len(rows), 3, done.tail())
        for row in rows:
            self.assertRegex(row, rf"^\+\d\.\d{{6}} < {POLL} +\|..A.@\|  POLL")
        gaps = [float(row.split()[0]) for row in rows[1:]]
        self.assertTrue(all(0.1 < gap < 2 for gap in gaps), gaps)
        self.assertEqual((self.dir / "log.txt").read_text(), done.output + "\n")
        self.serial("monitor", "board", "--max", "1", "--format", "raw", "--log", "log.txt")
        self.assertTrue((self.dir / "log.txt").read_bytes().startswith(rows[0].encode()))
        coloured = self.serial("monitor", "board", "-P", "xy", "--max", "1", "--colour", "always").output
        self.assertIn("\x1b[", coloured)

    def test_monitor_filters_and_ends_in_time(self):
        self.sim()
        hidden = self.serial("monitor", "board", "--protocol", "xy", "--hide", "poll", "--for", "1s")
        self.assertEqual(hidden.output, "")
        objects = self.serial("monitor", "board", "-P", "xy", "--filter", "POLL", "--format", "json", "--max", "2")
        self.assertEqual({json.loads(line)["dir"] for line in objects.output.splitlines()}, {"in"})

    def test_monitor_ends_well_on_a_signal(self):
        self.sim()
        monitor = self.start("serial", "monitor", "board")
        wait_for(lambda: "< fa" in monitor.output, monitor.tail)
        self.assertEqual(monitor.stop(signal.SIGINT), 0, monitor.tail())

    def test_monitor_waits_for_a_port_that_is_gone(self):
        sim = self.sim()
        monitor = self.start("serial", "monitor", "board", "--protocol", "xy")
        once = self.start("serial", "monitor", "other", "--no-reopen")
        self.assertEqual(once.wait(), 1, once.tail())
        self.assertIn("no such port", once.log)
        wait_for(lambda: "POLL" in monitor.output, monitor.tail)
        sim.stop()
        wait_for(lambda: "- lost: " in monitor.output, monitor.tail)
        self.sim()
        wait_for(lambda: "- open: " in monitor.output and monitor.output.endswith("POLL"), monitor.tail)
        self.assertEqual(monitor.stop(), 0, monitor.tail())

    def test_monitor_ends_with_its_port(self):
        sim = self.sim()
        monitor = self.start("serial", "monitor", "board", "-n")
        wait_for(lambda: monitor.output, monitor.tail)
        sim.stop()
        self.assertEqual(monitor.wait(), 1, monitor.tail())
        self.assertIn("lost: ", monitor.log)

    def test_list_goes_on_until_it_is_stopped(self):
        ports = [json.loads(line) for line in self.serial("list", "--json").output.splitlines()]
        self.assertTrue(all(port["path"].startswith("/dev/") for port in ports), ports)
        watch = self.start("serial", "list", "--watch", "--json")
        wait_for(lambda: [json.loads(line) for line in watch.out] == ports, watch.tail)
        self.assertEqual(watch.stop(signal.SIGINT), 0, watch.tail())

    def test_a_flood_is_shown_or_its_loss_is_told(self):
        ours, path = self.terminal()
        monitor = self.start("serial", "monitor", path, "--time", "off")
        wait_for(lambda: self.has_open(monitor, path), monitor.tail)
        sent, piece = 0, bytes(range(256)) * 16
        while sent < 8 << 20:
            sent += os.write(ours, piece)
        mark = b"the end of it"
        os.write(ours, mark)
        wait_for(lambda: "the end of it" in "".join(re.findall(r"\|(.*)\|$", "\n".join(monitor.out[-4:]), re.M)),
                 "the end")
        shown = sum(len(row[2:49].split()) for row in monitor.out if row.startswith("<"))
        told = [row for row in monitor.out if row.endswith("faster than they were taken, and are gone")]
        self.assertTrue(shown == sent + len(mark) or told, f"{shown} of {sent} and nothing said")
        self.assertEqual(monitor.stop(), 0)

    @staticmethod
    def has_open(process, path):
        folder = pathlib.Path(f"/proc/{process.popen.pid}/fd")
        return any(os.path.realpath(fd) == path for fd in folder.iterdir())

    def test_monitor_says_who_has_the_port(self):
        self.sim()
        first = self.start("serial", "monitor", "board")
        wait_for(lambda: first.output, first.tail)
        second = self.serial("monitor", "board", code=1)
        self.assertRegex(second.log, rf"{first.popen.pid}|sipeat")

    def test_a_port_that_cannot_be_opened(self):
        """Each verb says why in one line, with a hint, and ends with 1."""
        self.sim()
        holder = self.start("serial", "monitor", "board")
        wait_for(lambda: holder.output, holder.tail)
        _, closed = self.terminal()
        os.chmod(closed, 0o600)
        for verb in (("send", "hello"), ("monitor",), ("identify",), ("record", "/dev/null")):
            for port, user, part in (
                    ("gone", None, "no such port (is it plugged in? sipeat serial list shows what is there)"),
                    ("board", None, f"sipeat (process {holder.popen.pid}) has it"),
                    ("/dev/null", None, "this is no serial port"),
                    (closed, "nobody", "no group may use it, its mode is 0600")):
                with self.subTest(verb=verb[0], port=port):
                    done = subprocess.run(
                        [BINARY, "serial", verb[0], port, *verb[1:]], cwd="/" if user else self.dir, user=user,
                        env=environment("/tmp" if user else self.dir), capture_output=True, text=True, timeout=60,
                        check=False)
                    self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
                    self.assertRegex(done.stderr, rf"^sipeat serial {verb[0]}: open \S+: .*\n$")
                    self.assertIn(part, done.stderr)

    def test_monitor_stands_between_a_board_and_a_program(self):
        self.sim()
        ours, path = self.terminal()
        monitor = self.start("serial", "monitor", "board", "--through", path, "-P", "xy", "--time", "off")
        wait_for(lambda: "POLL" in monitor.output, monitor.tail)
        seen = b""
        while bytes.fromhex(POLL) not in seen:
            seen += os.read(ours, 100)
        os.write(ours, bytes.fromhex(ACK))
        wait_for(lambda: re.search(r"^> fa fb 42 00 43 .*ACK", monitor.output, re.M), monitor.tail)
        self.assertEqual(monitor.stop(), 0)

    def test_what_is_typed_is_sent(self):
        ours, path = self.terminal()
        process = subprocess.run(
            [BINARY, "serial", "monitor", path, "-i", "--time", "off", "--for", "2s", "--eol", "crlf"],
            input=b"hello\n:hex 00 FF\n:hex 0\n", cwd=self.dir, env=environment(self.dir), capture_output=True,
            timeout=30, check=False)
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(self.got(ours, 9), b"hello\r\n\x00\xff")
        self.assertIn(b"> 68 65 6c 6c 6f 0d 0a", process.stdout)
        self.assertIn(b"two digits a byte", process.stderr)

    def test_send_and_expect(self):
        self.sim()
        answer = self.serial("send", "board", "--hex", ACK, "--expect", "\\xfa\\xfb\\x41", "-P", "xy")
        self.assertIn("POLL", answer.output)
        failed = self.serial("send", "board", "x", "--expect", "never", "--answer", "300ms", code=1)
        self.assertIn("did not come back within 300ms", failed.log)
        ours, path = self.terminal()
        (self.dir / "bytes").write_bytes(bytes(range(256)))
        self.serial("send", path, "--file", "bytes")
        self.assertEqual(self.got(ours, 256), bytes(range(256)))
        self.serial("send", path, "a\\tb\\x00", "--eol", "cr", "--byte-delay", "1ms")
        self.assertEqual(self.got(ours, 5), b"a\tb\x00\r")

    def test_flow_control_is_set(self):
        ours, path = self.terminal()
        for word, flag, field in (("soft", termios.IXON | termios.IXOFF, 0), ("hard", termios.CRTSCTS, 2)):
            monitor = self.start("serial", "monitor", path, "-f", word)
            wait_for(lambda flag=flag, field=field: termios.tcgetattr(ours)[field] & flag == flag, monitor.tail)
            self.assertEqual(monitor.stop(), 0)
        self.serial("send", path, "x")
        self.assertEqual(termios.tcgetattr(ours)[2] & termios.CRTSCTS, 0)

    def test_the_last_bytes_before_the_end_arrive(self):
        ours, path = self.terminal()
        for _ in range(5):
            self.serial("send", path, "0123456789" * 20)
            self.assertEqual(self.got(ours, 200), b"0123456789" * 20)

    def test_identify_finds_the_protocol(self):
        self.sim()
        found = json.loads(self.serial("identify", "board", "--protocol", "xy", "--json").output)
        self.assertEqual((found["protocol"], found["port"]), ("xy", "board"))
        _, path = self.terminal()
        silent = self.serial("identify", path, "--protocol", "xy", "--timeout", "500ms", code=1)
        self.assertIn(f"nothing on {path} said what it is", silent.log)

    def test_a_session_is_recorded_shown_and_compared(self):
        self.sim()
        self.serial("record", "board", "s.jsonl", "--protocol", "xy", "--max", "3", "--note", "on the bench")
        lines = [json.loads(line) for line in (self.dir / "s.jsonl").read_text().splitlines()]
        self.assertEqual((lines[0]["sipeat_session"], lines[0]["note"]), (1, "on the bench"))
        self.assertEqual({line["hex"] for line in lines[1:]}, {POLL})
        self.assertEqual(self.serial("replay", "s.jsonl").output.count("POLL"), 3)
        same = self.serial("replay", "s.jsonl", "board", "--yes", "--answer", "3s")
        self.assertIn("came then came again", same.log)
        text = (self.dir / "s.jsonl").read_text().replace("41 00 40", "41 00 99")
        (self.dir / "other.jsonl").write_text(text)
        parts = self.serial("replay", "other.jsonl", "board", "--yes", "--answer", "2s", code=1)
        self.assertIn("byte 5 of 15 parts: 99", parts.log)
        refused = self.serial("replay", "s.jsonl", "board", code=1)
        self.assertIn("nothing was sent", refused.log)

    def test_a_session_plays_the_board(self):
        ours, path = self.terminal()
        (self.dir / "s.jsonl").write_text(
            '{"sipeat_session":1,"port":"x","started":"2024-01-01T00:00:00Z"}\n'
            '{"t_us":0,"dir":"in","hex":"41"}\n{"t_us":10,"dir":"out","hex":"42"}\n{"t_us":20,"dir":"in","hex":"43"}\n')
        board = self.start("serial", "replay", "s.jsonl", path, "--as", "board", "--answer", "10s")
        self.assertEqual(self.got(ours, 1), b"A")
        os.write(ours, b"B")
        self.assertEqual(self.got(ours, 1), b"C")
        self.assertEqual(board.wait(), 0, board.tail())

    def test_commands_of_the_simulated_board(self):
        sim = subprocess.Popen(
            [BINARY, "serial", "sim", "xy", "--json"], cwd=self.dir, env=environment(self.dir), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = sim.communicate("state\nfault kind=jam times=2\nfault kind=jaam\nbogus\nquit\n", timeout=30)
        first, state, fault = [json.loads(line) for line in out.splitlines()]
        self.assertTrue(first["path"].startswith("/dev/pts/"), first)
        self.assertEqual((state["ok"], state["orders"], fault["ok"]), (True, 0, True))
        self.assertIn("jam", err)
        self.assertIn("bogus", err)
        self.assertEqual(sim.returncode, 0)


class Doctor(World):
    def checks(self, *arguments, code):
        done = self.serial("doctor", *arguments, "--json", code=code)
        return {c["check"]: c for c in map(json.loads, done.output.splitlines())}

    def test_nothing_is_wrong(self):
        self.sim()
        found = self.checks("board", "--protocol", "xy", code=0)
        self.assertEqual({name: c["state"] for name, c in found.items()},
                         {"port": "ok", "permission": "ok", "open": "ok", "board": "ok"})
        self.assertIn("Nothing is wrong with it.", self.serial("doctor", "board", "-P", "xy").output)

    def test_no_port_and_no_terminal(self):
        self.assertEqual(self.checks("gone", code=1)["port"]["state"], "bad")
        (self.dir / "file").write_text("")
        self.assertIn("is no serial port", self.checks("file", code=1)["port"]["text"])

    def test_a_port_that_this_user_may_not_open(self):
        """As root everything is allowed: another user looks at it."""
        ours, path = self.terminal()
        os.chmod(path, 0o600)
        os.chmod(self.dir, 0o755)
        for folder in pathlib.Path(BINARY).parents:
            self.assertTrue(folder.stat().st_mode & 0o001, f"{folder} is closed to others")
        done = subprocess.run([BINARY, "serial", "doctor", path], cwd="/", env=environment("/tmp"), user="nobody",
                              capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("nobody may not open", done.stdout)
        self.assertIn("->", done.stdout)
        self.assertEqual(os.ttyname(os.open(path, os.O_RDWR | os.O_NOCTTY)), path)
        del ours

    def test_a_port_that_somebody_has(self):
        self.sim()
        monitor = self.start("serial", "monitor", "board")
        wait_for(lambda: monitor.output, monitor.tail)
        found = self.checks("board", code=1)
        self.assertEqual((found.get("holder") or found["open"])["state"], "bad", found)

    def test_a_board_that_is_silent(self):
        _, path = self.terminal()
        found = self.checks(path, "--protocol", "xy", "--listen", "200ms", code=1)
        self.assertEqual((found["board"]["state"], found["listen"]["state"], found["echo"]["state"]),
                         ("bad", "warn", "note"))

    def talks(self, what):
        """A terminal that says something again and again."""
        ours, path = self.terminal()
        over = threading.Event()

        def say():
            while not over.wait(0.02):
                os.write(ours, what)
        thread = threading.Thread(target=say, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(over.set)
        return path

    def test_what_makes_no_sense(self):
        path = self.talks(b"\x83\xf1\x00\x9c\xe6")
        found = self.checks(path, "--protocol", "xy", "--listen", "100ms", code=1)
        self.assertEqual((found["board"]["state"], found["speed"]["state"]), ("bad", "bad"))
        self.assertIn("makes no sense at 57600 baud", found["speed"]["text"])
        self.assertIn("--parity", found["speed"]["advice"])

    def test_what_makes_sense(self):
        found = self.checks(self.talks(b"ready\r\n"), "--listen", "100ms", code=0)
        self.assertEqual(found["listen"]["state"], "ok")

    def loop(self, change=lambda data: data):
        ours, path = self.terminal()

        over = threading.Event()

        def echo():
            while not over.is_set():
                try:
                    os.write(ours, change(os.read(ours, 4096)))
                except OSError:  # nobody has the other end open
                    over.wait(0.01)
        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(lambda: os.close(os.open(path, os.O_RDWR | os.O_NOCTTY)))  # it wakes up
        self.addCleanup(over.set)
        return path

    def test_loopback(self):
        path = self.loop()
        self.assertIn("all 256 bytes", self.checks(path, "--loopback", code=0)["loopback"]["text"])

    def test_loopback_that_loses_xon(self):
        path = self.loop(lambda data: data.replace(b"\x11", b"").replace(b"\x13", b""))
        found = self.checks(path, "--loopback", code=1)["loopback"]
        self.assertIn("XON, XOFF", found["text"])
        self.assertIn("--flow none", found["advice"])

    def test_an_echo(self):
        path = self.loop()
        found = self.checks(path, "--protocol", "xy", "--listen", "200ms", code=1)
        self.assertEqual(found["echo"]["state"], "warn")


if __name__ == "__main__":
    harness.main()
