"""Where the benchmark keeps what it builds and installs, outside of the tree, and how C programs are built there."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
CACHE = pathlib.Path(os.environ.get("SIPEAT_CACHE", pathlib.Path.home() / ".cache/sipeat")) / "bench"


class Missing(Exception):
    """A program or a registry that a peer needs is not there. The message says which, and what to do."""


@contextlib.contextmanager
def place(name):
    """A directory of the cache, for one process at a time."""
    directory = CACHE / name
    directory.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory


def digest(path):
    """A short name for a file's content: what is installed by it is kept under that."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def require(program, package):
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed (Debian: apt-get install {package})")


def command(*arguments, timeout=900, **options):
    """Runs a compiler or a registry's client; Missing with the end of its output when it fails."""
    texts = [str(argument) for argument in arguments]
    done = subprocess.run(texts, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout, check=False, **options)
    if done.returncode != 0:
        raise Missing(f"{' '.join(texts)[:200]} failed; is its registry reachable?\n"
                      f"{done.stdout.decode(errors='replace')[-2000:]}")
    return done.stdout.decode(errors="replace").strip()


def build_c(source, *libraries):
    """The program of one C file with librdkafka and cJSON, or other libraries."""
    require("gcc", "gcc libc6-dev")
    if not pathlib.Path("/usr/include/cjson/cJSON.h").exists():
        raise Missing("cjson/cJSON.h is not installed (Debian: apt-get install libcjson-dev)")
    with place("c") as directory:
        program = directory / source.stem
        command("gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", source, "-o", program,
                *(libraries or ("-lrdkafka", "-lcjson")), "-lm")
    return program
