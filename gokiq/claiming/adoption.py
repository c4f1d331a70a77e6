"""Adopts the claims of owners that died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.lease import Lease
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.host.identity import is_proved_dead
from gokiq.log import get_logger
from gokiq.store.broker import LEASE_S, Broker
from gokiq.store.owners import NO_SIGN, Dead, Owners

log = get_logger("reaper")

#: How often we look for dead owners, seconds.
LOOK_S = LEASE_S / 4
#: Steps in which we go through all keys at each look, until all are seen,
SCAN_STEPS = 10
#: and how long we rest then, seconds.
SCAN_REST_S = 600.0


class Watch:
    """For how long each owner has given no sign of life, by our own monotonic clock alone: no step
    of Redis's clock, or of ours, ends a life.

    A look that comes late (we were paused, with Redis perhaps and everybody else) counts no more
    than two that came in time, so that who wakes with us can renew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silences: dict[str, tuple[bytes, float]] = {}
        self._looked_at = 0.0

    def look(self, signs: Mapping[str, bytes]) -> set[str]:
        """Note everybody's last sign; who has given none for LEASE_S."""
        now = self._clock()
        passed, self._looked_at = min(now - self._looked_at, 2 * LOOK_S), now
        former, self._silences = self._silences, {}
        for identity, sign in signs.items():
            before, silent_s = former.get(identity, (None, 0.0))
            self._silences[identity] = sign, silent_s + passed if sign == before else 0.0
        return {one for one, (_, silent_s) in self._silences.items() if silent_s >= LEASE_S}

    def forget(self) -> None:
        """Nobody could give a sign: start again."""
        self._silences.clear()


class Reaper:
    """Adoption.

    An owner is dead when it ran on this host and its process is gone, or when we have seen it renew
    nothing for a lease's time while Redis was there. Owners are known by the register, by their
    leases and, should both be lost, by their claims: in the background we go through Redis's keys.
    """

    def __init__(self, broker: Broker, dispatcher: Dispatcher, lease: Lease) -> None:
        self._broker = broker
        self._owners = Owners(broker.link)
        self._dispatcher = dispatcher
        self._lease = lease
        self._watch = Watch()
        #: What they say of themselves, as first seen: what proves a death does not change.
        self._about: dict[str, dict[str, Any]] = {}
        #: Claims that were met in this pass through the keys and in the last, by identity.
        self._met: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
        self._cursor = 0
        self._scan_from = 0.0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._scan()
                await self.look()
            except ConnectionLost as error:
                self._watch.forget()
                log.debug("Cannot look for dead owners: %s", error)
            except ReplyError as error:
                log.error("Cannot look for dead owners: %s", error)

    async def look(self) -> None:
        """Look at every other owner once, and adopt from those that are dead. Raises
        ConnectionLost, ReplyError.
        """
        signs = await self._owners.signs()
        for one in {*self._met[0], *self._met[1]} - signs.keys():
            signs[one] = NO_SIGN
        signs.pop(self._broker.identity, None)
        if self._lease.fault:  # as ours, theirs may not be renewed although they live
            self._watch.forget()
        silent = self._watch.look(signs)
        new = await self._owners.entries_of([one for one in signs if one not in self._about])
        self._about = {one: a for one, a in (self._about | new).items() if one in signs}
        proved = {one for one, about in self._about.items() if is_proved_dead(about)}
        dead = [Dead(one, signs[one], one in proved) for one in signs if one in silent | proved]
        if dead:
            await self._bury(dead)

    async def _bury(self, dead: list[Dead]) -> None:
        entries = await self._owners.entries_of([one.identity for one in dead])
        queues: dict[str, set[str]] = {}
        for one in dead:
            about = entries.get(one.identity, {})
            met = [queue for side in self._met for queue in side.get(one.identity, ())]
            queues[one.identity] = {*await self._owners.queues_of(one.identity, about), *met}
        pairs = ((one, queue) for one, names in queues.items() for queue in sorted(names))
        full: dict[str, list[str]] = {}
        for identity, queue in await self._owners.with_claims(pairs):
            full.setdefault(identity, []).append(queue)
        for one in dead:
            try:
                await self._adopt(one, queues[one.identity], full.get(one.identity, []))
            except ReplyError as error:
                log.error("Cannot adopt the claims of %s: %s", one.identity, error)

    async def _adopt(self, dead: Dead, queues: set[str], full: list[str]) -> None:
        for side in self._met:
            side.pop(dead.identity, None)
        adopted, is_struck = await self._owners.adopt(dead, sorted(queues), full)
        if not adopted and not is_struck:  # it has come back
            return
        log.info("Adopted %d claims of the dead owner %s", len(adopted), dead.identity)
        self._dispatcher.poke()
        if adopted:
            await self._broker.note_crash(adopted, alone=len(adopted) == 1)

    async def _scan(self) -> None:
        """Go on through Redis's keys, for claims of owners that nothing else names."""
        if time.monotonic() < self._scan_from:
            return
        for _ in range(SCAN_STEPS):
            self._cursor, found = await self._owners.scan(self._cursor)
            for identity, queue in found:
                if identity != self._broker.identity:
                    self._met[0].setdefault(identity, set()).add(queue)
            if self._cursor == 0:
                self._met = {}, self._met[0]
                self._scan_from = time.monotonic() + SCAN_REST_S
                return
