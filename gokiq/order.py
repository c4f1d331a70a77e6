"""Which queue is asked first: Sidekiq's strict, weighted and random order, for batches. Pure; the
caller brings chance.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

#: One step of a claim: take up to so many jobs from the queue with this index.
Step = tuple[int, int]


class QueueOrder:
    """Plans of a capsule. `queues` are `(route index, weight)` in configured order; mode as Sidekiq
    names it.

    Source of the rules: sidekiq lib/sidekiq/fetch.rb (queues_cmd) and capsule.rb (queues=).
    """

    def __init__(self, queues: Sequence[tuple[int, int]], mode: str, rng: random.Random) -> None:
        self._routes = [route for route, _ in queues]
        self._weights = [max(weight, 1) for _, weight in queues]
        self._strict = mode == "strict" or len(queues) == 1
        self._rng = rng

    def plan(self, want: int) -> list[Step]:
        """Steps that claim `want` jobs, to be followed in order until `want` are found.

        Strict: every queue in turn. Otherwise each job's first choice is drawn by weight, as
        Sidekiq draws it anew for every job; then all queues follow in a freshly drawn order, for
        what the first choices did not have.
        """
        if self._strict:
            return [(route, want) for route in self._routes]
        steps = self._first_choices(want) if want > 1 else []
        steps += [(route, want) for route in self._shuffled()]
        return steps

    def _first_choices(self, want: int) -> list[Step]:
        drawn: dict[int, int] = {}
        for route in self._rng.choices(self._routes, self._weights, k=want):
            drawn[route] = drawn.get(route, 0) + 1
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
