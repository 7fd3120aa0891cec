"""schemathesis, which asks an API what its document allows and what it does not, and looks at each answer.

Its versions are in schemathesis.txt; they are installed once for each such list, with pip, outside of the tree.
"""

import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
LIST, SETTINGS = HERE / "schemathesis.txt", HERE / "schemathesis.toml"


def packages():
    """The folder of its packages, filled once."""
    cache = pathlib.Path(os.environ.get("SIPEAT_CACHE", pathlib.Path.home() / ".cache/sipeat"))
    place = cache / f"schemathesis-{hashlib.sha256(LIST.read_bytes()).hexdigest()[:12]}-{sys.implementation.cache_tag}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "schemathesis.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", place,
                            "-r", LIST], check=True, stdin=subprocess.DEVNULL, timeout=600)
            (place / ".done").touch()
    return place


def run(document, cwd, *arguments, timeout=900):
    """What it says about the API of that document; (status, text)."""
    place = packages()
    env = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
               "--config-file", str(SETTINGS), "run", document, "--no-color", "--warnings", "off", *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout, check=False)
    return done.returncode, done.stdout.decode(errors="replace")
