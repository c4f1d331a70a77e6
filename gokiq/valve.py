"""Slots: how many jobs may be claimed now. Pure bookkeeping; knows no clock, queue or socket."""

from __future__ import annotations

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
