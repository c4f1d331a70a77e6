"""What several jobs need together, a database or a service: its limit, its breaker, its errors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gokiq.errors import ConfigError
from gokiq.limits.adaptive import TOLERANCE, AdaptiveLimit
from gokiq.limits.breaker import Breaker, BreakerSettings
from gokiq.limits.overload import Verdict, judge
from gokiq.log import get_logger

log = get_logger("limits")

#: Least time between two lines about one limit, seconds: it tries smaller values now and then.
TELL_S = 5.0
_KEYS = ("adaptive", "min", "max", "tolerance", "breaker", "errors")
#: They say whose dependency it is, which is for others to read.
_MEMBERS = ("queues", "classes")
_BREAKER_KEYS = {
    "failure_rate": "failure_rate",
    "window": "window_s",
    "volume": "volume",
    "pause": "pause_s",
    "longest_pause": "longest_pause_s",
    "probes": "probes",
}


class Dependency:
    """Says how many jobs more may be claimed, by how those that end have fared.

    Every claimed job comes back once, by `finished` or `returned`. `claimed_at` and all times are
    seconds of `clock`.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: AdaptiveLimit | None = None,
        breaker: Breaker | None = None,
        errors: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        #: Counts its jobs that are out and have not ended; whoever has the table of jobs sets it.
        self.count: Callable[[], int] = lambda: 0
        self._adaptive = limit
        self._breaker = breaker
        self._errors = frozenset(errors)
        self._clock = clock
        self._told_breaker = breaker.state if breaker else ""
        self._told_limit = limit.limit if limit else 0
        self._told_at = -TELL_S
        self._why = ""

    @classmethod
    def from_settings(
        cls,
        name: str,
        settings: Mapping[str, Any],
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> Dependency:
        """As under `gokiq:` in sidekiq.yml (docs/backpressure.md). Raises ConfigError."""
        unknown = [str(key) for key in settings if key not in (*_KEYS, *_MEMBERS)]
        if unknown:
            raise ConfigError(f"{name}: there is no setting {unknown[0]}; give {', '.join(_KEYS)}")
        errors = settings.get("errors", ())
        if not isinstance(errors, list | tuple) or not all(isinstance(e, str) for e in errors):
            raise ConfigError(f"{name}: errors is {errors!r}; give a list of class names")
        try:
            limit = None
            if _flag(settings, "adaptive", default=True):
                limit = AdaptiveLimit(
                    _whole(settings, "min", 1),
                    _whole(settings, "max", 1000),
                    tolerance=_number(settings, "tolerance", TOLERANCE),
                    clock=clock,
                )
            breaker = _breaker(settings.get("breaker", False), clock, rng)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
        return cls(name, limit=limit, breaker=breaker, errors=errors, clock=clock)

    @property
    def in_flight(self) -> int:
        """Its jobs that are out and have not ended."""
        return self.count()

    @property
    def limit(self) -> int | None:
        """Jobs that may be out at once now; None = no limit is kept."""
        return self._adaptive.limit if self._adaptive else None

    @property
    def load(self) -> float | None:
        """How many times slower than unloaded its jobs are; None where no limit is kept."""
        return self._adaptive.load if self._adaptive else None

    @property
    def breaker(self) -> str | None:
        """`closed`, `open` or `half-open`; None where there is none."""
        return self._breaker.state if self._breaker else None

    def free(self) -> int | None:
        """Jobs that may be claimed now; None = any number."""
        admitted = self._breaker.admit() if self._breaker else None
        if self._breaker and self._breaker.state != self._told_breaker:
            self._tell_breaker(self._breaker)
        if self._adaptive is None:
            return admitted
        free = max(0, self._adaptive.limit - self.in_flight)
        return free if admitted is None else min(free, admitted)

    @property
    def blocked_by(self) -> str:
        """Why `free` is 0: `breaker` or `limit`; empty while it is not."""
        if self._breaker and self._breaker.admit() == 0:
            return "breaker"
        return "limit" if self.free() == 0 else ""

    @property
    def retry_at(self) -> float | None:
        """When `free` may rise although no job comes back."""
        return self._breaker.retry_at if self._breaker else None

    def claimed(self, claimed_at: float, jobs: int = 1) -> None:
        """So many of its jobs were claimed then."""
        if self._breaker:
            self._breaker.claimed(claimed_at, jobs)

    def returned(self, claimed_at: float, jobs: int = 1) -> None:
        """Jobs came back without an outcome of their run."""
        if self._breaker:
            self._breaker.returned(claimed_at, jobs)

    def finished(
        self, job_class: str, elapsed_s: float, claimed_at: float, status: int, error_class: str
    ) -> None:
        """A job, which `in_flight` still counts, ended in a worker after a run of `elapsed_s`."""
        verdict = judge(status, error_class, self._errors)
        if verdict is Verdict.IGNORED:
            self.returned(claimed_at)
            return
        is_ok = verdict is Verdict.OK
        if self._adaptive:
            if is_ok:
                self._adaptive.observe(job_class, elapsed_s, self.in_flight)
            else:
                self._adaptive.overload(self.in_flight)
                self._why = f"{job_class} failed with {error_class}, which tells of overload"
        if self._breaker:
            if self._breaker.observe(is_ok, claimed_at) and self._adaptive:
                self._adaptive.restart()
                self._why = "its breaker has closed"
            if self._breaker.state != self._told_breaker:
                self._tell_breaker(self._breaker)
        if self._adaptive:
            self._tell_limit(self._adaptive)

    def waited(self, seconds: float) -> None:
        """One of its jobs waited so long for a connection of its pool."""
        if self._adaptive:
            self._adaptive.waited(seconds)
            self._why = f"a job waited {seconds:.1f} s for a connection"
            self._tell_limit(self._adaptive)

    def _tell_breaker(self, breaker: Breaker) -> None:
        """One line for each change."""
        self._told_breaker = breaker.state
        if breaker.state == "open":
            pause_s = (breaker.retry_at or 0.0) - self._clock()
            text = "The breaker of %s is open: %s; its jobs wait in their queues for %.1f s"
            log.warning(text, self.name, breaker.why, pause_s)
        elif breaker.state == "half-open":
            log.info("The breaker of %s lets some jobs through, to see how they fare", self.name)
        else:
            log.info(
                "The breaker of %s has closed: the jobs that it let through did well", self.name
            )

    def _tell_limit(self, limit: AdaptiveLimit) -> None:
        """A line when it has moved by more than a half since the last one."""
        if 2 * abs(limit.limit - self._told_limit) <= self._told_limit:
            return
        now = self._clock()
        if now - self._told_at < TELL_S:
            return
        why = self._why or f"jobs take {limit.load:.1f} times as long as unloaded"
        text = "The limit of %s moves from %d to %d: %s"
        log.info(text, self.name, self._told_limit, limit.limit, why)
        self._told_limit, self._told_at, self._why = limit.limit, now, ""


def _flag(settings: Mapping[str, Any], key: str, default: bool) -> bool:
    value = settings.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}: give true or false")
    return value


def _breaker(
    settings: object, clock: Callable[[], float], rng: random.Random | None
) -> Breaker | None:
    if isinstance(settings, bool):
        settings = {} if settings else None
    if settings is None:
        return None
    if not isinstance(settings, Mapping):
        raise ValueError(f"breaker is {settings!r}: give true, false or its settings")
    default = BreakerSettings()
    unknown = settings.keys() - _BREAKER_KEYS.keys()
    if unknown:
        raise ValueError(
            f"there is no setting {min(map(str, unknown))} of a breaker: "
            f"give {', '.join(_BREAKER_KEYS)}"
        )
    fields: dict[str, Any] = {
        field: (_whole if isinstance(getattr(default, field), int) else _number)(
            settings, key, getattr(default, field)
        )
        for key, field in _BREAKER_KEYS.items()
    }
    return Breaker(BreakerSettings(**fields), clock=clock, rng=rng)


def _number(settings: Mapping[str, Any], key: str, default: float) -> float:
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} is {value!r}: give a number")
    return float(value)


def _whole(settings: Mapping[str, Any], key: str, default: int) -> int:
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} is {value!r}: give a whole number")
    return value
