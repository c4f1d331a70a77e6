"""The slots in shared memory where jobs note their end; the other side is ruby/slots.rb."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Self

_SLOT_BYTES = 8


class Slots:
    """One slot per job: the monotonic time of its end in nanoseconds, 0 until then."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count
        # Every slot below is taken; it only moves forward, so a look costs little.
        self._taken = 0

    def __enter__(self) -> Self:
        with self.path.open("w+b") as file:
            file.truncate(self.count * _SLOT_BYTES)
            self._map = mmap.mmap(file.fileno(), self.count * _SLOT_BYTES)
        self._view = memoryview(self._map).cast("Q")
        return self

    def __exit__(self, *_: object) -> None:
        self._view.release()
        self._map.close()
        self.path.unlink(missing_ok=True)

    def are_taken(self, stop: int) -> bool:
        """Whether all slots below `stop` are taken."""
        view = self._view
        taken = self._taken
        while taken < stop and view[taken]:
            taken += 1
        self._taken = taken
        return taken >= stop

    def count_taken(self, start: int, stop: int) -> int:
        """How many slots from `start` to before `stop` are taken. Looks at each: not for a loop."""
        return sum(1 for end_ns in self._view[start:stop] if end_ns)

    def last_end_ns(self, start: int, stop: int) -> int:
        """The latest end noted from `start` to before `stop`."""
        return max(self._view[start:stop])

    def ends_ns(self, start: int, stop: int) -> list[int]:
        """What is noted from `start` to before `stop`."""
        return self._view[start:stop].tolist()
