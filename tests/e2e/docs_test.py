"""What the documentation shows is true: its commands and their options exist, its JSON is JSON."""

import collections
import functools
import itertools
import json
import re
import shlex
import subprocess
import unittest

from support import harness
from support.harness import BINARY, SOURCE
from support.pages import block, blocks


@functools.cache
def options_of(*words):
    """What may stand after these verbs: (verbs, options)."""
    done = subprocess.run([BINARY, "complete", *words, ""], capture_output=True, text=True, timeout=60, check=True)
    verbs = [line.split("\t")[0] for line in done.stdout.splitlines()]
    done = subprocess.run([BINARY, "complete", *words, "--"], capture_output=True, text=True, timeout=60, check=True)
    return verbs, [line.split("\t")[0] for line in done.stdout.splitlines()]


# Where a block that is neither a script nor a command is compared with what it shows.
LOOKED_AT = {
    "docs/bench.md text 1": "docs_lua_test.py", "docs/events.md text 1": "docs_lua_test.py",
    "docs/testing.md text 1": "docs_lua_test.py", "docs/budgets.md text 1": "leak_test.py",
    "docs/metrics.md text 1": "docs_shell_test.py", "docs/permissions.md text 1": "docs_shell_test.py",
    "docs/serial-cli.md text 1": "docs_shell_test.py", "docs/tutorial-bench.md text 1": "tutorial_bench_test.py",
    "docs/http.md nginx 1": "http_proxy_test.py", "examples/invoices/README.md text 2": "docs_examples_test.py",
    "docs/configuration.md ini 1": "docs_test.py", "docs/discord.md ini 1": "docs_test.py",
    "docs/security.md ini 1": "docs_test.py", "docs/security.md nginx 1": "docs_test.py",
    "examples/orders/README.md mermaid 1": "../../examples/orders/rules_test.lua",
}
PICTURES = {"ARCHITECTURE.md text 1", "examples/invoices/README.md text 1"}
SETTINGS = """
local sipeat = require "sipeat"
for _, name in ipairs { "KAFKA_BROKERS", "DISCORD_WEBHOOK", "NAME", "RAW", "KEY" } do
  local value = sipeat.env.get(name)
  sipeat.log.info(name .. "=" .. sipeat.json.encode(value or "nothing"))
end
"""


class Docs(harness.Case):
    def test_each_block_has_a_language_and_is_looked_at(self):
        others = {b.name for b in blocks() if b.language not in ("sh", "lua", "json")}
        self.assertEqual(others, {*LOOKED_AT, *PICTURES})
        missing = [name for name in LOOKED_AT.values() if not (SOURCE / "tests/e2e" / name).exists()]
        self.assertEqual(missing, [])
        counts = collections.Counter(b.language for b in blocks())
        print(f"{sum(counts.values())} blocks: {dict(counts)}")

    def settings(self, name, text):
        """What a script sees of a file of settings."""
        folder = self.dir / name.strip(".")
        folder.mkdir()
        (folder / name).write_text(text)
        (folder / "script.lua").write_text(SETTINGS)
        # Its own broker: one that is named there is not looked for.
        process = self.start("run", "script.lua", "-b", "127.0.0.1:1", "--no-watch", "--log-format", "json", cwd=folder)
        process.wait_log("KEY=")
        return dict(line["message"].split("=", 1) for line in process.lines if "=" in line["message"])

    def test_files_of_settings_are_read_as_shown(self):
        seen = self.settings(".env", block("docs/configuration.md", "ini").text)
        self.assertEqual(json.loads(seen["KAFKA_BROKERS"]), "localhost:9092")
        self.assertEqual(json.loads(seen["NAME"]), "two words\nand a line")
        self.assertEqual(json.loads(seen["RAW"]), "as it is \\n")
        self.assertEqual(json.loads(seen["KEY"]).count("\n"), 2)
        self.assertEqual(json.loads(seen["DISCORD_WEBHOOK"]), "https://discord.com/api/webhooks/…")
        seen = self.settings(".env.local", block("docs/discord.md", "ini").text)
        self.assertTrue(json.loads(seen["DISCORD_WEBHOOK"]).startswith("https://discord.com/api/webhooks/"))

    def test_a_unit_with_credentials_is_one(self):
        unit = self.dir / "sipeat-docs.service"
        unit.write_text("[Unit]\nDescription=of a page\n" + block("docs/security.md", "ini").text
                        + "ExecStart=/bin/true\n")
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_the_place_behind_a_proxy_is_one_for_nginx(self):
        config = self.dir / "nginx.conf"
        config.write_text(f"error_log {self.dir}/error.log; pid {self.dir}/pid; events {{}}\n"
                          f"http {{ server {{ listen 127.0.0.1:8071;\n"
                          f"{block('docs/security.md', 'nginx').text} }} }}\n")
        done = subprocess.run(["/usr/sbin/nginx", "-t", "-p", self.dir, "-c", config],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def check_command(self, words):
        """What is wrong with the arguments of sipeat, or None."""
        verbs, at = [], 0
        while at < len(words) and words[at] in options_of(*verbs)[0]:
            verbs.append(words[at])
            at += 1
        if not verbs and words[:1] not in (["--version"], ["help"]):
            return f"unknown verb {words[:1]}"
        known = [*options_of(*verbs)[1], "--help"]
        for word in words[at:]:
            option = word.split("=")[0]
            if option.startswith("--") and option != "--" and option not in known:
                return f"sipeat {' '.join(verbs)} has no {option}"
        return None

    def test_each_command_exists_with_its_options(self):
        wrong, count = [], 0
        for one in blocks("sh"):
            page, line, text = one.page, one.line, one.text
            command = ""
            for offset, part in enumerate(text.replace("\\\n", " ").splitlines()):
                command += part + "\n"
                try:
                    words = shlex.split(command, comments=True)
                except ValueError as error:  # a quotation goes on in the next line
                    if part is text.splitlines()[-1]:
                        wrong.append(f"{page}:{line + offset}: {error}: {command}")
                    continue
                command = ""
                for part in (list(g) for end, g in itertools.groupby(words, lambda w: w in ("|", "&&", ";", "&", ">"))
                             if not end):
                    part = [w for w in itertools.dropwhile(lambda w: "=" in w or w in ("sudo", "env"), part)]
                    name = part[0].rsplit("/", 1)[-1] if part else ""
                    if name in ("sipeat", "sipeat-run"):
                        count += 1
                        said = self.check_command((["run"] if name == "sipeat-run" else []) + part[1:])
                        if said:
                            wrong.append(f"{page}:{line + offset}: {said}")
                    for word in part:
                        if re.match(r"(examples|scripts|deploy)/", word) and not (SOURCE / word.rstrip(")")).exists():
                            wrong.append(f"{page}:{line + offset}: there is no {word}")
        self.assertGreater(count, 50)
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_each_json_block_is_json(self):
        for one in blocks("json"):
            with self.subTest(block=str(one)):
                text = re.sub(r",?\s*…", "", one.text)
                decoder, at = json.JSONDecoder(), 0
                while text[at:].strip():
                    at += len(text[at:]) - len(text[at:].lstrip())
                    _, at = decoder.raw_decode(text, at)

    def test_each_link_leads_somewhere(self):
        wrong = []
        for page in [*SOURCE.glob("*.md"), *SOURCE.glob("docs/*.md"), *SOURCE.glob("examples/*/*.md")]:
            text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
            for link in re.findall(r"\]\(([^)\s]+)\)", text):
                place, _, part = link.partition("#")
                target = (page.parent / place) if place else page
                if "://" in link:
                    continue
                if not target.exists():
                    wrong.append(f"{page.relative_to(SOURCE)}: {link}")
                elif part and target.suffix == ".md":
                    headings = [re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-")
                                for h in re.findall(r"(?m)^#+ (.*)$", target.read_text())]
                    if part not in headings:
                        wrong.append(f"{page.relative_to(SOURCE)}: {link}: no such heading")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_each_page_is_in_the_index(self):
        index = (SOURCE / "docs/index.md").read_text()
        missing = [page.name for page in SOURCE.glob("docs/*.md")
                   if page.name != "index.md" and f"({page.name}" not in index]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
