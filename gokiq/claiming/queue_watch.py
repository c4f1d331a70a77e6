"""Wakes the dispatcher when jobs arrive in empty queues: one connection with client tracking, a
slow poll as safety net.
"""

from __future__ import annotations

import asyncio
import random

from gokiq.claiming.dispatcher import Dispatcher
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.log import get_logger
from gokiq.store.link import RedisLink

log = get_logger("waker")

#: Safety net while tracking is on, seconds (Sidekiq's own BRPOP times out after 2 s).
POLL_S = 3.0
#: Poll on servers or accounts that have no CLIENT TRACKING, seconds.
BLIND_POLL_S = 0.1
#: Longest pause after the connection was lost, seconds; half of it at least, spread at random.
RETRY_S = 0.5


class Waker:
    """Tracks `queue:*` only while the dispatcher starves: a busy one needs no wake-up, and tracking
    costs Redis 0.7 µs a push.
    """

    def __init__(self, link: RedisLink, dispatcher: Dispatcher) -> None:
        self._link = link
        self._dispatcher = dispatcher
        self._can_track = True

    async def run(self) -> None:
        """Runs until cancelled."""
        starving = self._dispatcher.starving
        while True:
            await starving.wait()
            if not self._can_track:
                await asyncio.sleep(BLIND_POLL_S)
                self._dispatcher.poke()
                continue
            try:
                await self._track()
            except ConnectionLost as error:
                log.debug("Wake-up connection lost: %s", error)
                await asyncio.sleep(RETRY_S * (1 + random.random()) / 2)
                self._dispatcher.poke()
            except ReplyError as error:
                self._can_track = False
                log.warning(
                    "Redis refuses CLIENT TRACKING, polling every %g s instead: %s",
                    BLIND_POLL_S,
                    error,
                )

    async def _track(self) -> None:
        """Poke the dispatcher at every message until it has found more work than it can take."""
        await self._link.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "queue:")
        # Jobs may have come before the tracking was on:
        self._dispatcher.poke()
        try:
            while True:
                await self._link.next_push(POLL_S)
                if self._dispatcher.is_sated:
                    return
                self._dispatcher.poke()
        finally:
            await self._stop_tracking()

    async def _stop_tracking(self) -> None:
        if not self._link.is_open:
            return
        try:
            await self._link.call("CLIENT", "TRACKING", "OFF")
        except (ConnectionLost, ReplyError):
            await self._link.close()
