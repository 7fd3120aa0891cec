"""The fenced code blocks of the documentation, in the order in which a reader meets them."""

import dataclasses
import functools
import re

from support.harness import SOURCE

PAGES = sorted([*SOURCE.glob("docs/*.md"), *SOURCE.glob("examples/*/README.md"), SOURCE / "README.md",
                SOURCE / "ARCHITECTURE.md", SOURCE / "CONTRIBUTING.md"])


@dataclasses.dataclass(frozen=True)
class Block:
    page: str  # as in "docs/flows.md"
    number: int  # of those of its language on the page, from 1 on
    language: str  # "" where the page names none
    line: int  # of its first line
    text: str

    @property
    def name(self):
        return f"{self.page} {self.language} {self.number}"

    def __str__(self):
        return f"{self.page}:{self.line} ({self.language} {self.number})"


@functools.cache
def blocks(language=None):
    """Every block, or every one of a language."""
    found = []
    for path in PAGES:
        page, text, counts = str(path.relative_to(SOURCE)), path.read_text(), {}
        for match in re.finditer(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", text, re.S | re.M):
            kind = match[2]
            counts[kind] = counts.get(kind, 0) + 1
            body = re.sub(rf"(?m)^{match[1]}", "", match[3])
            found.append(Block(page, counts[kind], kind, text.count("\n", 0, match.start()) + 2, body))
    return [block for block in found if language in (None, block.language)]


def block(page, language, number=1):
    return next(b for b in blocks(language) if (b.page, b.number) == (page, number))


def as_pattern(shown):
    """A regular expression for what a page shows: `…` stands for anything within its line, a line of `…` alone for
    any lines."""
    lines = []
    for line in shown.rstrip("\n").split("\n"):
        if line.strip() == "…":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(r"[^\n]*".join(re.escape(part.rstrip() if i == line.count("…") else part)
                                        for i, part in enumerate(line.split("…"))) + r"[ \t]*\n")
    return "".join(lines)
