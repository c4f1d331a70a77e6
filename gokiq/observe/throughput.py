"""How many jobs of each queue have ended lately. Pure; the caller brings counts and the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

#: How far back we look, seconds.
WINDOW_S = 60.0
#: Least time between two samples, seconds.
SAMPLE_S = 5.0


class Throughput:
    """Keeps totals of the last minute. `totals` only grow; `now` is monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, dict[str, int]]] = deque([(now, {})])

    def sample(self, now: float, totals: Mapping[str, int]) -> None:
        """Remember the totals as they are now, if the last time is not just past."""
        if now - self._samples[-1][0] < SAMPLE_S:
            return
        self._samples.append((now, dict(totals)))
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()

    def per_s(self, now: float, totals: Mapping[str, int]) -> dict[str, float]:
        """Jobs a second, by queue, over at most the last minute."""
        since, before = self._samples[0]
        passed = max(now - since, 1.0)
        return {name: (total - before.get(name, 0)) / passed for name, total in totals.items()}
