#!/usr/bin/env python3
"""duplicates.py - the same lines do not stand in two places, and basics exist once. Run from the root.

A run of WINDOW equal lines of code (comments, blank lines and brackets left out) in two places is a duplicate.
Names of basics that have one home are looked for by their definition.
"""

import collections
import pathlib
import re
import sys

WINDOW = 12
FOLDERS = ("runtime", "drivers", "stdlib", "scripts", "tests/support")
IGNORED = re.compile(r"^\s*(//|--|\*|/\*|#\s*include|#|[{}()\[\];,]*$|end[,)]*$|else$|return$|break;?$)")
BASICS = {
    r"#define\s+\w*(container_of|CONTAINER)\w*\(": "core/base.h has SIP_CONTAINER",
    r"\buint64_t\s+\w*now_ms\w*\(.*\)\s*$": "one clock helper in core",
    r"^(static\s+)?(char|void)\s*\*\s*x(malloc|calloc|realloc|strdup)\(": "no wrapper that exits",
    r"^(static\s+)?\w+\s+\w*(fnv1a?|djb2|murmur)\w*\(": "one hash function in core",
}


def sources():
    for folder in FOLDERS:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.suffix in (".c", ".h", ".lua", ".py") and "meta" not in path.parts:
                yield path


def code_lines(path):
    lines = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = re.sub(r"\s+", " ", line).strip()
        if text and not IGNORED.match(line):
            lines.append((number, text))
    return lines


def main():
    windows, homes = collections.defaultdict(list), collections.defaultdict(list)
    for path in sources():
        lines = code_lines(path)
        for at in range(len(lines) - WINDOW + 1):
            windows[tuple(text for _, text in lines[at:at + WINDOW])].append((path, lines[at][0]))
        if path.suffix in (".c", ".h"):
            for number, text in lines:
                for pattern in BASICS:
                    if re.search(pattern, text):
                        homes[pattern].append(f"{path}:{number}")
    bad, told = False, set()
    for places in windows.values():
        key = tuple(sorted({str(path) for path, _ in places}))
        if len(places) > 1 and key not in told:
            told.add(key)
            bad = True
            print("duplicates: the same", WINDOW, "lines at",
                  " and ".join(f"{path}:{number}" for path, number in places), file=sys.stderr)
    for pattern, places in homes.items():
        if len(places) > 1:
            bad = True
            print(f"duplicates: {BASICS[pattern]}:", " and ".join(places), file=sys.stderr)
    return bad


if __name__ == "__main__":
    sys.exit(main())
