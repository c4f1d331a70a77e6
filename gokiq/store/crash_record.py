"""What Redis remembers of a job that was there when workers died. Values: no clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1

from gokiq.errors import PayloadError
from gokiq.payload import scan, text

#: How long a crash is remembered, seconds (as super_fetch of Sidekiq Pro does).
WINDOW_S = 72 * 3600


@dataclass(frozen=True, slots=True)
class Record:
    """One job's crashes: how many within the window, whether it was alone in the last, and when
    that was, epoch seconds.
    """

    crashes: int
    alone: bool
    at: float

    @classmethod
    def parse(cls, raw: bytes) -> Record | None:
        """From `crashes alone at`, as lua/crash.lua writes it; None when it is something else."""
        parts = raw.split()
        try:
            crashes, alone, at = int(parts[0]), parts[1] == b"1", float(parts[2])
        except (ValueError, IndexError):
            return None
        return cls(crashes, alone, at)

    def written(self) -> str:
        """As `parse` reads it."""
        return f"{self.crashes} {self.alone:d} {self.at:.0f}"


def key_of(payload: bytes) -> str:
    """Under what a job's crashes are kept: its jid, or a digest of its bytes when it has none."""
    try:
        jid = text(scan(payload, ("jid",))[0])
    except PayloadError:
        jid = None
    return jid or sha1(payload, usedforsecurity=False).hexdigest()
