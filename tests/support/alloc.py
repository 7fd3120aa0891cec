"""Makes one allocation of a sipeat_sweep fail (alloc_fault.c), and says which ones to try."""

import mmap
import struct


class Control:
    """The page that support/alloc_fault.c shares with us: fail_at, count, failed."""

    def __init__(self, path):
        path.write_bytes(bytes(mmap.PAGESIZE))
        self.path = path
        self.more = 0  # how many allocations behind the one that fails do so too
        with path.open("r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def arm(self, fail_at):
        self.page[:32] = struct.pack("QQQQ", 0, 0, 0, self.more)
        self.page[:8] = struct.pack("Q", fail_at)

    @property
    def count(self):
        return struct.unpack_from("Q", self.page, 8)[0]

    @property
    def failed(self):
        return struct.unpack_from("Q", self.page, 16)[0]


def points(total, wanted):
    """All of 1..total, or about `wanted` of them spread over it, more of them early."""
    if wanted is None or wanted >= total:
        return list(range(1, total + 1))
    return sorted({max(1, int(total * (i / wanted) ** 1.5)) for i in range(1, wanted + 1)})
