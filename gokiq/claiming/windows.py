"""The queues whose jobs are chosen: a window for each, and its part in a claim. Pure; the caller
speaks with Redis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gokiq.claiming.queue_window import Entry, Gates, Lookahead
from gokiq.claiming.tenants import Tenants
from gokiq.store.broker import Taken, Wish


@dataclass(slots=True)
class Choice:
    """Of one claim: its wishes, of each of their steps the jobs that were chosen (None: the oldest
    are taken, whichever they are), and what to read behind it, `(route, start, stop)`.
    """

    wishes: list[Wish] = field(default_factory=list)
    steps: list[tuple[int, list[Entry] | None]] = field(default_factory=list)
    reads: list[tuple[int, int, int]] = field(default_factory=list)


class Windows:
    """By route; a route without one is claimed from the tail of its queue."""

    def __init__(self) -> None:
        self._windows: dict[int, Lookahead] = {}

    def __bool__(self) -> bool:
        return bool(self._windows)

    def open(self, routes: Iterable[int], tenants: Mapping[int, Tenants]) -> None:
        """These routes have one from now on; one that is there stays as it is, unless its tenants
        have changed.
        """
        former, self._windows = self._windows, {}
        for route in routes:
            window = former.get(route)
            if window is None or window.tenants is not tenants.get(route):
                window = Lookahead(tenants=tenants.get(route))
            self._windows[route] = window

    def stirred(self) -> None:
        """There may be jobs in the queues."""
        for window in self._windows.values():
            window.stirred()

    def forget(self) -> None:
        """A call has failed: what it took is not known."""
        for window in self._windows.values():
            window.forget()

    def has(self, route: int) -> bool:
        """Whether the jobs of this route are chosen."""
        return route in self._windows

    def is_promising(self, route: int, gates: Gates) -> bool:
        """Whether a claim may find something."""
        return self._windows[route].is_promising(gates)

    def is_watching(self, route: int, gates: Gates) -> bool:
        """Whether it waits for new jobs: those that it knows do not pass, and there is room."""
        window = self._windows[route]
        return not window.is_full and not window.is_promising(gates)

    def waiting_kinds(self, route: int) -> dict[str, int]:
        """Jobs in the window of a route by class; none where there is no window."""
        window = self._windows.get(route)
        return window.waiting_kinds if window else {}

    def choose(self, wishes: Sequence[Wish], gates: Gates, now: float) -> Choice:
        """Jobs for these wishes. A step gets those that its former steps left."""
        most: dict[int, int] = {}
        for want, steps in wishes:
            asked: dict[int, int] = {}
            for route, count in steps:
                asked[route] = min(asked.get(route, 0) + count, want)
            for route, count in asked.items():
                most[route] = most.get(route, 0) + count
        chosen = {
            route: self._windows[route].choose(count, gates, now)
            for route, count in most.items()
            if route in self._windows
        }
        choice = Choice()
        for want, steps in wishes:
            kept = []
            for route, count in steps:
                if route not in chosen:
                    kept.append((route, count))
                    choice.steps.append((route, None))
                elif chosen[route]:
                    part, chosen[route] = chosen[route][:count], chosen[route][count:]
                    kept.append((route, len(part)))
                    choice.steps.append((route, part))
            choice.wishes.append((want, kept))
        for route in chosen:
            part_ = self._windows[route].range(most[route], now)
            if part_ is not None:
                choice.reads.append((route, *part_))
        return choice

    def answered(self, choice: Choice, taken: Taken, now: float) -> None:
        """What became of it. Numbers of claims follow one another through the steps. A window that
        has been closed since needs no news.
        """
        number = taken.first_number
        for (route, chosen), pick, count in zip(
            choice.steps, taken.picks, taken.counts, strict=True
        ):
            window = self._windows.get(route)
            if window is not None and chosen is not None and pick is not None:
                if window.tenants is not None:
                    for at, position in enumerate(pick.taken):
                        window.tenants.started(number + at, chosen[position].tenant, now)
                window.result(chosen, set(pick.taken), set(pick.gone), now)
            number += count
        for (route, start, stop), payloads in zip(choice.reads, taken.read, strict=True):
            if (window := self._windows.get(route)) is not None:
                window.seen(start, stop, payloads, now)
