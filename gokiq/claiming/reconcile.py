"""Whether Redis holds for us what we think it does: after lost replies, and each minute."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Set
from typing import Protocol

from gokiq.log import get_logger
from gokiq.store.broker import Broker

log = get_logger("dispatcher")

#: How often the books are compared although nothing was lost, seconds; spread at random.
AUDIT_S = 60.0


class Books(Protocol):
    """Our side: what we have claimed and not settled."""

    def known(self) -> set[int]:
        """Numbers of all claims that we know of."""

    def keep(self, held: Set[int]) -> None:
        """Redis holds only these for us: forget what the others were to become."""

    def found(self, claims: list[tuple[int, int, bytes]]) -> None:
        """Claims of ours that we had not heard of, as number, route and payload: run them."""


class Reconciler:
    """Compares the numbers of Redis's claims with ours; payloads come only for those that we do not
    know. To be called while no claim is under way.
    """

    def __init__(self, broker: Broker, books: Books) -> None:
        self._broker = broker
        self._books = books
        self._reported: set[int] = set()
        #: What audits found: claims that we did not know of, and claims that Redis did not have.
        self.unknown = 0
        self.gone = 0

    async def after_loss(self) -> None:
        """Replies were lost: a call without a reply may have claimed and settled. Raises
        ConnectionLost, ReplyError.

        Such a call may come to Redis after we have looked, for the network delivers what it likes
        when it likes. So it must not claim any more: the epoch is raised first.
        """
        await self._broker.raise_epoch()
        unknown, _ = await self._compare()
        if unknown:
            log.info("Reconciled: %d claims whose reply was lost run now", unknown)

    async def audit(self) -> None:
        """Nothing was lost that we know of; the books should agree. Raises ConnectionLost,
        ReplyError.
        """
        unknown, gone = await self._compare()
        news = gone - self._reported
        self._reported = gone
        self.unknown += unknown
        self.gone += len(news)
        if unknown or news:
            log.warning(
                "Audit: Redis held %d claims of ours that we did not know of, they run now; "
                "it does not have %d of those that we know, somebody else runs them",
                unknown,
                len(news),
            )

    async def _compare(self) -> tuple[int, set[int]]:
        held = await self._broker.held_numbers()
        known = self._books.known()
        self._books.keep(held.keys())
        unknown = {number: route for number, route in held.items() if number not in known}
        count = 0
        if unknown:
            async for claims in self._broker.claims(unknown):
                count += len(claims)
                self._books.found(claims)
        return count, known - held.keys()

    async def run(self, ask: Callable[[], None]) -> None:
        """Ask for an audit now and then. Runs until cancelled."""
        while True:
            await asyncio.sleep(AUDIT_S * (0.5 + random.random()))
            ask()
