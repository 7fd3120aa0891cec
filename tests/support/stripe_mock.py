"""Stripe's own stripe-mock, which checks parameters and answers by Stripe's OpenAPI document.

It comes from the Go module proxy and is kept in ~/.cache/sipeat (SIPEAT_CACHE names another place). It has no state: no
declines, no replays of idempotency keys; support/fake_stripe.py has those.
"""

import fcntl
import os
import pathlib
import re
import subprocess

VERSION = "v0.185.0"  # the newest that Debian 12's Go builds


def program():
    """The built program; downloads and builds it once."""
    cache = pathlib.Path(os.environ.get("SIPEAT_CACHE", pathlib.Path.home() / ".cache/sipeat"))
    place = cache / f"stripe-mock-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "stripe-mock.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "stripe-mock").exists():
            subprocess.run(
                ["go", "install", f"github.com/stripe/stripe-mock@{VERSION}"], check=True, stdin=subprocess.DEVNULL,
                timeout=600, env={**os.environ, "GOBIN": str(place), "GOFLAGS": "-modcacherw",
                                  "GOPATH": str(cache / "go")})
    return place / "stripe-mock"


class StripeMock:
    """`url` is what STRIPE_API_URL takes."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [program(), "-http-addr", "127.0.0.1:0", "-strict-version-check=false"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            found = re.search(r"address: (127\.0\.0\.1:\d+)", line)
            if found:
                self.url = "http://" + found[1]
                return self
        raise RuntimeError("stripe-mock does not start")

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()
