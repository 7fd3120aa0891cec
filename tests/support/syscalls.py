"""Kills a program as it enters a system call: `strace` counts the calls and sends the signal.

`with_strace(log)` counts what a run does, `points(counted(log))` are the places to kill it at, and `with_strace(log,
point)` runs it until it gets to one. Calls are counted for each thread on its own, so a point is reached by the first
thread that makes its K-th call of that name: mostly by the one that starts the program. `attach` counts from where it
has come to, so that the others are met as well. The program is the child of whoever started the command: strace
watches from beside it, and ends with it.
"""

import collections
import pathlib
import re
import subprocess
import tempfile

from support.harness import wait_for

# What leaves a trace outside of the process: files, the journal, Kafka, HTTP and mail.
CALLS = ("write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "ftruncate", "unlink", "rename", "sendto",
         "sendmsg")
LINE = re.compile(r"^(\d+) +(\w+)\(")

Point = collections.namedtuple("Point", "call number late", defaults=[False])  # late: from an attach


def words(log, point=None):
    """strace that has calls written to `log`, and kills at the point."""
    text = ["strace", "-f", "-qq", "-o", str(log), "-e", "signal=none", "-e", "trace=" + ",".join(CALLS)]
    if point:
        text += ["-e", f"inject={point.call}:signal=SIGKILL:when={point.number}"]
    return text


def with_strace(log, point=None):
    """The words before a command that have its calls written to `log`, and kill it at the point."""
    return [*words(log, point), "-D"]


def attach(pid, command):
    """strace for a process that runs, from now on; it ends with the process."""
    tracer = subprocess.Popen([*command, "-p", str(pid)])

    def is_traced():
        if tracer.poll() is not None:
            return True
        try:
            states = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
        except (FileNotFoundError, ProcessLookupError):
            return False  # a thread ended while it was looked at
        return states and all("TracerPid:\t0\n" not in state for state in states)

    wait_for(is_traced, f"strace watches {pid}", 10, every=0.005)
    return tracer


def counted(log):
    """{call: how often that thread made it which made it most often}"""
    threads = collections.Counter()
    with open(log, errors="replace") as lines:
        for line in lines:
            match = LINE.match(line)
            if match:
                threads[match[2], match[1]] += 1
    most = collections.Counter()
    for (call, _), count in threads.items():
        most[call] = max(most[call], count)
    return dict(most)


def points(counts, late=False):
    """Every place where a program with these counts can be killed."""
    return [Point(call, number, late) for call in sorted(counts) for number in range(1, counts[call] + 1)]


def spread(every, number):
    """`number` of them, as evenly as can be; over and over again when there are fewer."""
    if number >= len(every):
        return [every[i % len(every)] for i in range(number)]
    return [every[i * len(every) // number] for i in range(number)]


def check():
    """Fails unless a program can be watched and killed here."""
    with tempfile.NamedTemporaryFile(prefix="sipeat-strace-") as log:
        command = [*with_strace(log.name, Point("write", 2)), "sh", "-c", "echo one; echo two; echo three"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except FileNotFoundError as error:
            raise AssertionError("strace is not installed: deploy/packages.sh test") from error
    if done.stdout != "one\n" or done.returncode != -9:
        raise AssertionError(
            "strace cannot watch a program here (in a container: --cap-add=SYS_PTRACE, or a seccomp profile that "
            f"allows ptrace; elsewhere: sysctl kernel.yama.ptrace_scope=1): {done.returncode}, {done.stdout!r}, "
            f"{done.stderr.strip()}")
