"""Where a due member of `retry` or `schedule` goes. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """Where a due member goes."""

    ENQUEUE = "enqueue"
    SCHEDULE = "schedule"
    DROP = "drop"
    DEAD = "dead"
    #: It stays where it is, and is tried again when its lease is over.
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Push:
    """The fate of one member: `queue` for ENQUEUE, `score` for SCHEDULE, the bytes to store in
    `payload`; the reason there for KEEP and DEAD.
    """

    fate: Fate
    queue: str = ""
    score: float = 0.0
    payload: bytes = b""
