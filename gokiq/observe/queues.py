"""What one process knows of its queues: jobs that run, the limit, why there are no more, how
fast they end. Reads the parts as they are now.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gokiq.app.info import AppInfo
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.slots import Valve
from gokiq.limits.names import names_of
from gokiq.observe.throughput import Throughput
from gokiq.store.broker import Broker
from gokiq.workers.pool import Fleet


@dataclass(frozen=True, slots=True)
class QueueState:
    """Of one queue in one process. `why` is empty when it could run one more."""

    running: int
    limit: int | None
    why: str
    per_s: float

    @property
    def reason(self) -> str:
        """`why` without what it is of."""
        whole = ("no worker", "database pool")
        return self.why if self.why in whole else self.why.partition(" ")[0]


class QueueStatus:
    """Snapshots. `beat` must be called now and then, so that there is a past to compare with."""

    def __init__(
        self,
        app: Callable[[], AppInfo],
        dispatcher: Dispatcher,
        valve: Valve,
        fleet: Fleet,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._dispatcher = dispatcher
        self._valve = valve
        self._fleet = fleet
        self._clock = clock
        self._throughput = Throughput(clock())
        #: Jobs in each queue when `count` was last told.
        self.waiting: dict[str, int] = {}

    def beat(self) -> None:
        """Remember how many jobs have ended."""
        self._throughput.sample(self._clock(), self._ended())

    async def count(self, broker: Broker) -> None:
        """Look how many jobs wait. Raises ConnectionLost, ReplyError."""
        names = self._app().queue_names
        self.waiting = dict(zip(names, await broker.waiting(names), strict=True))

    def _ended(self) -> Counter[str]:
        """Jobs by queue, of all capsules that read it."""
        ended: Counter[str] = Counter()
        for route, count in self._dispatcher.settled_by_route.items():
            ended[self._app().routes[route].queue] += count
        return ended

    def queues(self) -> dict[str, QueueState]:
        """Every queue that the app reads, in its order."""
        app, dispatcher = self._app(), self._dispatcher
        running: Counter[str] = Counter()
        for route, count in dispatcher.claimed_by_route().items():
            running[app.routes[route].queue] += count
        per_s = self._throughput.per_s(self._clock(), self._ended())
        states: dict[str, QueueState] = {}
        live = sorted(app.live_routes)
        for name in app.queue_names:
            routes = [route for route in live if app.routes[route].queue == name]
            whys = [dispatcher.why_not_more(route) for route in routes]
            paces = [p for route in routes if (p := dispatcher.gate.pace(route)) is not None]
            limits = [dispatcher.gate.limit(route) for route in routes]
            states[name] = QueueState(
                running=running[name],
                limit=min((limit for limit in limits if limit is not None), default=None),
                why="" if "" in whys else whys[0],
                per_s=round(min([per_s.get(name, 0.0), *paces]), 3),
            )
        return states

    def document(self) -> dict[str, object]:
        """For `gokiq-fast status`, as JSON has it."""
        return {
            "slots": self._valve.limit,
            "claimed": self._valve.taken,
            "workers": self._fleet.ready_count,
            "names": names_of(self._app()),
            "queues": {
                name: {"running": s.running, "limit": s.limit, "why": s.why, "per_s": s.per_s}
                for name, s in self.queues().items()
            },
        }
