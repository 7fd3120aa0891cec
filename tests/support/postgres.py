"""A PostgreSQL of Debian's package for the tests, on a socket in a directory of its own."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from support.http_certificate import self_signed
from support.kafka import free_ports

PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
SETTINGS = {"listen_addresses": "", "shared_buffers": "16MB"}


class Postgres:
    """`place` is what --journal takes: the newest database. With `tcp` it listens on 127.0.0.1 too, where `secret`
    comes in with the password "s3cret" and over TLS only `private`; its certificate is `certificate`."""

    count = 0

    def __init__(self, tcp=False, **settings):
        self.port, self.certificate = (free_ports(1)[0] if tcp else 5432), None
        self.settings = {**SETTINGS, **settings}

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
        if self.port != 5432:
            self.listen()
        self.start()
        return self

    def listen(self):
        certificate, key = self_signed(self.directory)
        self.certificate = pathlib.Path(certificate)
        os.chmod(certificate, 0o644)
        if self.user:
            os.chown(key, pwd.getpwnam(self.user["user"]).pw_uid, -1)
        os.chmod(key, 0o600)
        self.settings.update(listen_addresses="127.0.0.1", ssl="on", ssl_cert_file=certificate, ssl_key_file=key)
        rules = self.directory / "data" / "pg_hba.conf"
        rules.write_text("local all all trust\nhost all secret 127.0.0.1/32 scram-sha-256\n"
                         "hostssl all private 127.0.0.1/32 trust\n")

    def __exit__(self, *_):
        self.crash()
        shutil.rmtree(self.directory)

    def at(self, database):
        return f"postgresql://sipeat@/{database}?host={self.directory}" + self.port_text

    @property
    def port_text(self):
        return "" if self.port == 5432 else f"&port={self.port}"

    def new_database(self):
        self.count += 1
        self.rows(f"CREATE DATABASE test{self.count}")
        self.place = self.at(f"test{self.count}")

    def run(self, program, *arguments):
        return subprocess.run([PROGRAMS / program, *arguments], cwd=self.directory, capture_output=True, text=True,
                              timeout=60, check=False, **self.user)

    def start(self):
        settings = [part for name, value in {**self.settings, "port": self.port}.items()
                    for part in ("-c", f"{name}={value}")]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", "data", "-k", str(self.directory), *settings], cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.user)
        end = time.monotonic() + 60
        while self.run("pg_isready", "-h", str(self.directory), "-p", str(self.port)).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError("PostgreSQL does not start:\n" + (self.directory / "log").read_text())
            time.sleep(0.02)

    def children(self):
        return [int(pid) for pid in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
                .read_text().split()]

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
