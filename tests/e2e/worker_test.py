"""examples/worker as its README shows it: with the broker inside, from the routes to the notifications."""

import re
import shlex

from support import harness
from support.harness import SOURCE, free_ports, get

TEXT = (SOURCE / "examples/worker/README.md").read_text()


class Worker(harness.Case):
    def lines(self, program):
        blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
        return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith(program)]

    def test_the_commands_of_its_readme(self):
        port = free_ports(1)[0]
        (dev,) = self.lines("sipeat dev")
        worker = self.start(dev[0], SOURCE / dev[1], "--http", f"127.0.0.1:{port}", "--no-watch",
                            env={"XDG_RUNTIME_DIR": str(self.dir)})
        worker.wait_log(": version ")
        for arguments in self.lines("curl"):
            url = arguments[-1].replace("127.0.0.1:3000", f"127.0.0.1:{port}")
            status, answer = get(url, 15, arguments[arguments.index("-d") + 1].encode())
            self.assertEqual(status, 202, answer)
        for text in ("Ada wants to be contacted at ada@example.org", "machine Lobby at Hamburg is new",
                     "Bob would like Cola of m-1"):
            worker.wait_log(text)

    def test_what_stands_for_npm_run_worker_build(self):
        done = self.run_sipeat("test", SOURCE / "examples/worker")
        self.assertEqual(done.returncode, 0, done.tail())
        self.assertIn("2 passed", done.output)


if __name__ == "__main__":
    harness.main()
