"""Whose turn it is: which queues a capsule's claim asks, in which order and for how many jobs. Puts
the rules of order.py and fairness.py together for an app; pure, the caller brings chance and clock.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from gokiq.app.info import AppInfo, Capsule, Route
from gokiq.claiming.queue_order import (
    Order,
    QueueOrder,
    Reserve,
    Step,
    TimeOrder,
    by_time,
    emptied,
    reserved,
)
from gokiq.claiming.tenants import Tenants, parse_tenants
from gokiq.core import Job
from gokiq.errors import ConfigError

#: So many jobs at most, from these queues.
Wish = tuple[int, list[Step]]


class Turns:
    """Plans for the capsules of an app. Raises ConfigError when its settings are wrong."""

    def __init__(
        self, app: AppInfo, rng: random.Random, clock: Callable[[], float] = time.monotonic
    ) -> None:
        settings = app.settings
        self._clock = clock
        index = {route: i for i, route in enumerate(app.routes)}
        #: Jobs by route that hold a slot.
        self.running: Counter[int] = Counter()
        self._routes: dict[str, list[int]] = {}
        self._orders: dict[str, Order] = {}
        self._reserves: dict[str, Reserve] = {}
        self._order_of: dict[int, Order] = {}
        for capsule in app.capsules:
            queues = [(index[Route(capsule.name, name)], weight) for name, weight in capsule.queues]
            self._routes[capsule.name] = [route for route, _ in queues]
            is_by_time = by_time(settings) and capsule.mode != "strict"
            order = (
                TimeOrder(queues, clock) if is_by_time else QueueOrder(queues, capsule.mode, rng)
            )
            self._orders[capsule.name] = order
            self._order_of |= dict.fromkeys(self._routes[capsule.name], order)
            minimum = _minimum(capsule, reserved(settings), index)
            if minimum:
                self._reserves[capsule.name] = Reserve(minimum)
        paths = parse_tenants(settings.get("tenants"))
        #: Those of each route that is shared among tenants.
        self.tenants = {
            route: Tenants(paths[app.routes[route].queue])
            for route in self._order_of
            if app.routes[route].queue in paths
        }

        #: Whether there is more than Sidekiq's own order.
        self.is_active = bool(
            self._reserves or self.tenants or (by_time(settings) and self._has_weights(app))
        )

    @staticmethod
    def _has_weights(app: AppInfo) -> bool:
        return any(capsule.mode != "strict" for capsule in app.capsules)

    def follow(self, former: Turns) -> None:
        """Go on where other turns, of the same app before a reload, leave off: their jobs run."""
        for route, count in former.running.items():
            self.changed(route, count)
        for route, tenants in self.tenants.items():
            before = former.tenants.get(route)
            if before is not None and before.path.path == tenants.path.path:
                self.tenants[route] = before

    def routes(self, capsule: str) -> Sequence[int]:
        """Routes of a capsule, in configured order."""
        return self._routes[capsule]

    def changed(self, route: int, by: int) -> None:
        """`by` jobs of this route took a slot, or gave it back (negative)."""
        self.running[route] += by
        order = self._order_of.get(route)  # it may have gone with a reload
        if order is not None:
            order.changed(route, by)

    def settled(self, numbers: Set[int]) -> None:
        """These claims are released."""
        for tenants in self.tenants.values():
            tenants.ended(numbers, self._clock())

    def keep(self, held: Set[int]) -> None:
        """Only these claims are ours."""
        for tenants in self.tenants.values():
            tenants.keep(held, self._clock())

    def found_again(self, jobs: Iterable[Job]) -> None:
        """Claims of whose reply we had not heard."""
        for job in jobs:
            tenants = self.tenants.get(job.route)
            if tenants is not None:
                tenants.started(job.number, tenants.of(job.payload), self._clock())

    def caps(self, capsule: str, free: int) -> dict[int, int]:
        """Jobs that each route may get of `free` slots without touching what is kept for others;
        empty when nothing is kept.
        """
        reserve = self._reserves.get(capsule)
        if reserve is None:
            return {}
        own, shared = reserve.split(free, self._running_of)
        kept = dict(own)
        return {route: shared + kept.get(route, 0) for route in self._routes[capsule]}

    def wishes(
        self, capsule: str, want: int, free: int, caps: Mapping[int, int] | None = None
    ) -> list[Wish]:
        """Up to `want` jobs for `free` slots, no more of a route than its cap."""
        reserve = self._reserves.get(capsule)
        if reserve is None:
            return [(want, self._orders[capsule].plan(want, caps))]
        steps, shared = reserve.split(free, self._running_of)
        left = dict(caps or {})
        own: list[Step] = []
        for route, most in steps:
            count = min(most, want, left.get(route, most))
            if count > 0:
                own.append((route, count))
                want -= count
            if route in left:
                left[route] -= count
        wishes: list[Wish] = [(sum(count for _, count in own), own)] if own else []
        shared = min(shared, want)
        if shared:
            wishes.append((shared, self._orders[capsule].plan(shared, left)))
        return wishes

    def _running_of(self, route: int) -> int:
        return self.running[route]

    def found(self, capsule: str, answers: Iterable[tuple[Wish, Sequence[int]]]) -> set[int]:
        """What each step of a capsule's wishes found; returns the routes that have no more."""
        empty = set()
        for (want, steps), counts in answers:
            empty |= emptied(want, steps, counts)
        if capsule in self._orders:
            self._orders[capsule].found(empty)
        return empty


def check(app: AppInfo) -> None:
    """Raises ConfigError when the settings of an app are wrong."""
    Turns(app, random.Random())


def _minimum(
    capsule: Capsule, slots: Mapping[str, int], index: Mapping[Route, int]
) -> dict[int, int]:
    """Slots kept for each route of a capsule. Raises ConfigError when others would get none."""
    minimum = {
        index[Route(capsule.name, queue)]: slots[queue]
        for queue, _ in capsule.queues
        if slots.get(queue)
    }
    kept = sum(minimum.values())
    if minimum and kept + (len(minimum) < len(capsule.queues)) > capsule.concurrency:
        raise ConfigError(
            f"gokiq: reserve: {kept} slots of capsule {capsule.name}, which has "
            f"{capsule.concurrency}: leave one for its other queues, or raise its concurrency"
        )
    return minimum
