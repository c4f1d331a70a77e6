"""Known rules for a limit that adapts, written from their descriptions, to compare ours with.

They compare latencies whatever the class of the job.
"""

from __future__ import annotations

import math


class Static:
    """A limit that somebody has set."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def observe(self, job_class: str, elapsed_s: float, in_flight: int) -> None:
        """Nothing changes it."""

    def overload(self, in_flight: int) -> None:
        """Nothing changes it."""


class _Moving:
    """Limits from 2 to 200, held as a float."""

    def __init__(self) -> None:
        self._exact = 2.0

    @property
    def limit(self) -> int:
        """Jobs at once."""
        return int(self._exact)

    def overload(self, in_flight: int) -> None:
        """One tenth less."""
        self._set(self._exact * 0.9)

    def _set(self, exact: float) -> None:
        self._exact = min(200.0, max(2.0, exact))


class Aimd(_Moving):
    """One more for each round that is fast enough, a tenth less for a job that took too long.

    Source: D. Chiu, R. Jain, Analysis of the increase and decrease algorithms, 1989; the form is
    that of Netflix concurrency-limits, AIMDLimit. It must be told what too long is, `timeout_s`.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        self._spare = 0

    def observe(self, job_class: str, elapsed_s: float, in_flight: int) -> None:
        """A job ended; at most one cut a round."""
        self._spare -= 1
        if elapsed_s > self._timeout_s:
            if self._spare <= 0:
                self.overload(in_flight)
                self._spare = in_flight
        elif 2 * in_flight >= self._exact:
            self._set(self._exact + 1 / self._exact)


class _Windowed(_Moving):
    """Decides by the mean latency of a round, at least ten jobs."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs = 0
        self._total_s = 0.0

    def observe(self, job_class: str, elapsed_s: float, in_flight: int) -> None:
        """A job ended."""
        self._jobs += 1
        self._total_s += elapsed_s
        if self._jobs >= max(10, self.limit):
            mean_s, self._jobs, self._total_s = self._total_s / self._jobs, 0, 0.0
            self._decide(mean_s, 2 * in_flight >= self._exact)

    def _decide(self, mean_s: float, is_used: bool) -> None:
        raise NotImplementedError


class Vegas(_Windowed):
    """Keeps 3 to 6 times log10(limit) jobs queued, by the shortest latency seen.

    Source: L. Brakmo, L. Peterson, TCP Vegas, 1995; thresholds and probing (now and then the
    present latency is taken for the shortest) are those of Netflix concurrency-limits, VegasLimit.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shortest_s = math.inf
        self._windows = 0

    def _decide(self, mean_s: float, is_used: bool) -> None:
        self._windows += 1
        if self._windows > 22 * self._exact:
            self._shortest_s, self._windows = mean_s, 0
        self._shortest_s = min(self._shortest_s, mean_s)
        if not is_used:
            return
        queued = math.ceil(self._exact * (1 - self._shortest_s / mean_s))
        unit = max(1.0, math.log10(self._exact))
        if queued <= unit:
            self._set(self._exact + 6 * unit)
        elif queued < 3 * unit:
            self._set(self._exact + unit)
        elif queued > 6 * unit:
            self._set(self._exact - unit)


class Gradient(_Windowed):
    """Moves by the ratio of a long average of latency to the present one, plus room for a queue.

    Source: Netflix concurrency-limits, Gradient2Limit: an average of 600 windows, smoothing 0.2, a
    queue of 4, at most half at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._long_s = 0.0
        self._windows = 0

    def _decide(self, mean_s: float, is_used: bool) -> None:
        self._windows += 1
        weight = 1 / self._windows if self._windows <= 10 else 2 / 601
        self._long_s += (mean_s - self._long_s) * weight
        if self._long_s > 2 * mean_s:
            self._long_s *= 0.9
        if is_used:
            gradient = max(0.5, min(1.0, self._long_s / mean_s))
            self._set(0.8 * self._exact + 0.2 * (gradient * self._exact + 4))
