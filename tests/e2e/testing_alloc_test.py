"""`sipeat test` when memory runs out: each allocation fails once, alone and with the two behind it, while a test with
flows, retries, a transaction and a dead letter runs. It ends with a verdict or a clean error, and leaves nothing open.
ctest tries a sample; the soak (SIPEAT_SOAK) all of them.
"""

import os
import pathlib
import subprocess

from support import harness
from support.alloc import Control, points
from support.harness import SANITIZERS, SOURCE

SWEEP = pathlib.Path(os.environ.get("SIPEAT_SWEEP", harness.BINARY.parent / "tests/sipeat_sweep"))
SOAK = bool(os.environ.get("SIPEAT_SOAK"))
FILE = SOURCE / "tests/testing/flow_test.lua"
POINTS = None if SOAK else 40
ENDS = (0, 1, 3)  # passed, failed, did not load


class Allocations(harness.Case):
    def run_with(self, control, fail_at, name):
        control.arm(fail_at)
        return subprocess.run(
            [SWEEP, "test", FILE, "-k", name, "--seed", "1"], cwd=self.dir, timeout=60, stdin=subprocess.DEVNULL,
            env=harness.environment(self.dir, {"SIPEAT_ALLOC_CONTROL": control.path}),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")

    def sweep(self, name):
        control = Control(pathlib.Path(self.dir) / "control")
        clean = self.run_with(control, 0, name)
        self.assertEqual(clean.returncode, 0, clean.stdout)
        total, failures = control.count, 0
        for more in (0, 2):
            control.more = more
            for at in points(total, POINTS):
                done = self.run_with(control, at, name)
                self.assertIn(done.returncode, ENDS, f"{name}, allocation {at} and {more} more: {done.stdout}")
                self.assertFalse(any(mark in done.stdout for mark in SANITIZERS), done.stdout)
                failures += control.failed > 0
        self.assertGreater(failures, 40)

    def test_a_dead_letter(self):
        self.sweep("the last attempt leads")

    def test_a_transaction(self):
        self.sweep("a transactional flow")


if __name__ == "__main__":
    harness.main()
