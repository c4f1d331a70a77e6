"""What the loop needs of those who run the jobs (workers/pool.py), and hears from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gokiq.core import Job, Outcome


@dataclass(frozen=True, slots=True)
class Ended:
    """What one RESULTS or DONE frame says: by route, the jobs that were processed and ended well;
    and the others with their outcomes.
    """

    well: dict[int, list[Job]]
    special: list[tuple[Job, Outcome]]

    @property
    def count(self) -> int:
        """All of them."""
        return sum(map(len, self.well.values())) + len(self.special)

    def jobs(self) -> list[Job]:
        """All of them, in no order."""
        return [job for jobs in self.well.values() for job in jobs] + [
            job for job, _ in self.special
        ]


class Taker(Protocol):
    """A worker."""

    @property
    def open(self) -> Mapping[int, Job]:
        """The jobs that are out at it, by number."""


class Takers(Protocol):
    """All workers."""

    @property
    def workers(self) -> Iterable[Taker]:
        """All that are connected."""

    @property
    def room(self) -> int:
        """Jobs that they take now."""

    @property
    def ready_count(self) -> int:
        """Workers that take jobs."""

    @property
    def holds_back(self) -> bool:
        """Whether some take fewer jobs than they have slots."""

    def assign(self, jobs: list[Job]) -> list[Job]:
        """Send jobs; returns those for which there was no room."""
