"""Promotes due members of `retry` and `schedule` to their queues, at Sidekiq's pace."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator

from gokiq.app.info import AppInfo
from gokiq.app.job import named
from gokiq.core import MAX_BODY_BYTES
from gokiq.errors import ConnectionLost, ExecutorUnavailable, PayloadError, ReplyError
from gokiq.log import get_logger
from gokiq.sidekiq.promotion import needs_client, promoted
from gokiq.store.broker import Broker, Move
from gokiq.store.push import Fate, Push

log = get_logger("poller")

#: How long a member that a worker judges is hidden from everyone else, seconds. One whose client
#: middleware raised comes up again after that.
LEASE_S = 60
#: An interval of 0 would keep Redis busy with nothing, seconds.
LEAST_PAUSE_S = 0.1
#: Members of more bytes than this do not travel to a worker together.
GROUP_BYTES = 8_388_608

#: Asks a worker's Sidekiq client about members, in their order. Raises ExecutorUnavailable.
ClientPush = Callable[[list[bytes]], Awaitable[list[Push]]]


class Poller:
    """Retry first, then schedule, each until nothing is due, as Sidekiq does (sidekiq
    lib/sidekiq/scheduled.rb).
    """

    def __init__(
        self,
        broker: Broker,
        app: AppInfo,
        rng: random.Random,
        on_promoted: Callable[[], None],
        client_push: ClientPush,
        *,
        has_app_client: Callable[[], bool] = lambda: False,
    ) -> None:
        self._broker = broker
        self._app = app
        self._rng = rng
        self._on_promoted = on_promoted
        self._client_push = client_push
        #: Whether a worker has said so since the app was described.
        self._has_app_client = has_app_client
        self._asks_about_all = False
        self._quiet = asyncio.Event()
        #: Members moved so far, by set.
        self.promoted = {"retry": 0, "schedule": 0}

    def reloaded(self, app: AppInfo) -> None:
        """Due jobs go by the rules of this app from now on."""
        self._app = app

    def quiet(self) -> None:
        """Promote no more than what is under way."""
        self._quiet.set()

    async def run(self) -> None:
        """Runs until it is quiet, or cancelled."""
        await self._pause(self._rng.random() * min(self._app.average_poll_interval_s, 1.0))
        while not self._quiet.is_set():
            try:
                await self.promote_due()
                pause_s = await self._interval()
            except (ConnectionLost, ExecutorUnavailable) as error:
                log.debug("Cannot promote due jobs now: %s", error)
                pause_s = self._app.average_poll_interval_s
            except ReplyError as error:
                pause_s = self._app.average_poll_interval_s
                log.error(
                    "Redis refused to move due jobs, they wait; trying again in %g s: %s",
                    pause_s,
                    error,
                )
            await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()

    async def promote_due(self) -> int:
        """Promote everything that is due; returns how many members moved."""
        moved_in_all = 0
        for key in ("retry", "schedule"):
            while not self._quiet.is_set():
                # A member that waits for a worker's answer must not be another process's meanwhile.
                self._asks_about_all = not self._app.has_stock_client or self._has_app_client()
                lease_s = LEASE_S if self._asks_about_all else 0
                now, members = await self._broker.due(key, lease_s)
                if not members:
                    break
                moves = await self._moves(key, members, now)
                if not moves:
                    break
                moved = await self._broker.promote(key, moves)
                moved_in_all += moved
                self.promoted[key] += moved
                self._on_promoted()
        return moved_in_all

    async def _moves(self, key: str, members: list[bytes], now: float) -> list[Move]:
        moves: list[Move] = []
        for_client: list[bytes] = []
        for member in members:
            try:
                if self._must_ask(member):
                    for_client.append(member)
                else:
                    push = promoted(member, now=now, uses_ms=self._app.uses_ms)
                    moves.append(Move(member, push))
            except PayloadError as error:
                moves.append(self._bury(key, member, str(error), now))
        for group in _groups(for_client):
            for member, push in zip(group, await self._client_push(group), strict=True):
                if push.fate is Fate.DEAD:
                    reason = push.payload.decode("utf-8", "replace")
                    moves.append(self._bury(key, member, reason, now))
                elif push.fate is Fate.KEEP:
                    self._report(key, member, push)
                else:
                    moves.append(Move(member, push))
        return moves

    def _must_ask(self, member: bytes) -> bool:
        asks = needs_client(member)
        if len(member) > MAX_BODY_BYTES // 2:
            return False  # no frame carries it there and back; it cannot be run either
        return asks or self._asks_about_all

    def _bury(self, key: str, member: bytes, reason: str, now: float) -> Move:
        log.error(
            "A member of %s is no job and goes to the dead set unchanged, to be looked at: %s",
            key,
            reason,
        )
        return Move(member, Push(Fate.DEAD, score=now))

    def _report(self, key: str, member: bytes, push: Push) -> None:
        name = named(member)
        log.error(
            "%s stays in %s for %d s more: the app's client middleware raised %s",
            name,
            key,
            LEASE_S,
            push.payload.decode("utf-8", "replace"),
        )

    async def _interval(self) -> float:
        """Seconds until the next look. Source: sidekiq lib/sidekiq/scheduled.rb,
        random_poll_interval.
        """
        processes = max(1, int(await self._broker.link.call("SCARD", "processes")))
        average = self._app.poll_interval_average_s or processes * self._app.average_poll_interval_s
        chance = self._rng.random()
        pause_s = average * chance + average / 2 if processes < 10 else 2 * average * chance
        return max(pause_s, LEAST_PAUSE_S)


def _groups(members: list[bytes]) -> Iterator[list[bytes]]:
    """Cut where a group's bytes would go beyond GROUP_BYTES."""
    group: list[bytes] = []
    size = 0
    for member in members:
        if group and size + len(member) > GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(member)
        size += len(member)
    if group:
        yield group
