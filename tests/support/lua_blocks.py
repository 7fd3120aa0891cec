"""Lua blocks of the documentation as files that tests load (tests/support/docs/docs.lua)."""

import json
import re

from support.harness import SOURCE
from support.pages import blocks

FIXTURES = SOURCE / "tests/support/docs"
# Those that only a process with a broker, a journal, a server or boards can run: tests/support/docs/live.lua.
LIVE = ("durable 2", "http 6", "journal 1", "kafka 1", "kafka 2", "serial 1", "serial-payment 1", "vending 1",
        "vending 3", "vending 4")
# Scripts that are run by `sipeat bench` and `sipeat test` themselves.
PROGRAMS = ("bench 1", "testing 1", "testing 2")
PRELUDE = ('local __docs = require("sipeat.testing").docs; local __hit, print = __docs.hit, __docs.print; '
           "local _ENV = setmetatable(__docs.env or {}, { __index = _ENV }); ")
FORMS = {"": "{text}\n__docs.made_of_it = {{ {names} }}", "-fields": "__docs.made_of_it = {{ {text} }}",
         "-body": "__docs.made_of_it = function(event, ctx) {text} end"}
# A keyword that begins a statement; a text or a comment that holds one is passed over.
STATEMENT = re.compile(r"""(?P<passed>--\[\[.*?\]\]|\[\[.*?\]\]|--[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
                       r"|\b(?P<word>return|local|if|for|while|break)\b", re.S)


def name_of(block):
    return f"{block.page.rsplit('/', 1)[-1].removesuffix('.md')} {block.number}"


def watched(text):
    """The block with a call before each statement that a keyword begins, and the lines of those."""
    lines = []

    def mark(found):
        if found["passed"]:
            return found["passed"]
        line = text.count("\n", 0, found.start()) + 1
        lines.append(line)
        return f"__hit({line}) {found['word']}"
    return STATEMENT.sub(mark, text), sorted(set(lines))


def own_names(text):
    """The names of its local variables."""
    found = re.findall(r"(?m)^local (?:function )?([\w, ]+?)(?: <\w+>)? *(?:=|\(|$)", text)
    return sorted({name.strip() for names in found for name in names.split(",")})


def write(directory):
    """Each block as files for `sipeat test`, a module that lists them with their texts, and the fixtures."""
    (directory / "blocks").mkdir()
    index = {}
    for block in blocks("lua"):
        page, number = name_of(block).split()
        text, statements = watched(block.text)
        names = ", ".join(f"{name} = {name}" for name in own_names(block.text))
        source = ""
        for form, template in FORMS.items():
            whole = PRELUDE + template.format(text=text, names=names)
            (directory / f"blocks/{page}-{number}{form}.lua").write_text(whole)
            source += f'["{form}"] = [==[{whole}]==], '
        index.setdefault(page, []).append(
            f"[{number}] = {{ line = {block.line}, statements = {{ {', '.join(map(str, statements))} }}, "
            f"source = {{ {source}}} }}")
    (directory / "blocks.lua").write_text(
        "return {\n" + "".join(f"[{json.dumps(page)}] = {{ {', '.join(all)} }},\n" for page, all in index.items())
        + "}\n")
    events = next(b for b in blocks("text") if b.page == "docs/events.md").text.strip()
    (directory / "texts.lua").write_text(f"return {{ events = {json.dumps(events)} }}\n")
    reference = (SOURCE / "docs/lua-reference.md").read_text().split("\n## ")[0]
    names = [name for row in re.findall(r"(?m)^\| (`[^|]*) \|", reference)
             for name in re.findall(r"`(\w+)", row.split(":")[0])]
    (directory / "names.lua").write_text(f"return {{ {', '.join(map(json.dumps, names))} }}\n")
    for path in FIXTURES.glob("*.lua"):
        (directory / path.name).write_text(path.read_text())
