"""kcat, an independent Kafka client: writes what the product reads, and reads what it wrote."""

import re
import subprocess
import tempfile

BETWEEN_RECORDS, BETWEEN_KEY_AND_VALUE = "\x1e\x1e@@\x1e", "\x1f\x1f@@\x1f"
FORM = "@@record@@%p@@%o@@%K@@%S@@%h@@\\n%k@@value@@%s@@end@@\\n"
RECORD = re.compile(rb"@@record@@(\d+)@@(\d+)@@(-?\d+)@@(-?\d+)@@(.*?)@@\n", re.S)
HEADER = re.compile(r"(?:^|,)([A-Za-z][A-Za-z0-9_.-]*)=")


def run(address, *arguments, data=None, settings=None, timeout=60):
    options = [part for name, value in (settings or {}).items() for part in ("-X", f"{name}={value}")]
    done = subprocess.run(["kcat", "-b", address, *options, *arguments], input=data, capture_output=True,
                          timeout=timeout, check=False)
    if done.returncode != 0:
        raise AssertionError(f"kcat {arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def write(address, topic, records, headers=None, settings=None):
    """Writes (key or None, value) pairs of text or bytes, all with the same headers (a list of (name, bytes))."""
    def raw(text):
        return text if isinstance(text, bytes) else text.encode()

    named = [part for name, value in headers or [] for part in ("-H", raw(name) + b"=" + raw(value))]
    with_key = [(key, value) for key, value in records if key is not None]
    without = [value for key, value in records if key is None]
    limits = {"message.max.bytes": 20_000_000, **(settings or {})}
    if with_key:
        data = BETWEEN_RECORDS.encode().join(
            raw(key) + BETWEEN_KEY_AND_VALUE.encode() + raw(value) for key, value in with_key)
        run(address, "-P", "-t", topic, "-K", BETWEEN_KEY_AND_VALUE, "-D", BETWEEN_RECORDS, *named,
            data=data, settings=limits)
    if without:
        with tempfile.TemporaryDirectory(prefix="sipeat-kcat-") as directory:
            paths = []
            for number, value in enumerate(without):  # a file is a record: any byte may stand in it
                paths.append(f"{directory}/{number}")
                with open(paths[-1], "wb") as file:
                    file.write(raw(value))
            for at in range(0, len(paths), 500):
                run(address, "-P", "-t", topic, *named, *paths[at:at + 500], settings=limits)


class Record:
    """One record as kcat shows it; `value` is bytes or None, headers are bytes by name (the last of a name)."""

    def __init__(self, partition, offset, key, value, headers):
        self.partition, self.offset, self.key, self.value, self.headers = partition, offset, key, value, headers

    def text(self, name):
        return self.headers.get(name, b"").decode("utf-8", "replace")


def parse_headers(data):
    """kcat prints a=1,b=2 without quoting: a comma before a name and = is taken as the next header."""
    text = data.decode("latin-1")
    marks = list(HEADER.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[1]: text[mark.end():end].encode("latin-1") for mark, end in zip(marks, ends)}


def read(address, topic, settings=None):
    """All records of a topic, from the beginning to its end."""
    data = run(address, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", FORM,
               settings={"fetch.message.max.bytes": 20_000_000, **(settings or {})})
    records, at = [], 0
    while True:
        match = RECORD.match(data, at)
        if match is None:
            if at != len(data):
                raise AssertionError(f"kcat printed something else: {data[at:at + 200]!r}")
            return records
        partition, offset, key_size, size = (int(match[i]) for i in range(1, 5))
        start = match.end()
        key = data[start:start + key_size] if key_size >= 0 else None
        start += max(0, key_size) + len(b"@@value@@")
        value = data[start:start + size] if size >= 0 else None
        at = start + max(0, size) + len(b"@@end@@\n")
        records.append(Record(partition, offset, key, value, parse_headers(match[5])))
