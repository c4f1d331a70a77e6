"""What processes use over time, and whether that is flat."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import linear_regression, median

from devtools.procstat import read_process

#: Share of a run that is warm-up.
WARM_UP = 0.3


@dataclass(frozen=True, slots=True)
class Trend:
    """One measure after the warm-up: medians of its first and last third, and its slope."""

    first: float
    last: float
    per_hour: float
    #: Most that `last` may exceed `first` by.
    allowed: float

    @property
    def is_flat(self) -> bool:
        """Whether it has not grown by more than is allowed."""
        return self.last - self.first <= self.allowed


@dataclass(slots=True)
class Series:
    """One measure; `slack` and `share` are what it may grow by, the greater of the two."""

    slack: float
    share: float
    at_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at_s: float, value: float) -> None:
        """One sample; seconds of any clock."""
        self.at_s.append(at_s)
        self.values.append(value)

    def trend(self) -> Trend:
        """Raises ValueError when there are too few samples."""
        skip = int(len(self.values) * WARM_UP)
        at_s, values = self.at_s[skip:], self.values[skip:]
        third = len(values) // 3
        if third == 0:
            raise ValueError(f"{len(self.values)} samples tell no trend")
        first, last = median(values[:third]), median(values[-third:])
        slope, _ = linear_regression(at_s, values)
        allowed = max(self.slack, self.share * first)
        return Trend(round(first, 2), round(last, 2), round(slope * 3600, 2), round(allowed, 2))


def rss_mb(pids: Sequence[int]) -> float:
    """The largest resident set among them, MB (10^6 bytes); 0 when all are gone."""
    found = [process.rss_bytes for pid in pids if (process := read_process(pid)) is not None]
    return max(found, default=0) / 1e6


def count_fds(pid: int) -> int:
    """Open file descriptors; 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return 0
