"""./start: events of all three types reach the capture page."""

import os
import re
import signal
import subprocess
import threading

from support import harness
from support.harness import SOURCE, environment, get, wait_for


class Start(harness.Case):
    def test_events_of_all_three_types_flow_to_the_page(self):
        process = subprocess.Popen(
            [SOURCE / "start"], cwd=SOURCE, env=environment(self.dir, {"SIPEAT_DB": self.dir / "sipeat.db"}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(l.decode("utf-8", "replace") for l in process.stdout))
        reader.start()
        self.addCleanup(process.stdout.close)
        self.addCleanup(reader.join, 10)
        self.addCleanup(process.wait, 20)
        self.addCleanup(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
        url = wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", "".join(lines)), lambda: "".join(lines), 300)[0]
        wait_for(lambda: get(url + "/ping")[0] == 200, lambda: "".join(lines))
        wait_for(lambda: "sipeat publish" in "".join(lines), lambda: "what to type next: " + "".join(lines))

        def shown():
            page = get(url + "/capture/entries.json")[1].decode()
            return all(f"{kind}.created" in page for kind in ("contact", "request", "machine"))

        wait_for(shown, lambda: f"all three types: {get(url + '/capture/entries.json')}\n{''.join(lines)}", 60)
        os.killpg(process.pid, signal.SIGTERM)
        self.assertEqual(process.wait(30), 0, "".join(lines[-20:]))


if __name__ == "__main__":
    harness.main()
