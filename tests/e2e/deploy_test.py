"""What is installed: the Debian package, manual pages, completion, units, and what the service manager is told."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from support import harness
from support.harness import wait_for

SOURCE = pathlib.Path(os.environ["SIPEAT_SOURCE"])
BUILD = pathlib.Path(harness.BINARY).parent
SCRIPT = """
local sipeat = require "sipeat"
sipeat.http.route("GET /hello", function() return "hello" end)
"""


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False, **options)
    return done.returncode, done.stdout + done.stderr


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="sipeat-test-")))
        code, text = run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", cls.dir, cwd=cls.dir)
        assert code == 0, text
        cls.deb = next(cls.dir.glob("*.deb"))
        cls.root = cls.dir / "root"
        code, text = run("dpkg-deb", "-x", cls.deb, cls.root)
        assert code == 0, text
        cls.path = f"{cls.root}/usr/bin:{os.environ['PATH']}"

    def test_the_package_names_what_it_needs(self):
        code, depends = run("dpkg-deb", "-f", self.deb, "Depends")
        self.assertEqual(code, 0, depends)
        for library in ("librdkafka1", "libuv1", "libcurl4", "libmicrohttpd12", "libserialport0", "libsqlite3-0"):
            self.assertIn(library, depends)

    def test_the_program_runs_from_where_it_is_installed(self):
        code, text = run(self.root / "usr/bin/sipeat-run", "--help")
        self.assertEqual(code, 0, text)
        self.assertTrue(text.startswith("usage: sipeat run"), text)

    def test_each_verb_has_a_manual_page(self):
        code, text = run(self.root / "usr/bin/sipeat", "--help")
        verbs = re.findall(r"^  (\w+) +\S", text, re.M)
        self.assertGreater(len(verbs), 15)
        pages = self.root / "usr/share/man/man1"
        for verb in verbs:
            page = pages / f"sipeat-{verb}.1.gz"
            self.assertTrue(page.is_file(), page)
        for page in pages.iterdir():
            self.assertEqual(run("sh", "-c", f"gzip -dc {page} | mandoc -T lint -W error"), (0, ""), page)
        code, text = run("sh", "-c", f"gzip -dc {pages}/sipeat-topic.1.gz | mandoc -T ascii | col -b")
        self.assertIn("--partitions N", text)
        self.assertIn("sipeat topic create orders --partitions 12", text)

    def completed(self, line):
        """What bash offers after this line."""
        script = f"""
            source {self.root}/usr/share/bash-completion/completions/sipeat
            COMP_LINE='{line}' COMP_WORDS=({line.replace("''", "")} {"''" if line.endswith(" ") else ""})
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _sipeat; printf '%s\\n' "${{COMPREPLY[@]}}" """
        code, text = run("bash", "-c", script, env={**os.environ, "PATH": self.path})
        self.assertEqual(code, 0, text)
        return text.split()

    def test_bash_completes_verbs_and_options(self):
        self.assertEqual(sorted(self.completed("sipeat to")), ["token", "top", "topic"])
        self.assertEqual(self.completed("sipeat topic "), ["create", "list", "show", "delete"])
        self.assertEqual(self.completed("sipeat topic create --p"), ["--partitions", "--property"])
        self.assertEqual(self.completed("sipeat topic create --partitions "), [])
        self.assertIn("--no-watch", self.completed("sipeat-run --no"))

    def test_zsh_and_fish_can_read_theirs(self):
        folder = self.root / "usr/share"
        self.assertEqual(run("zsh", "-n", folder / "zsh/vendor-completions/_sipeat"), (0, ""))
        code, text = run("fish", "--no-config", "-c",
                         f"source {folder}/fish/vendor_completions.d/sipeat.fish; complete -C 'sipeat topic '",
                         env={**os.environ, "PATH": self.path})
        self.assertEqual(code, 0, text)
        self.assertIn("create\tcreate a topic", text)

    def test_the_units_are_valid_and_hardened(self):
        units = [self.dir / "sipeat@orders.service", self.dir / "sipeat-console.service"]
        for unit in units:
            text = (self.root / "usr/lib/systemd/system" / unit.name.replace("@orders", "@")).read_text()
            text = re.sub(r"^Documentation=.*$", "", text, flags=re.M)  # looks the page up on this machine
            unit.write_text(text.replace("/usr/bin/sipeat", f"{self.root}/usr/bin/sipeat"))
            self.assertEqual(run("systemd-analyze", "verify", unit), (0, ""))
            code, text = run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit)
            self.assertEqual(code, 0, text[-2000:])  # an exposure of at most 2.0 of 10


class Service(harness.Case):
    """As systemd sees it: what arrives at NOTIFY_SOCKET."""

    def begin(self, watchdog_ms=None):
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        place = self.dir / "notify"
        self.manager.bind(str(place))
        self.manager.setblocking(False)
        self.told = []
        env = {"NOTIFY_SOCKET": str(place)}
        if watchdog_ms:
            env["WATCHDOG_USEC"] = str(watchdog_ms * 1000)
        self.path = self.script(SCRIPT)
        return self.start("run", self.path, "--http", "127.0.0.1:0", env=env)

    def heard(self, part, count=1):
        def look():
            while True:
                try:
                    self.told.append(self.manager.recv(4096).decode())
                except BlockingIOError:
                    return sum(part in text for text in self.told) >= count
        wait_for(look, lambda: f"{count} of {part!r}, but {self.told}", 20, 0.02)

    def test_ready_reloading_and_stopping_are_told(self):
        process = self.begin()
        self.heard("READY=1\nSTATUS=version ")
        process.popen.send_signal(signal.SIGHUP)
        self.heard("RELOADING=1\nMONOTONIC_USEC=")
        self.heard("READY=1", 2)
        pathlib.Path(self.path).write_text("this is no Lua")
        self.heard("a newer one was refused: ")
        self.assertEqual(process.stop(), 0, process.tail())
        self.heard("STOPPING=1")
        self.assertNotIn("WATCHDOG", "".join(self.told))
        order = [text.split("=")[0] for text in self.told]
        self.assertEqual((order[0], order[-1]), ("READY", "STOPPING"))

    def test_the_watchdog_is_fed_by_the_loop(self):
        process = self.begin(watchdog_ms=200)
        self.heard("WATCHDOG=1", 5)
        self.assertEqual(process.stop(), 0, process.tail())

    def test_a_socket_that_is_not_there_is_said_and_does_not_matter(self):
        process = self.start("run", self.script(SCRIPT), "--http", "127.0.0.1:0",
                             env={"NOTIFY_SOCKET": str(self.dir / "none")})
        process.wait_log("connect to NOTIFY_SOCKET")
        process.wait_runs()
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
