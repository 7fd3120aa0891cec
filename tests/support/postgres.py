"""A PostgreSQL of Debian's package for the tests, on a socket in a directory of its own."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
SETTINGS = {"listen_addresses": "", "shared_buffers": "16MB"}


class Postgres:
    """`place` is what --journal takes: the newest database."""

    count = 0

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sipeat-pg-"))
        self.user = {}
        if os.geteuid() == 0:  # the server refuses to be root
            names = {entry.pw_name for entry in pwd.getpwall()}
            self.user = {"user": "postgres" if "postgres" in names else "nobody", "group": "nogroup"}
            os.chown(self.directory, pwd.getpwnam(self.user["user"]).pw_uid, -1)
        self.place = self.at("postgres")
        done = self.run("initdb", "-D", "data", "-U", "sipeat", "--auth=trust", "--no-sync", "--encoding=UTF8",
                        "--locale=C", "--no-instructions")
        if done.returncode != 0:
            raise AssertionError(f"initdb: {done.stderr}")
        self.start()
        return self

    def __exit__(self, *_):
        self.crash()
        shutil.rmtree(self.directory)

    def at(self, database):
        return f"postgresql://sipeat@/{database}?host={self.directory}"

    def new_database(self):
        self.count += 1
        self.rows(f"CREATE DATABASE test{self.count}")
        self.place = self.at(f"test{self.count}")

    def run(self, program, *arguments):
        return subprocess.run([PROGRAMS / program, *arguments], cwd=self.directory, capture_output=True, text=True,
                              timeout=60, check=False, **self.user)

    def start(self):
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", "data", "-k", str(self.directory), *settings], cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.user)
        end = time.monotonic() + 60
        while self.run("pg_isready", "-h", str(self.directory)).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError("PostgreSQL does not start:\n" + (self.directory / "log").read_text())
            time.sleep(0.02)

    def crash(self):
        """Ends at once, as a machine does."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def rows(self, statement):
        """What a statement gives, a line of text for each row."""
        done = self.run("psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.place, "-c", statement)
        if done.returncode != 0:
            raise AssertionError(f"{statement}: {done.stderr}")
        return done.stdout.splitlines()
