"""Slots: how many jobs may be claimed now. Pure bookkeeping; knows no clock, queue or socket."""

from __future__ import annotations

import heapq
from collections.abc import Mapping


class Valve:
    """Permits per capsule. A slot is taken before its job leaves Redis and freed when its outcome
    is settled there.

    So the number of jobs that are out of their queues never exceeds the sum of the limits.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = dict(limits)
        self._taken = dict.fromkeys(limits, 0)

    @property
    def limit(self) -> int:
        """All slots of all capsules."""
        return sum(self._limits.values())

    @property
    def taken(self) -> int:
        """Slots in use, over all capsules."""
        return sum(self._taken.values())

    def free(self, capsule: str, coming: int = 0) -> int:
        """Slots of this capsule that may be taken once `coming` are released; never below 0."""
        return max(0, self._limits[capsule] - self._taken[capsule] + coming)

    def share(
        self, room: int, wants: Mapping[str, int], coming: Mapping[str, int]
    ) -> dict[str, int]:
        """Divide `room` among capsules that want so many jobs each, once `coming` are released:
        where it is short, the one that uses least of its slots comes first.
        """
        if sum(wants.values()) <= room:
            return dict(wants)
        got = dict.fromkeys(wants, 0)
        used = {name: self._taken[name] - coming.get(name, 0) for name in wants}
        line = [((used[name] + 1) / self._limits[name], name) for name in wants if wants[name] > 0]
        heapq.heapify(line)
        for _ in range(room):
            _, name = line[0]
            got[name] += 1
            if got[name] < wants[name]:
                heapq.heapreplace(line, ((used[name] + got[name] + 1) / self._limits[name], name))
            else:
                heapq.heappop(line)
        return got

    def resize(self, limits: Mapping[str, int]) -> None:
        """New limits. A capsule that is not named has none: what it has taken is still released."""
        self._taken = dict.fromkeys(limits, 0) | self._taken
        self._limits = dict.fromkeys(self._taken, 0) | dict(limits)

    def take(self, capsule: str, slots: int) -> None:
        """Take `slots` for jobs that are about to be, or were, claimed.

        May exceed the limit: claims found again after an outage exist already and must be carried
        to their end.
        """
        self._taken[capsule] += slots

    def release(self, capsule: str, slots: int) -> None:
        """Give back `slots` whose outcomes are settled. Raises ValueError when more come back than
        were taken.
        """
        if slots > self._taken[capsule]:
            raise ValueError(
                f"{slots} slots released in capsule {capsule}, only {self._taken[capsule]} taken"
            )
        self._taken[capsule] -= slots
