"""Tables of results: medians and ratios, as Markdown, printed and put into docs/performance.md."""

import dataclasses
import re
import statistics

median = statistics.median


@dataclasses.dataclass
class Table:
    """`mark` names its place in the page: the lines between <!-- bench:MARK --> and <!-- end -->."""

    mark: str
    columns: list
    rows: list
    notes: list = dataclasses.field(default_factory=list)

    def text(self):
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
        return "\n\n".join([table, *self.notes])


def ratio(upper, lower):
    """Median of the ratios of two lists of figures, taken round by round: what slows a whole round cancels out."""
    return median(a / b for a, b in zip(upper, lower))


def goal(value, at_least=None, at_most=None, digits=2):
    """A figure, beside its target where it has one."""
    text = f"{value:.{digits}f}"
    if at_least is not None:
        text += f" (target ≥ {at_least:g}: {'met' if value >= at_least else 'missed'})"
    elif at_most is not None:
        text += f" (target ≤ {at_most:g}: {'met' if value <= at_most else 'missed'})"
    return text


def write(page, tables, command, where):
    """Replaces each table's lines in the page, with the command that made them and where it ran."""
    text = page.read_text()
    for table in tables:
        pattern = re.compile(rf"(<!-- bench:{table.mark} -->\n).*?(<!-- end -->)", re.S)
        if not pattern.search(text):
            raise ValueError(f"{page} has no place <!-- bench:{table.mark} --> … <!-- end -->")
        block = f"\n`{command}`, {where}:\n\n{table.text()}\n\n"
        text = pattern.sub(lambda found, block=block: found[1] + block + found[2], text)
    page.write_text(text)
