"""Stops the jobs of a dependency that fails, so that they keep their retries, and tries it now and
then. Pure.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half-open"]


#: Of many jobs a second only the last ones count, so many times the volume: else as many would fail
#: as ended well in the window before.
LAST = 10


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When it opens, and for how long. Raises ValueError when that makes no sense."""

    #: Share of failures in the window at which it opens.
    failure_rate: float = 0.5
    #: Length of the window, seconds.
    window_s: float = 10.0
    #: Jobs that must have ended in the window.
    volume: int = 10
    #: First pause, and the longest one, seconds; each is twice the one before.
    pause_s: float = 5.0
    longest_pause_s: float = 300.0
    #: Jobs that are let through after a pause, and must all succeed.
    probes: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.failure_rate <= 1:
            raise ValueError(f"failure_rate is {self.failure_rate:g}: give more than 0, at most 1")
        if self.window_s <= 0 or self.pause_s <= 0:
            raise ValueError("window and pause: give seconds above 0")
        if self.longest_pause_s < self.pause_s:
            raise ValueError(
                f"longest_pause is {self.longest_pause_s:g} s: give at least pause, "
                f"{self.pause_s:g} s"
            )
        if self.volume < 1 or self.probes < 1:
            raise ValueError("volume and probes: give at least 1")


class Breaker:
    """Closed: any number of jobs, outcomes are counted. Open: none. Half-open: a few probes; all
    of them must succeed to close it, one failure opens it again, for twice as long.

    Times are seconds of `clock`. Outcomes of jobs that were claimed before it opened are old news
    and change nothing.
    """

    def __init__(
        self,
        settings: BreakerSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings or BreakerSettings()
        self._clock = clock
        self._rng = rng or random.Random()
        self._recent: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._state: State = "closed"
        self._since = clock()
        self._openings = 0
        self._retry_at = 0.0
        #: Why it opened last.
        self.why = ""
        self._out = self._successes = 0

    @property
    def state(self) -> State:
        """The pause may be over while it is still open: `admit` looks."""
        return self._state

    @property
    def retry_at(self) -> float | None:
        """When `admit` may rise although no outcome came; None while it is closed."""
        return None if self._state == "closed" else self._retry_at

    def admit(self) -> int | None:
        """Jobs that may be claimed now; None = any number."""
        if self._state == "closed":
            return None
        now = self._clock()
        if self._state == "open" and now >= self._retry_at:
            self._turn("half-open", now)
            self._retry_at = now + self._settings.pause_s
        if self._state == "open":
            return 0
        if now >= self._retry_at:  # probes that say nothing for so long are replaced
            self._out = 0
            self._retry_at = now + self._settings.pause_s
        return max(0, self._settings.probes - self._successes - self._out)

    def claimed(self, claimed_at: float, jobs: int = 1) -> None:
        """So many jobs were claimed then."""
        if self._state == "half-open" and claimed_at >= self._since:
            self._out += jobs

    def returned(self, claimed_at: float, jobs: int = 1) -> None:
        """Jobs claimed then ended without saying anything about the dependency."""
        if self._state == "half-open" and claimed_at >= self._since:
            self._out = max(0, self._out - jobs)

    def observe(self, ok: bool, claimed_at: float) -> bool:
        """A job claimed then ended; True when that has closed the breaker."""
        if self._state == "closed":
            if claimed_at >= self._since or ok:
                self._count(ok)
            return False
        if self._state == "open" or claimed_at < self._since:
            return False
        if not ok:
            self._open("a job that was let through failed")
            return False
        self._out = max(0, self._out - 1)
        self._successes += 1
        if self._successes < self._settings.probes:
            return False
        self._turn("closed", self._clock())
        self._recent.clear()
        self._failures = 0
        return True

    def _count(self, ok: bool) -> None:
        now = self._clock()
        self._recent.append((now, ok))
        self._failures += not ok
        oldest, most = now - self._settings.window_s, LAST * self._settings.volume
        while self._recent[0][0] < oldest or len(self._recent) > most:
            self._failures -= not self._recent.popleft()[1]
        if now - self._since >= self._settings.window_s:
            self._openings = 0  # it has held for a while
        jobs = len(self._recent)
        if jobs >= self._settings.volume and self._failures >= self._settings.failure_rate * jobs:
            self._open(f"{self._failures} of the last {jobs} jobs failed")

    def _open(self, why: str) -> None:
        """Source of the jitter: M. Brooker, Exponential Backoff and Jitter, AWS 2015 (here half of
        the pause is kept, so that it never is next to nothing).
        """
        now = self._clock()
        self.why = why
        self._turn("open", now)
        pause_s = min(
            self._settings.longest_pause_s, self._settings.pause_s * 2.0 ** min(self._openings, 60)
        )
        self._openings += 1
        self._retry_at = now + pause_s * (0.5 + 0.5 * self._rng.random())

    def _turn(self, state: State, now: float) -> None:
        self._state, self._since = state, now
        self._out = self._successes = 0
