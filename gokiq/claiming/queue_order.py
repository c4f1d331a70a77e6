"""Which queue is asked first: Sidekiq's strict, weighted and random order, for batches; weights
that hold in time; slots reserved for a queue. Pure; the caller brings chance and clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gokiq.claiming.fair_shares import Shares
from gokiq.errors import ConfigError

#: One step of a claim: take up to so many jobs from the queue with this index.
Step = tuple[int, int]

#: First choices that a plan draws at most. Beyond as many jobs, one choice counts for several: a
#: queue that is asked costs Redis 7 us, a job that it gives 2.
DRAWS = 50


class Order(Protocol):
    """Plans of a capsule."""

    def plan(self, want: int, caps: Mapping[int, int] | None = None) -> list[Step]:
        """Steps that claim `want` jobs, to be followed in order until `want` are found. The steps
        of a route never exceed its cap together; a route that is not in `caps` has none.
        """

    def changed(self, route: int, by: int) -> None:
        """`by` jobs of this route took a slot, or gave it back (negative)."""

    def found(self, empty: set[int]) -> None:
        """These routes had fewer jobs than the plan asked for; all others had enough."""


class QueueOrder:
    """Plans by Sidekiq's rules. `queues` are `(route index, weight)` in configured order; mode as
    Sidekiq names it.

    Source of the rules: sidekiq lib/sidekiq/fetch.rb (queues_cmd) and capsule.rb (queues=).
    """

    def __init__(self, queues: Sequence[tuple[int, int]], mode: str, rng: random.Random) -> None:
        self._routes = [route for route, _ in queues]
        self._weights = [max(weight, 1) for _, weight in queues]
        self._strict = mode == "strict" or len(queues) == 1
        self._rng = rng

    def plan(self, want: int, caps: Mapping[int, int] | None = None) -> list[Step]:
        """Order. Strict: every queue in turn. Otherwise each job's first choice is drawn by weight,
        as Sidekiq draws it anew for every job (beyond DRAWS jobs, for several of them at once);
        then all queues follow in a freshly drawn order, for what the first choices did not have.
        """
        if self._strict:
            steps = [(route, want) for route in self._routes]
        else:
            steps = self._first_choices(want) if want > 1 else []
            steps += [(route, want) for route in self._shuffled()]
        return steps if caps is None else capped(steps, caps)

    def changed(self, route: int, by: int) -> None:
        """Order. Sidekiq's rules look at picks alone."""

    def found(self, empty: set[int]) -> None:
        """Order."""

    def _first_choices(self, want: int) -> list[Step]:
        jobs = -(-want // DRAWS)
        drawn: dict[int, int] = {}
        for route in self._rng.choices(self._routes, self._weights, k=-(-want // jobs)):
            drawn[route] = drawn.get(route, 0) + jobs
        return list(drawn.items())

    def _shuffled(self) -> list[int]:
        """Each queue `weight` times, shuffled, later duplicates dropped (Efraimidis-Spirakis keys:
        the same distribution).
        """
        keyed = [
            (self._rng.random() ** (1.0 / weight), route)
            for route, weight in zip(self._routes, self._weights, strict=True)
        ]
        keyed.sort(reverse=True)
        return [route for _, route in keyed]


class TimeOrder:
    """Plans by which the slot-seconds of queues that have jobs follow their weights, however long
    their jobs take. By Sidekiq's rule a queue of slow jobs gets more than its weight: each pick of
    it holds a slot for longer.
    """

    def __init__(self, queues: Sequence[tuple[int, int]], clock: Callable[[], float]) -> None:
        self._routes = [route for route, _ in queues]
        self._shares = Shares({route: float(max(weight, 1)) for route, weight in queues})
        self._clock = clock
        self._empty: set[int] = set()

    def plan(self, want: int, caps: Mapping[int, int] | None = None) -> list[Step]:
        """Order. First their share for queues that were empty, in case they are no longer; then the
        shares of the others; then all queues in order of need.
        """
        most = {route: want if caps is None else caps.get(route, want) for route in self._routes}
        open_ = {route: limit for route, limit in most.items() if limit > 0}
        full = {route: limit for route, limit in open_.items() if route not in self._empty}
        self._shares.hungry(full, self._clock())
        steps = [
            (route, share)
            for route, share in self._shares.divide(want, open_).items()
            if route in self._empty
        ]
        steps += self._shares.divide(want, full).items()
        steps += [(route, want) for route in self._shares.order(list(open_))]
        return capped(steps, most)

    def changed(self, route: int, by: int) -> None:
        """Order."""
        self._shares.changed(route, by, self._clock())

    def found(self, empty: set[int]) -> None:
        """Order."""
        self._empty = set(empty)


class Reserve:
    """Slots kept for queues: the others leave so many free that each of these reaches its minimum
    at once. `minimum` is route -> slots.
    """

    def __init__(self, minimum: Mapping[int, int]) -> None:
        self._minimum = dict(minimum)

    def split(self, free: int, running: Callable[[int], int]) -> tuple[list[Step], int]:
        """Of `free` slots: steps for the queues that have not reached their minimum, and how many
        slots all queues share.
        """
        steps = []
        for route, minimum in self._minimum.items():
            unmet = min(max(minimum - running(route), 0), free)
            if unmet:
                steps.append((route, unmet))
                free -= unmet
        return steps, free


def by_time(settings: Mapping[str, Any]) -> bool:
    """Whether weights are to hold in time, by the `gokiq:` section of the app's Sidekiq
    configuration. Raises ConfigError.
    """
    weights = settings.get("weights", "picks")
    if weights not in ("picks", "time"):
        raise ConfigError(f"gokiq: weights {weights!r:.80}: must be picks or time")
    return bool(weights == "time")


def reserved(settings: Mapping[str, Any]) -> dict[str, int]:
    """Slots that are kept for each queue, by the same section. Raises ConfigError."""
    given = settings.get("reserve") or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"gokiq: reserve {given!r:.80}: must be a mapping, queue: slots")
    for queue, slots in given.items():
        if type(slots) is not int or slots < 0:
            raise ConfigError(
                f"gokiq: reserve.{queue} {slots!r:.80}: must be a whole number, 0 or more"
            )
    return {str(queue): slots for queue, slots in given.items()}


def capped(steps: Sequence[Step], caps: Mapping[int, int]) -> list[Step]:
    """The steps with no more of each route than its cap, over all its steps together."""
    left = dict(caps)
    result = []
    for route, most in steps:
        allowed = min(most, left.get(route, most))
        if allowed > 0:
            result.append((route, allowed))
        if route in left:
            left[route] -= allowed
    return result


def emptied(want: int, steps: Sequence[Step], counts: Sequence[int]) -> set[int]:
    """Routes that had fewer jobs than a step asked for; `counts` is what each step found. A step
    that was not reached, because `want` was found before, says nothing.
    """
    empty = set()
    for (route, most), count in zip(steps, counts, strict=True):
        if count < min(most, want):
            empty.add(route)
        want -= count
    return empty
