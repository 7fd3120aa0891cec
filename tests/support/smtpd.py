"""A real mail server for the tests: OpenSMTPD, which keeps every mail it accepts in a Maildir.

It needs root (or sudo without a password), because it drops its rights per process. Its spool and socket are at
fixed places, so it gets a mount namespace with places of its own where that is allowed.
"""

import email
import email.policy
import getpass
import os
import pathlib
import shutil
import smtplib
import subprocess
import tempfile
import time

from support.kafka import free_ports

CONFIG = """
listen on 127.0.0.1 port {port} hostname mail.test mask-src
table everyone {{ "@" = "{user}" }}
action "keep" maildir "{mail}" virtual <everyone> user "{user}"
match from any for domain "refused.test" reject
match from any for any action "keep"
"""
OWN_PLACES = """
for place in /var/spool /run; do mount -t tmpfs -o mode=755 tmpfs $place || exit 1; done
"""


class Smtpd:
    """`url` is what SMTP_URL takes. Mail to anyone is kept, except for @refused.test, which gets a 550."""

    def __enter__(self):
        self.temp = tempfile.TemporaryDirectory(prefix="sipeat-mail-")
        self.directory = pathlib.Path(self.temp.name)
        self.port = free_ports(1)[0]
        self.url = f"smtp://127.0.0.1:{self.port}"
        self.mail = self.directory / "mail"
        self.mail.mkdir()
        user = getpass.getuser()
        if user == "root":  # OpenSMTPD delivers nothing to root
            user = "daemon"
            self.directory.chmod(0o755)
            shutil.chown(self.mail, user)
        (self.directory / "smtpd.conf").write_text(
            CONFIG.format(port=self.port, mail=self.mail, user=user))
        run = f"exec {shutil.which('smtpd', path='/usr/sbin:/usr/local/sbin')} -d -f {self.directory}/smtpd.conf"
        sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
        if subprocess.run([*sudo, "unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode == 0:
            command = [*sudo, "unshare", "-m", "sh", "-c", OWN_PLACES + run]
        else:
            command = [*sudo, "sh", "-c", run]
        self.output = open(self.directory / "smtpd.log", "wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)
        deadline = time.monotonic() + 20
        while True:
            try:
                smtplib.SMTP("127.0.0.1", self.port, timeout=5).quit()
                return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("OpenSMTPD does not start:\n" + self.log())
            time.sleep(0.05)

    def __exit__(self, *unused):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.output.close()
        self.temp.cleanup()

    def log(self):
        return (self.directory / "smtpd.log").read_text(errors="replace")

    def mails(self):
        """Every mail delivered so far, as email.message.EmailMessage; the envelope's receiver is in "Delivered-To"."""
        found = []
        for path in sorted((self.mail / "new").glob("*")):
            with path.open("rb") as file:
                found.append(email.message_from_binary_file(file, policy=email.policy.default))
        return found

    def count(self):
        return len(os.listdir(self.mail / "new")) if (self.mail / "new").exists() else 0
