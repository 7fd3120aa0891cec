"""A real Prometheus that scrapes programs twice a second, with rules, in a directory that goes with it."""

import json
import pathlib
import re
import subprocess
import tempfile
import urllib.parse

from support.harness import get, wait_for

CONFIG = """
global: {{ scrape_interval: 500ms, evaluation_interval: 500ms, scrape_timeout: 500ms }}
rule_files: {rules}
scrape_configs:
  - job_name: sipeat
    static_configs: [{{ targets: {targets} }}]
"""


class Prometheus:
    def __init__(self, targets, rules=""):
        """`rules`: the text of a rules file."""
        self.keep = tempfile.TemporaryDirectory(prefix="sipeat-prometheus-")
        self.dir = pathlib.Path(self.keep.name)
        (self.dir / "rules.yml").write_text(rules)
        (self.dir / "prometheus.yml").write_text(CONFIG.format(
            rules=json.dumps(["rules.yml"] if rules else []), targets=json.dumps(targets)))
        self.log = self.dir / "log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                ["prometheus", f"--config.file={self.dir}/prometheus.yml", f"--storage.tsdb.path={self.dir}/data",
                 "--web.listen-address=127.0.0.1:0"], stdout=log, stderr=log)
        self.url = "http://" + wait_for(self.address, self.log.read_text)
        wait_for(lambda: get(self.url + "/-/ready")[0] == 200, self.log.read_text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.keep.cleanup()

    def address(self):
        if self.popen.poll() is not None:
            raise AssertionError(self.log.read_text())
        found = re.search(r'msg="Listening on" address=(\S+)', self.log.read_text())
        return found and found[1]

    def ask(self, path, **query):
        status, body = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        answer = json.loads(body)
        if status != 200:
            raise AssertionError(f"prometheus {path} {query}: {answer.get('error', body)}")
        return answer["data"]

    def query(self, expression):
        """The samples of now: [(labels, value)]."""
        return [(one["metric"], float(one["value"][1])) for one in self.ask("query", query=expression)["result"]]

    def fired(self):
        """Names of the alerts that fire, or did in the last minutes."""
        found = self.query('count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[10m]))')
        return {labels["alertname"] for labels, _ in found}

    def names(self):
        """What is scraped, without Prometheus's own."""
        return {name for name in self.ask("label/__name__/values")
                if not re.match(r"up$|scrape_|ALERTS", name)}
