"""Who gets the next slot, so that shares hold in time: slot-seconds by weight. Pure; the caller
brings the clock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

#: Bounds of how far ahead a running job is counted, seconds.
MIN_AHEAD_S, MAX_AHEAD_S = 0.1, 60.0
#: Of so many jobs, the newest weigh most, the mean run time of a key is learned.
MEMORY_JOBS = 64.0

K = TypeVar("K")


class _Account:
    """Of one key: `used` is its slot-seconds by weight (virtual time) up to `since`."""

    __slots__ = ("ended", "running", "seconds", "since", "used", "weight")

    def __init__(self, weight: float, used: float) -> None:
        self.weight = weight
        self.used = used
        self.since = 0.0
        self.running = 0
        # Fading sums, for the mean run time.
        self.seconds = 0.0
        self.ended = 0.0

    def advance(self, now: float) -> None:
        passed = max(now - self.since, 0.0) * self.running
        self.used += passed / self.weight
        self.seconds += passed
        self.since = now

    def mean_s(self) -> float:
        """Mean run time; of jobs that still run, what they have run so far."""
        return self.seconds / max(self.ended + self.running, 1.0)

    def fade(self) -> None:
        if self.ended > MEMORY_JOBS:
            kept = MEMORY_JOBS / 2 / self.ended
            self.ended *= kept
            self.seconds *= kept


class Shares(Generic[K]):
    """Weighted fair shares of slots among keys whose jobs take unknown and different times.

    Each key has a virtual time that advances by its running jobs / its weight. The next slot goes
    to the key that is least ahead, where each job that runs is counted once more with the mean run
    time of what runs now: without that, a key that was behind would get every slot of long jobs and
    be far ahead when it shows. Who had nothing to run starts where the least served of the others
    is: time without jobs is no credit. Source: start-time fair queueing (Goyal, Vin, Cheng 1996)
    for the virtual time.
    """

    def __init__(self, weights: Mapping[K, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._accounts: dict[K, _Account] = {}
        self._busy: dict[K, _Account] = {}
        self._hungry: dict[K, _Account] = {}
        self._floor = 0.0

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._accounts)

    def running(self, key: K) -> int:
        """Slots that this key holds."""
        account = self._accounts.get(key)
        return account.running if account else 0

    def changed(self, key: K, by: int, now: float) -> None:
        """`by` jobs of the key took a slot, or gave it back (negative), at `now` seconds of any
        monotonic clock.
        """
        account = self._account(key)
        account.advance(now)
        if by < 0:
            account.ended -= by
            account.fade()
        account.running = max(account.running + by, 0)
        if account.running:
            self._busy[key] = account
        else:
            self._busy.pop(key, None)

    def hungry(self, keys: Iterable[K], now: float) -> None:
        """Exactly these keys have jobs that wait and may run."""
        for account in self._busy.values():
            account.advance(now)
        former, self._hungry = self._hungry, {key: self._account(key) for key in keys}
        stayed = [account.used for key, account in self._hungry.items() if key in former]
        if stayed:
            self._floor = max(self._floor, min(stayed))
        else:  # every debt is forgotten
            self._floor = max([self._floor, *(one.used for one in self._accounts.values())])
        for key in self._hungry.keys() - former.keys():
            account = self._hungry[key]
            account.used = max(account.used, self._floor)
        self._forget()

    def _forget(self) -> None:
        """Who neither has nor wants a slot, and owes nothing."""
        for key in self._accounts.keys() - self._hungry.keys() - self._busy.keys():
            if self._accounts[key].used <= self._floor:
                del self._accounts[key]

    def ahead_s(self) -> float:
        """How far ahead each running job is counted, seconds."""
        busy = self._busy.values()
        running = sum(account.running for account in busy)
        seconds = sum(account.running * account.mean_s() for account in busy)
        mean = seconds / running if running else 0.0
        return min(max(mean, MIN_AHEAD_S), MAX_AHEAD_S)

    def order(self, keys: Sequence[K]) -> list[K]:
        """These keys, who should be served first in front."""
        ahead = self.ahead_s()
        return sorted(keys, key=lambda key: self._rank(key, 0, ahead))

    def serve(self, want: int, most: Mapping[K, int]) -> list[K]:
        """To whom each of `want` slots goes, one after the other; no key gets more than its
        `most`.
        """
        ahead = self.ahead_s()
        heap = [
            (self._rank(key, 0, ahead), at, key)
            for at, (key, limit) in enumerate(most.items())
            if limit > 0
        ]
        heapq.heapify(heap)
        given: dict[K, int] = {}
        served: list[K] = []
        while len(served) < want and heap:
            _, at, key = heap[0]
            served.append(key)
            given[key] = given.get(key, 0) + 1
            if given[key] < most[key]:
                heapq.heapreplace(heap, (self._rank(key, given[key], ahead), at, key))
            else:
                heapq.heappop(heap)
        return served

    def divide(self, want: int, most: Mapping[K, int]) -> dict[K, int]:
        """How many of `want` slots each key gets, the one served first in front."""
        return dict(Counter(self.serve(want, most)))

    def _rank(self, key: K, more: int, ahead_s: float) -> float:
        """How far this key would be ahead if it got one slot, after `more` that it gets now."""
        account = self._accounts.get(key)
        if account is None:
            return self._floor + more * ahead_s / self._weights.get(key, 1.0)
        return account.used + (account.running + more) * ahead_s / account.weight

    def _account(self, key: K) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(self._weights.get(key, 1.0), self._floor)
        return account
