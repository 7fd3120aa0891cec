"""Packages from PyPI for the tests: a pinned list beside this file, installed once for each such list, outside of the
tree."""

import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def packages(name):
    """The folder of the packages that <name>.txt lists, filled once."""
    wanted = HERE / f"{name}.txt"
    cache = pathlib.Path(os.environ.get("SIPEAT_CACHE", pathlib.Path.home() / ".cache/sipeat"))
    place = cache / f"{name}-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}-{sys.implementation.cache_tag}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", place,
                            "-r", wanted], check=True, stdin=subprocess.DEVNULL, timeout=600)
            (place / ".done").touch()
    return place
