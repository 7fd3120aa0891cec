"""What the documentation shows is true: its scripts load, its commands and their options exist, its JSON is JSON."""

import concurrent.futures
import itertools
import json
import os
import re
import shlex
import subprocess
import unittest

from support import harness
from support.harness import BINARY, SOURCE

# Names that a fragment leaves to the page around it are modules of sipeat, or something that can be called and indexed.
PRELUDE = """
local stub = setmetatable({}, { __call = function(self) return self end, __concat = function() return "text" end })
getmetatable(stub).__index = function(self) return self end
local names = setmetatable({}, { __index = function(_, name)
  local value = _G[name]
  if value ~= nil then return value end
  local found, module = pcall(require, name == "sipeat" and "sipeat" or "sipeat." .. name)
  return found and module or stub
end })
local _ENV = names
"""
AS_BODY = "local function body(event, ctx, req, t, line, ...)\n{}\nend\nreturn body"
AS_FIELDS = "local fields = {{\n{}\n}}\nreturn fields"
ENVIRONMENT = {"NEXT_PUBLIC_SUPABASE_URL": "http://127.0.0.1:1", "NEXT_PUBLIC_SUPABASE_ANON_KEY": "key",
               "SLACK_TOKEN": "xoxb-1", "API_TOKEN": "token"}


def blocks(language):
    """(page, number of the line, text) of each such block."""
    for page in sorted([*SOURCE.glob("docs/*.md"), *SOURCE.glob("examples/*/README.md"), SOURCE / "README.md"]):
        text = page.read_text()
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.S | re.M):
            yield page.relative_to(SOURCE), text[:found.start()].count("\n") + 2, found[1]


def complete(text):
    """An omission in a listing stands for nothing."""
    text = re.sub(r"(?m)^\s*…[^\n]*$", "", text)
    text = re.sub(r"([{(,=]\s*)…(\s*[,})])", r"\1nil\2", text)
    return text.replace("…", "")


def options_of(words):
    """What may stand after these verbs: (verbs, options)."""
    done = subprocess.run([BINARY, "complete", *words, ""], capture_output=True, text=True, timeout=60, check=True)
    verbs = [line.split("\t")[0] for line in done.stdout.splitlines()]
    done = subprocess.run([BINARY, "complete", *words, "--"], capture_output=True, text=True, timeout=60, check=True)
    return verbs, [line.split("\t")[0] for line in done.stdout.splitlines()]


class Docs(harness.Case):
    def load(self, broker, name, text):
        """None when the script loads, or the last thing that was said."""
        folder = self.dir / name
        folder.mkdir()
        path = folder / "main.lua"
        path.write_text(text)
        process = subprocess.Popen(
            [BINARY, "run", path, "-b", broker, "--http", "127.0.0.1:0", "--state", folder / "state", "--no-watch",
             "--log-format", "json"], cwd=folder, env={**os.environ, **ENVIRONMENT}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            said = ""
            for line in process.stderr:
                if re.search(r": version \w+ runs", line):
                    return None
                said = line if '"error"' in line else said
            return json.loads(said)["message"] if said else "ended without a word"
        finally:
            process.kill()
            process.wait()
            process.stderr.close()

    def load_somehow(self, broker, number, text):
        """A block is a script, the body of a handler, or fields of a table."""
        found = None
        for i, form in enumerate(("{}", AS_BODY, AS_FIELDS)):
            whole = complete(text) if form == "{}" else form.format(complete(text))
            said = self.load(broker, f"{number}-{i}", PRELUDE + whole)
            if said is None:
                return None
            found = found or said
        return found

    def test_each_lua_block_loads(self):
        dev = self.start("dev", self.script("local sipeat = require 'sipeat'\n"), "--http", "127.0.0.1:0")
        broker = re.search(r"broker +(127\.0\.0\.1:\d+)", dev.until(
            lambda: "broker " in dev.output and dev.output, "the start screen"))[1]
        all_blocks = list(blocks("lua"))
        self.assertGreater(len(all_blocks), 60)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda item: self.load_somehow(broker, item[0], item[1][2]), enumerate(all_blocks)))
        wrong = [f"{page}:{line}: {what}" for (page, line, _), what in zip(all_blocks, said) if what]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def check_command(self, words):
        """What is wrong with the arguments of sipeat, or None."""
        verbs, at = [], 0
        while at < len(words) and words[at] in options_of(verbs)[0]:
            verbs.append(words[at])
            at += 1
        if not verbs and words[:1] not in (["--version"], ["help"]):
            return f"unknown verb {words[:1]}"
        known = [*options_of(verbs)[1], "--help"]
        for word in words[at:]:
            option = word.split("=")[0]
            if option.startswith("--") and option != "--" and option not in known:
                return f"sipeat {' '.join(verbs)} has no {option}"
        return None

    def test_each_command_exists_with_its_options(self):
        wrong, count = [], 0
        for page, line, text in blocks("sh"):
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
        for page, line, text in blocks("json"):
            with self.subTest(page=str(page), line=line):
                text = re.sub(r",?\s*…", "", text)
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
