"""Writes docs/lua-api.md, every function of Lua with its parameters and answers, from the stubs in stdlib/meta.

python3 docs/lua_api.py          writes it
python3 docs/lua_api.py --check  says whether it is what the stubs say
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parent.parent
PAGE = ROOT / "docs/lua-api.md"
HEAD = """# Lua API

Every module, function and field, as the stubs in `stdlib/meta/` describe them to an editor (this page is made from them by
`docs/lua_api.py`). For what they are good for, see the [reference by topic](lua-reference.md).

"""


def text_of(comment):
    return " ".join(comment.split())


def cell(text):
    return text.replace("|", "\\|")


def type_and_text(rest):
    """"string? what it is" as ("string?", "what it is"): a type ends at a space outside of brackets and quotes."""
    depth, quoted = 0, False
    for i, c in enumerate(rest):
        if c == '"':
            quoted = not quoted
        elif c in "<({[":
            depth += 1
        elif c in ">)}]":
            depth -= 1
        elif c == " " and depth == 0 and not quoted and not rest[:i].endswith((":", ",")):
            return rest[:i], rest[i + 1:].strip()
    return rest, ""


def split_name(rest):
    name, _, rest = rest.partition(" ")
    kind, text = type_and_text(rest.strip())
    if name.endswith("?"):
        name, kind = name[:-1], kind if kind.endswith("?") else kind + "?"
    return name, kind, text


class Module:
    def __init__(self, path):
        self.name = f"sipeat.{path.stem}" if path.stem != "sipeat" else "sipeat"
        self.about, self.functions, self.classes = "", [], []
        self.read(path.read_text().splitlines())

    def read(self, lines):
        doc, tags = [], []
        for line in lines:
            if line.startswith("---@"):
                tags.append(line[4:])
            elif line.startswith("---"):
                (doc if not tags or tags[-1].split()[0] not in ("param", "return", "field") else doc).append(line[3:])
            else:
                self.take(line, doc, tags)
                doc, tags = [], []

    def take(self, line, doc, tags):
        fields = [split_name(tag[6:]) for tag in tags if tag.startswith("field ")]
        kind = next((tag.split()[1] for tag in tags if tag.startswith("class ")), None)
        if re.match(r"local M\b", line) and not self.about:
            self.about = text_of("\n".join(doc))
        if kind and (fields or not re.match(r"local M\b", line)):
            self.classes.append((kind.rstrip(":"), text_of("\n".join(doc)) if not re.match(r"local M\b", line) else "",
                                 fields))
        found = re.match(r"function (\w+)([.:])([\w.]+)\((.*)\)", line)
        if found:
            owner = self.name.removeprefix("sipeat.") if found[1] == "M" else found[1]
            self.functions.append((f"{owner}{found[2]}{found[3]}({found[4]})", text_of("\n".join(doc)),
                                   [split_name(tag[6:]) for tag in tags if tag.startswith("param ")],
                                   [type_and_text(tag[7:]) for tag in tags if tag.startswith("return ")]))

    def lines(self):
        yield f"## {self.name}\n"
        if self.about:
            yield f"{self.about}\n"
        for name, about, parameters, answers in self.functions:
            yield f"### `{name}`\n"
            if about:
                yield f"{about}\n"
            yield from (f"- `{name}`: `{kind}`{', ' + text if text else ''}" for name, kind, text in parameters)
            if answers:
                yield "- gives " + ", ".join(f"`{kind}`{' ' + text if text else ''}" for kind, text in answers)
            yield ""
        for name, about, fields in self.classes:
            if not fields:
                continue
            yield f"### {name}\n"
            if about:
                yield f"{about}\n"
            yield "| field | type | |\n|---|---|---|"
            yield from (f"| `{name}` | `{cell(kind)}` | {cell(text)} |" for name, kind, text in fields)
            yield ""


def page():
    modules = [Module(path) for path in sorted((ROOT / "stdlib/meta").glob("*.lua"))]
    modules.sort(key=lambda module: (module.name != "sipeat", module.name))
    return HEAD + "\n".join(line for module in modules for line in module.lines())


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.exit("docs/lua-api.md is not what stdlib/meta says: run python3 docs/lua_api.py")
