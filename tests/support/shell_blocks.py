"""The commands of a page, typed in their order beside the programs that the page has its reader start.

A test of `Page` opens one page. What it types, serves or checks is marked, and at its end nothing of the page may be
left: each `sh` block was typed whole, or stands in NOT_RUN with the reason.
"""

import contextlib
import os
import re
import subprocess

from support import harness
from support.harness import BINARY, SOURCE, environment, free_ports, wait_for
from support.pages import as_pattern, block, blocks

# What needs a machine, an account or an hour of its own. Its syntax is checked, and by docs_test.py that verbs, options
# and files exist.
NOT_RUN = {
    "README.md sh 1": "installs packages; start_test.py runs the script",
    "README.md sh 2": "is the run of all tests",
    "docs/dead-letters.md sh 1": "is a program of Kafka's own distribution",
    "docs/deployment.md sh 1": "builds the program anew; deploy_test.py makes the package of this build",
    "docs/performance.md sh 1": "measures for hours; the files of tests/bench",
    "docs/kafka-security.md sh 1": "needs a cluster with TLS; kafka_security_test.py has one, with these variables",
}
# Pages that have a test of their own, which types each of their commands.
OWN_TEST = {
    "README.md": "readme_test.py", "docs/tutorial.md": "tutorial_test.py",
    "docs/tutorial-durable.md": "tutorial_durable_test.py", "docs/tutorial-bench.md": "tutorial_bench_test.py",
}


def commands(text):
    """The commands of a block: lines, joined where a quotation or a backslash goes on."""
    found, command = [], ""
    for line in text.splitlines():
        command += line + "\n"
        if line.endswith("\\") or command.count("'") % 2 and "#" not in command:
            continue
        if command.strip():
            found.append(command)
        command = ""
    return found


class Page(harness.Case):
    def open(self, page, **env):
        """Begins with a folder in which the paths of the page lead somewhere, and a port for its addresses."""
        self.page, self.typed, self.changes = page, set(), []
        for name in ("examples", "scripts", "deploy", "tests"):
            (self.dir / name).symlink_to(SOURCE / name)
        (self.dir / "build").mkdir()
        (self.dir / "build/release").symlink_to(BINARY.parent)
        self.port = free_ports(1)[0]
        self.change(r"(127\.0\.0\.1|localhost):3000", f"127.0.0.1:{self.port}")
        self.env = {"PATH": f"{BINARY.parent}:{os.environ['PATH']}", "SIPEAT_HTTP": f"127.0.0.1:{self.port}",
                    "SIPEAT_STATE": self.dir / "state", **env}
        (self.dir / "state").mkdir()
        self.addCleanup(self.nothing_is_left)

    def own(self, name, text):
        """A file of the reader's, in the place of what the folder has there."""
        path = self.dir / name
        if path.parent.is_symlink():
            path.parent.unlink()
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def change(self, pattern, to):
        """What stands there for something of the reader's own, such as <id>, is this."""
        self.changes.append((pattern, to))

    def here(self, text):
        for pattern, to in self.changes:
            text = re.sub(pattern, lambda _, to=to: str(to), text)
        return text

    def lines(self, number):
        return commands(block(self.page, "sh", number).text)

    def take(self, number, part):
        """The one command of a block that contains `part`; all of them without one."""
        found = [line for line in self.lines(number) if part is None or part in line]
        self.assertTrue(found if part is None else len(set(found)) == 1, f"{part!r} in {self.lines(number)}")
        self.typed.update((number, line) for line in found)
        return self.here("".join(found))

    def type(self, number, part=None, code=0, answers=None, deadline=60):
        """Types a block, or its command with that part, and gives what it said."""
        text = self.take(number, part)
        done = subprocess.run(["bash", "-e", "-c", text], cwd=self.dir, env=environment(self.dir, self.env), text=True,
                              input=answers or "", capture_output=True, check=False,
                              timeout=deadline * harness.PATIENCE)
        said = done.stdout + done.stderr
        self.assertIn(done.returncode, code if isinstance(code, tuple) else (code,), f"{text}\n{said}")
        return said

    def serve(self, number, part=None, until=None):
        """Types what stays, in a terminal of its own. It is there when it says `until`, or that its script runs."""
        text = self.take(number, part)
        process = harness.Process(["-c", "exec env " + text.strip().removesuffix("&")], self.dir, self.env, "bash")
        self.processes.append(process)
        if until:
            process.until(lambda: until in process.log + process.output, until)
        else:
            process.wait_runs()
        return process

    def until(self, number, part, shows, code=0):
        """Types it until it shows that: what it looks at happens meanwhile."""
        said = []

        def look():
            with contextlib.suppress(AssertionError):
                said.append(self.type(number, part, code))
            return said and shows in said[-1]
        wait_for(look, lambda: f"{shows!r} in {said[-1:]}", every=0.3)
        return said[-1]

    def shown(self, said, number=1):
        """A text block of the page is among what was said."""
        pattern = as_pattern(self.here(block(self.page, "text", number).text))
        self.assertRegex(said if said.endswith("\n") else said + "\n", pattern)

    def nothing_is_left(self):
        counts = {"run": 0, "checked": 0}
        left = []
        for one in blocks("sh"):
            if one.page != self.page:
                continue
            if one.name in NOT_RUN:
                subprocess.run(["bash", "-n", "-c", one.text], check=True)
                counts["checked"] += 1
                continue
            missed = [line for line in commands(one.text) if (one.number, line) not in self.typed]
            left += [f"{one}: {line}" for line in missed]
            counts["run"] += 1
        print(f"{self.page}: {counts}")
        if self._outcome.success:
            self.assertEqual(left, [], "not typed:\n" + "\n".join(left))
