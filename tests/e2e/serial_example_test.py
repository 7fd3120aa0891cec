"""The driver of docs/serial.md, in one command, with the board that its script plays; saved while it runs."""

import json
import re
import urllib.error
import urllib.request

from support import harness
from support.harness import SOURCE, save, wait_for


class Pump(harness.Case):
    def dose(self, at, ml):
        request = urllib.request.Request(f"http://127.0.0.1:{at}/doses/{ml}", b"", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def test_doses_before_and_after_an_edit(self):
        for path in (SOURCE / "examples/pump").glob("*.lua"):
            (self.dir / path.name).write_text(path.read_text())
        dev = self.start("dev", self.dir / "main.lua", "--http", "127.0.0.1:0")
        at = wait_for(lambda: re.search(r"listening on http://127\.0\.0\.1:(\d+)", dev.log), dev.tail)[1]
        dev.wait_runs()
        self.assertEqual(self.dose(at, 30), (200, {"outcome": "done", "ml": 30, "pump": "SYRUP 1.2"}))
        self.assertEqual(self.dose(at, 900)[0], 409)
        save(self.dir / "board.lua", (self.dir / "board.lua").read_text().replace("SYRUP 1.2", "SYRUP 1.3"))
        wait_for(lambda: self.dose(at, 5)[1].get("pump") == "SYRUP 1.3", dev.tail)
        self.assertEqual(dev.stop(), 0, dev.tail())


if __name__ == "__main__":
    harness.main()
