"""licences.py - docs/licences.md lists what the binary links, what is compiled in and what the pages hold."""

import json
import os
import pathlib
import re
import subprocess
import sys

TOOLS = {"esbuild"}  # make the pages, and are in none
RUNTIMES = re.compile(r"lib(asan|ubsan|tsan|lsan|clang_rt\.\S+|gcc_s|stdc\+\+)\.so|ld-linux")
OPTIONAL = {"libmimalloc.so.2"}  # sanitizers bring their own allocator


def sections(text):
    return {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}


def linked(binary):
    out = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    return {name for name in re.findall(r"\(NEEDED\).*\[(.*)\]", out) if not RUNTIMES.search(name)}


def complaints():
    part = sections(pathlib.Path("docs/licences.md").read_text())
    rows = [line for line in "".join(part.values()).split("\n") if line.startswith("| ") and "|---" not in line]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if not all(cells[:3]):
            yield f"docs/licences.md: a cell is empty: {row}"
    named = set(re.findall(r"`(lib[^`]*\.so[^`]*)`", part["Linked when it runs"]))
    found = linked(os.environ["SIPEAT_BINARY"])
    for name in sorted(found - named):
        yield f"docs/licences.md lacks {name}, which the binary links"
    for name in sorted(named - found - OPTIONAL):
        yield f"docs/licences.md has {name}, which the binary does not link"
    build = pathlib.Path("CMakeLists.txt").read_text()
    archives = set(re.findall(r"lib[\w.-]+\.a", build)) | {"chart.min.js"}
    for name in sorted(archives - set(re.findall(r"`([^`]+)`", part["Compiled in"]))):
        yield f"docs/licences.md lacks {name}, which is compiled in"
    lock = json.loads(pathlib.Path("console/package-lock.json").read_text())["packages"]
    for path, package in lock.items():
        name = path.removeprefix("node_modules/")
        if name and not name.startswith("@esbuild/") and name not in TOOLS:
            row = f"| {name} | {package['version']} | {package['license']} |"
            if row not in part["In the console's pages"]:
                yield f"docs/licences.md lacks the row {row}"


if __name__ == "__main__":
    found = list(complaints())
    print("\n".join(found))
    sys.exit(1 if found else 0)
