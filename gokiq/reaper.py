"""Renews our lease and adopts the claims of owners that died."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

from gokiq.broker import LEASE_S, Broker
from gokiq.crashes import key_of
from gokiq.dispatcher import Dispatcher
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.identity import Identity, is_proved_dead
from gokiq.log import get_logger
from gokiq.redis_info import uptime_s

log = get_logger("reaper")

#: Three renewals may fail before a lease runs out.
RENEW_S = LEASE_S / 4
#: How often we look for dead owners, seconds.
ADOPT_S = 5.0
#: How long after our start a missing lease is not believed, seconds. Redis may just have been away
#: for longer than a lease, or full; whoever lives renews within that time.
SETTLE_IN_S = 2 * RENEW_S
#: Longest pause between attempts to renew while Redis is away or refuses, seconds; half of it at
#: least, spread at random.
AGAIN_S = 1.0


class Reaper:
    """Lease and adoption.

    An owner is dead when its lease has run out while Redis was there, or when it ran on this host
    and its process is gone. After an outage of Redis every owner's lease may have run out although
    all live, so we wait one lease's time before we believe a missing lease.
    """

    def __init__(self, broker: Broker, identity: Identity, dispatcher: Dispatcher) -> None:
        self._broker = broker
        self._about = identity.about()
        self._dispatcher = dispatcher
        self._believe_from = 0.0
        #: Why the lease was not renewed at the last attempt; empty when it was.
        self.fault = ""

    async def first(self) -> None:
        """Take the lease, and adopt at once what is certainly orphaned. Raises ConnectionLost,
        ReplyError.
        """
        await self._broker.renew(self._about)
        up_s = await uptime_s(self._broker.link)
        self._believe_from = time.monotonic() + max(SETTLE_IN_S, LEASE_S + RENEW_S - up_s)
        await self.adopt()

    async def run(self) -> None:
        """Runs until cancelled."""
        next_adoption = time.monotonic() + ADOPT_S
        while True:
            await self._pause()
            try:
                await self._renew()
                self.fault = ""
                if time.monotonic() >= next_adoption:
                    next_adoption = time.monotonic() + ADOPT_S
                    await self.adopt()
            except ConnectionLost as error:
                self._doubt_leases()
                self.fault = str(error)
                log.debug("Cannot renew the lease: %s", error)
            except ReplyError as error:
                if not self.fault:
                    log.error("Redis refuses to renew our lease; no job can be claimed: %s", error)
                self.fault = str(error)

    async def _pause(self) -> None:
        if self.fault:
            await asyncio.sleep(AGAIN_S * (1 + random.random()) / 2)
            return
        try:
            async with asyncio.timeout(RENEW_S):
                await self._dispatcher.lease_lost.wait()
        except TimeoutError:
            return
        self._dispatcher.lease_lost.clear()

    async def _renew(self) -> None:
        try:
            was_held = await self._broker.renew(self._about)
        except ReplyError:
            self._doubt_leases()
            raise
        if not was_held:
            log.warning(
                "Our lease had run out (paused, or Redis was away); "
                "peers may have adopted our claims meanwhile"
            )
            self._dispatcher.poke()

    def _doubt_leases(self) -> None:
        """Ours is not renewed now, so those of our peers may run out although they live."""
        self._believe_from = time.monotonic() + LEASE_S + RENEW_S

    async def adopt(self) -> None:
        """One round over the register of owners."""
        owners = await self._broker.owners()
        others = [identity for identity in owners if identity != self._broker.identity]
        if not others:
            return
        for identity, alive in zip(others, await self._broker.leases(others), strict=True):
            proved = is_proved_dead(owners[identity])
            if proved or (not alive and time.monotonic() >= self._believe_from):
                try:
                    await self._adopt(identity, owners[identity], proved=proved)
                except ReplyError as error:
                    log.error("Cannot adopt the claims of the dead owner %s: %s", identity, error)

    async def _adopt(self, identity: str, about: Mapping[str, Any], *, proved: bool) -> None:
        queues = await self._broker.queues_of(identity, about)
        moved = await self._broker.adopt(identity, queues, proved=proved)
        log.info("Adopted %d claims of the dead owner %s", len(moved), identity)
        self._dispatcher.poke()
        if moved:
            keys = [key_of(payload) for payload in moved]
            await self._broker.note_crash(keys, alone=len(moved) == 1)
