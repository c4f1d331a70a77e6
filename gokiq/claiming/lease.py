"""Our lease: the sign of life without which peers take our claims. A task and a connection of its
own, so that nothing else holds a renewal up.
"""

from __future__ import annotations

import asyncio
import random

from gokiq.claiming.dispatcher import Dispatcher
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.host.identity import Identity
from gokiq.log import get_logger
from gokiq.store.broker import LEASE_S, Broker

log = get_logger("lease")

#: Three renewals may fail before we count as dead.
RENEW_S = LEASE_S / 4
#: Longest wait for one renewal, seconds; then another connection is tried.
PATIENCE_S = LEASE_S / 3
#: Longest pause between attempts to renew while Redis is away or refuses, seconds; half of it at
#: least, spread at random.
AGAIN_S = 1.0


class Lease:
    """Renews it for as long as it runs."""

    def __init__(self, broker: Broker, identity: Identity, dispatcher: Dispatcher) -> None:
        self._broker = broker
        self._about = identity.about()
        self._dispatcher = dispatcher
        #: Why the lease was not renewed at the last attempt; empty when it was.
        self.fault = ""

    async def first(self) -> None:
        """Take the lease. Raises ConnectionLost, ReplyError."""
        await self._broker.renew(self._about)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._pause()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    was_held = await self._broker.renew(self._about)
            except (ConnectionLost, TimeoutError) as error:
                self.fault = str(error) or f"no reply within {PATIENCE_S:g} s"
                log.debug("Cannot renew the lease: %s", self.fault)
            except ReplyError as error:
                if not self.fault:
                    log.error("Redis refuses to renew our lease; no job can be claimed: %s", error)
                self.fault = str(error)
            else:
                self.fault = ""
                if not was_held:
                    log.warning(
                        "Our lease was gone (paused, cut off, or Redis lost it); "
                        "peers may have adopted our claims meanwhile"
                    )
                    # What was adopted and has not been sent must not run here as well.
                    self._dispatcher.audit()
                    self._dispatcher.poke()

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
