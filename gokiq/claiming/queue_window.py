"""The oldest jobs of one queue as we last saw them, from which a claim chooses. Pure; the caller
reads Redis and brings the clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence, Set
from typing import Protocol

from gokiq.app.job import kind_of
from gokiq.claiming.tenants import NOBODY, Tenants

#: Jobs that are looked at, from the tail.
LOOK = 1000
#: Bytes of payloads that are kept; no more are read beyond this, one job at least.
LOOK_BYTES = 2 << 20
#: The first read, when nothing is known of their size, unless more are wanted.
FIRST_READ = 100
#: What others did to the tail is seen after this long at most, seconds.
FRESH_S = 1.0


class Entry:
    """A job in the window: its payload as it is, its class (of ActiveJob the wrapped one), its
    tenant ("" where there is none), its place in the queue: the smaller the older.
    """

    __slots__ = ("is_out", "kind", "payload", "place", "tenant")

    def __init__(self, payload: bytes, kind: str, tenant: str, place: int) -> None:
        self.payload = payload
        self.kind = kind
        self.tenant = tenant
        self.place = place
        self.is_out = False


class Gates(Protocol):
    """Limits by class, for one claim."""

    def admits(self, kind: str) -> bool:
        """Whether one more job of this class may be claimed."""

    def take(self, kind: str) -> None:
        """One is."""


class _Open:
    def admits(self, kind: str) -> bool:
        return True

    def take(self, kind: str) -> None:
        pass


#: Gates of a queue without limits by class.
OPEN: Gates = _Open()


class Lookahead:
    """The window of one queue. For a claim: `choose`, then `range`, whose LRANGE goes to Redis
    behind the claim; with the replies `result`, then `seen`.

    What another owner takes from the tail meanwhile is found to be gone when we try to take it.
    """

    def __init__(self, *, tenants: Tenants | None = None, look: int = LOOK) -> None:
        self.tenants = tenants
        self._look = look
        self._next_place = 0
        self.forget()

    def forget(self) -> None:
        """Know nothing any more: after a lost connection."""
        self._clear()
        #: Entries of smaller places are of a window that is forgotten.
        self._first_place = self._next_place
        self._is_stale = True
        self._is_whole = False
        self._is_stirred = False
        self._is_short = False
        self._read_at = float("-inf")
        self._asked: tuple[int, int, Entry | None] | None = None
        self._returned: list[Entry] = []

    def _clear(self) -> None:
        #: Tenant -> class -> jobs, the oldest first.
        self._groups: dict[str, dict[str, deque[Entry]]] = {}
        #: All of them, the oldest first; some in the middle may be out.
        self._line: deque[Entry] = deque()
        self._held = 0
        self._bytes = 0
        #: Jobs in the window by class, and by tenant.
        self.waiting_kinds: dict[str, int] = {}
        self._by_tenant: dict[str, int] = {}

    def stirred(self) -> None:
        """Jobs may have come, also after a read that is under way."""
        self._is_whole = False
        self._is_stirred = True

    @property
    def is_exhausted(self) -> bool:
        """All that may be looked at was, and the last choice found fewer than it was asked for:
        nothing more comes before a gate opens or `stirred`.
        """
        return self._is_short and not self._may_grow()

    def is_promising(self, gates: Gates = OPEN) -> bool:
        """Whether another claim may find something: an admitted job, or one not yet looked at."""
        return self._may_grow() or any(gates.admits(kind) for kind in self.waiting_kinds)

    @property
    def is_full(self) -> bool:
        """Whether it holds so many that a new job would not be seen."""
        return not self._is_stale and self._room() <= 0

    def _may_grow(self) -> bool:
        return self._is_stale or (not self._is_whole and self._room() > 0)

    def _room(self) -> int:
        """How many more jobs the window may hold, by their mean size."""
        if not self._held:
            return self._look
        size = max(self._bytes // self._held, 1)
        return max(min(self._look - self._held, (LOOK_BYTES - self._bytes) // size), 0)

    # choosing

    def choose(self, most: int, gates: Gates | None, now: float) -> list[Entry]:
        """Up to `most` jobs that the gates admit, in the order in which to claim them: the oldest
        first, or as it is the tenants' turn and the oldest of each first.
        """
        gates = gates or OPEN
        if self._is_stale:
            # Others take the oldest, too: what we know best is gone. To look for it would cost
            # Redis more than to read anew.
            chosen: list[Entry] = []
        elif self.tenants is None:
            chosen = self._oldest(self._groups.get(NOBODY, {}), most, gates)
        else:
            chosen = self._by_turn(self.tenants, most, gates, now)
        self._is_short = len(chosen) < most
        return chosen

    def _oldest(self, kinds: dict[str, deque[Entry]], most: int, gates: Gates) -> list[Entry]:
        heap = [(line[0].place, kind) for kind, line in kinds.items()]
        heapq.heapify(heap)
        chosen: list[Entry] = []
        while heap and len(chosen) < most:
            kind = heap[0][1]
            if not gates.admits(kind):
                heapq.heappop(heap)
                continue
            gates.take(kind)
            line = kinds[kind]
            chosen.append(self._take(line))
            if line:
                heapq.heapreplace(heap, (line[0].place, kind))
            else:
                heapq.heappop(heap)
                del kinds[kind]
        return chosen

    def _by_turn(self, tenants: Tenants, most: int, gates: Gates, now: float) -> list[Entry]:
        waiting = self._waiting(gates)
        chosen: list[Entry] = []
        while len(chosen) < most and any(waiting.values()):
            for tenant in tenants.turns(most - len(chosen), waiting, now):
                got = self._oldest(self._groups.get(tenant, {}), 1, gates)
                chosen += got
                # Where a gate has closed meanwhile, others get its turns.
                waiting[tenant] = waiting[tenant] - 1 if got else 0
        return chosen

    def _waiting(self, gates: Gates) -> dict[str, int]:
        """Jobs of each tenant that the gates admit."""
        if all(gates.admits(kind) for kind in self.waiting_kinds):
            return dict(self._by_tenant)
        return {
            tenant: sum(len(line) for kind, line in kinds.items() if gates.admits(kind))
            for tenant, kinds in self._groups.items()
        }

    def _take(self, line: deque[Entry]) -> Entry:
        entry = line.popleft()
        entry.is_out = True
        self._held -= 1
        self._bytes -= len(entry.payload)
        _less(self.waiting_kinds, entry.kind)
        _less(self._by_tenant, entry.tenant)
        if entry.tenant not in self._by_tenant:
            del self._groups[entry.tenant]
        return entry

    def result(self, chosen: Sequence[Entry], taken: Set[int], gone: Set[int], now: float) -> None:
        """What became of a choice, by positions in it from 0: taken by us, or gone when we came.
        The rest is still there.
        """
        if gone:
            self._is_stale = True
        left = [entry for at, entry in enumerate(chosen) if at not in taken and at not in gone]
        back = [entry for entry in left if entry.place >= self._first_place]
        if back:
            self._returned += back
            inside = [entry for entry in self._line if not entry.is_out]
            self._fill(sorted([*inside, *back], key=lambda entry: entry.place))

    # reading

    def range(self, want: int, now: float) -> tuple[int, int] | None:
        """Which part of the list to read behind the claim of what was chosen last, as LRANGE has
        it; None: nothing now. `want` is how many jobs a claim is to find.
        """
        if self._asked is not None:
            return None
        anchor = self._newest()
        more = self._more(want)
        if self._is_stale or anchor is None or now - self._read_at >= FRESH_S:
            self._asked = (-max(self._held + more, 1), -1, None)
        elif more:
            # With the newest that we know, to see that it is where we think.
            self._asked = (-self._held - more, -self._held, anchor)
        else:
            return None
        self._returned = []
        self._is_stirred = False
        return self._asked[:2]

    def _more(self, want: int) -> int:
        """How many more jobs to read."""
        held = self._held
        if self.tenants is not None:
            goal = self._look if self._is_short or held < self._look * 7 // 8 else held
        elif self._is_short:
            goal = 2 * max(held, want)
        else:
            goal = 4 * want if held < 2 * want else held
        if not held:
            return min(max(want, FIRST_READ), self._look)
        return min(goal - held, self._room())

    def _newest(self) -> Entry | None:
        while self._line and self._line[-1].is_out:
            self._line.pop()
        while self._line and self._line[0].is_out:
            self._line.popleft()
        return self._line[-1] if self._line else None

    def seen(self, start: int, stop: int, payloads: Sequence[bytes], now: float) -> None:
        """What the LRANGE of `range` has returned, as it came: the newest first."""
        if self._asked is None or self._asked[:2] != (start, stop):
            return
        anchor = self._asked[2]
        self._asked = None
        if anchor is None:
            self._renew(payloads, now)
        else:
            # Jobs that were not taken after all are there as well: those older than the anchor
            # have moved it, the newer ones follow it.
            older = sum(entry.place < anchor.place for entry in self._returned)
            newer = len(self._returned) - older
            at = len(payloads) - 1 - older
            if at < newer or payloads[at] != anchor.payload:
                self._is_stale = True
                return
            for payload in reversed(payloads[: at - newer]):
                self._append(self._entry(payload))
        self._is_whole = len(payloads) < stop - start + 1 and not self._is_stirred

    def _renew(self, payloads: Sequence[bytes], now: float) -> None:
        known = {entry.payload: entry for entry in self._line}
        is_short, is_stirred = self._is_short, self._is_stirred
        self.forget()
        self._fill(self._entry(payload, known.get(payload)) for payload in reversed(payloads))
        self._is_short, self._is_stirred = is_short, is_stirred
        self._is_stale = False
        self._read_at = now

    def _entry(self, payload: bytes, known: Entry | None = None) -> Entry:
        place = self._next_place
        self._next_place += 1
        if known is not None:
            return Entry(payload, known.kind, known.tenant, place)
        tenant = NOBODY if self.tenants is None else self.tenants.of(payload)
        return Entry(payload, kind_of(payload), tenant, place)

    def _fill(self, entries: Iterable[Entry]) -> None:
        """Hold these alone, the oldest first."""
        self._clear()
        for entry in entries:
            self._append(entry)

    def _append(self, entry: Entry) -> None:
        entry.is_out = False
        self._line.append(entry)
        kinds = self._groups.setdefault(entry.tenant, {})
        kinds.setdefault(entry.kind, deque()).append(entry)
        self._held += 1
        self._bytes += len(entry.payload)
        self.waiting_kinds[entry.kind] = self.waiting_kinds.get(entry.kind, 0) + 1
        self._by_tenant[entry.tenant] = self._by_tenant.get(entry.tenant, 0) + 1


def _less(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
