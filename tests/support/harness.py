"""Starts sipeat as a person would, keeps what it prints, and waits for things with a deadline instead of sleeping.

A test is a unittest.TestCase of `Case`: it has a directory of its own (`self.dir`, also the process's working
directory), and whatever it starts through the case is ended with it. `main()` runs a file's tests; a skip fails.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from support.kafka import free_ports  # noqa: F401 - for the tests

SOURCE = pathlib.Path(os.environ.get("SIPEAT_SOURCE", pathlib.Path(__file__).parents[2]))
BINARY = pathlib.Path(os.environ.get("SIPEAT_BINARY", SOURCE / "build/release/sipeat"))
PIPELINE = SOURCE / "scripts/pipeline.lua"
KEPT = ("PATH", "HOME", "LANG", "TERM", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
# A wait ends when what it waits for is there; only one that fails lasts longer on a machine that is patient.
PATIENCE = float(os.environ.get("SIPEAT_TEST_PATIENCE", "3"))
RUNS = re.compile(r"\bversion \w+ runs\b")  # "one runs inside", of the embedded broker, is long before
SANITIZERS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer")


def wait_for(condition, what, deadline=30, every=0.05):
    """The first true value of condition(); fails with `what` (a text or a function) after `deadline` seconds,
    times the machine's patience."""
    deadline *= PATIENCE
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline} s: not {what() if callable(what) else what}")
        time.sleep(every)


def environment(cwd, extra=None):
    """A clean environment: nothing of the machine's own settings reaches the program under test, and what it leaves
    for other processes is found only by those of the same directory."""
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env.update(XDG_RUNTIME_DIR=str(cwd), SIPEAT_HTTP=os.environ.get("SIPEAT_HTTP_OVERRIDE") or "127.0.0.1:0")
    env.update({name: str(value) for name, value in (extra or {}).items() if value is not None})
    return env


class Process:
    """A running sipeat. `lines` are its log lines, parsed where they are JSON; `out` is its standard output."""

    def __init__(self, arguments, cwd, env=None, binary=BINARY):
        self.command = [str(binary), *map(str, arguments)]
        self.lines, self.raw, self.out = [], [], []
        self.popen = subprocess.Popen(
            self.command, cwd=cwd, env=environment(cwd, env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.readers = [threading.Thread(target=self.read_log, daemon=True),
                        threading.Thread(target=self.read_out, daemon=True)]
        for reader in self.readers:
            reader.start()

    def read_log(self):
        for line in self.popen.stderr:
            text = line.decode("utf-8", "replace").rstrip("\n")
            self.raw.append(text)
            with contextlib.suppress(ValueError):
                entry = json.loads(text)
                if isinstance(entry, dict):
                    self.lines.append(entry)

    def read_out(self):
        for line in self.popen.stdout:
            self.out.append(line.decode("utf-8", "replace").rstrip("\n"))

    @property
    def log(self):
        return "\n".join(list(self.raw))

    @property
    def output(self):
        return "\n".join(list(self.out))

    def wait_log(self, part, deadline=30):
        """The first line of the log that contains `part`."""
        def look():
            if self.popen.poll() is not None:
                for reader in self.readers:
                    reader.join(5)
            found = next((line for line in list(self.raw) if part in line), None)
            if found is None and self.popen.poll() is not None:
                raise AssertionError(f"ended with {self.popen.returncode} before it logged {part!r}:\n{self.tail()}")
            return found
        return wait_for(look, lambda: f"in the log: {part!r}\n{self.tail()}", deadline)

    def wait_runs(self, deadline=30):
        """Until its script runs: the routes are there. Before, they answer 503."""
        self.until(lambda: any(RUNS.search(line) for line in list(self.raw)), "its script runs", deadline, 0.05)

    def until(self, condition, what, deadline=30, every=0.1):
        """As wait_for, of something that this process does: fails at once when it has ended."""
        def look():
            value = condition()
            if not value and self.popen.poll() is not None:
                self.wait()
                raise AssertionError(f"ended with {self.popen.returncode} before: {what}\n{self.tail()}")
            return value
        return wait_for(look, lambda: f"{what() if callable(what) else what}\n{self.tail()}", deadline, every)

    def tail(self, lines=40):
        return "\n".join([" ".join(self.command), *list(self.raw)[-lines:], *list(self.out)[-lines:]])

    def wait(self, deadline=30):
        """Its exit code, after it has ended by itself."""
        deadline *= PATIENCE
        try:
            self.popen.wait(deadline)
        except subprocess.TimeoutExpired as error:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"did not end within {deadline} s:\n{self.tail()}") from error
        finally:
            if self.popen.poll() is not None:
                for reader in self.readers:
                    reader.join(5)
        return self.popen.returncode

    def stop(self, sig=signal.SIGTERM, deadline=30):
        """Sends the signal and gives the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
        return self.wait(deadline)

    def rss_mb(self):
        text = pathlib.Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)
        for reader in self.readers:
            reader.join(5)
        self.popen.stdout.close()
        self.popen.stderr.close()


class Case(unittest.TestCase):
    """A test with a directory, and everything it started ended and looked at."""

    maxDiff = 4000

    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="sipeat-test-")))
        self.processes = []
        self.addCleanup(self.close_all)

    def close_all(self):
        for process in self.processes:
            process.close()
            found = [mark for mark in SANITIZERS if mark in process.log]
            if found:
                raise AssertionError(f"{found}:\n{process.log[-8000:]}")
            if process.popen.returncode in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL):
                raise AssertionError(f"crashed with signal {-process.popen.returncode}:\n{process.tail()}")

    def start(self, *arguments, env=None, cwd=None, binary=BINARY):
        process = Process(arguments, cwd or self.dir, env, binary)
        self.processes.append(process)
        return process

    def run_sipeat(self, *arguments, env=None, cwd=None, deadline=60):
        """Runs it to its end; the process has returncode, log and output."""
        process = self.start(*arguments, env=env, cwd=cwd)
        process.returncode = process.wait(deadline)
        return process

    def script(self, text, name="script.lua"):
        path = self.dir / name
        save(path, text)
        return path


def save(path, text):
    """Writes a file as editors do: beside it, then moved over it."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.replace(path)


def get(url, timeout=5, body=None, **headers):
    """(status, body) of a GET, or of a POST of that body; (0, reason) when there was no answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


def main():
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    for test, reason in result.skipped:
        print(f"skipped: {test}: {reason}", file=sys.stderr)
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 and not result.skipped else 1)
