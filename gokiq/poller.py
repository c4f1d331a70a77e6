"""Promotes due members of `retry` and `schedule` to their queues, at Sidekiq's pace."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable

from gokiq.app import AppInfo
from gokiq.broker import Broker
from gokiq.errors import ConnectionLost, PayloadError, ReplyError
from gokiq.log import get_logger
from gokiq.payload import quote, scan, splice, text

log = get_logger("poller")

_FIELDS = ("queue", "retry", "jid", "created_at")


class Poller:
    """Retry first, then schedule, each until nothing is due, as Sidekiq does (sidekiq
    lib/sidekiq/scheduled.rb).
    """

    def __init__(
        self, broker: Broker, app: AppInfo, rng: random.Random, on_promoted: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._app = app
        self._rng = rng
        self._on_promoted = on_promoted

    async def run(self) -> None:
        """Runs until cancelled."""
        await asyncio.sleep(self._rng.random() * min(self._app.average_poll_interval_s, 1.0))
        while True:
            try:
                await self.promote_due()
                pause_s = await self._interval()
            except (ConnectionLost, ReplyError) as error:
                log.debug("Cannot promote due jobs now: %s", error)
                pause_s = self._app.average_poll_interval_s
            await asyncio.sleep(pause_s)

    async def promote_due(self) -> int:
        """Promote everything that is due; returns how many members moved."""
        moved_in_all = 0
        for key in ("retry", "schedule"):
            while True:
                now, members = await self._broker.due(key)
                if not members:
                    break
                moves = [self._move(key, member, now) for member in members]
                moved_in_all += await self._broker.promote(key, moves)
                self._on_promoted()
        return moved_in_all

    def _move(self, key: str, member: bytes, now: float) -> tuple[bytes, str, bytes]:
        try:
            queue, payload = promoted(member, now=now, uses_ms=self._app.uses_ms)
        except PayloadError as error:
            log.error(
                "A member of %s is no JSON object and goes to the dead set unchanged: %s",
                key,
                error,
            )
            return member, "", repr(now).encode()
        return member, queue, payload

    async def _interval(self) -> float:
        """Seconds until the next look. Source: sidekiq lib/sidekiq/scheduled.rb,
        random_poll_interval.
        """
        processes = max(1, int(await self._broker.link.call("SCARD", "processes")))
        average = self._app.poll_interval_average_s or processes * self._app.average_poll_interval_s
        chance = self._rng.random()
        return average * chance + average / 2 if processes < 10 else 2 * average * chance


def promoted(member: bytes, *, now: float, uses_ms: bool) -> tuple[str, bytes]:
    """Queue and payload with which a due member is enqueued: a fresh `enqueued_at`, and Sidekiq's
    defaults where it has none.

    `now` is epoch seconds. All other bytes stay as they are. Raises PayloadError when the member is
    no JSON object.
    """
    queue, retry, jid, created_at = scan(member, _FIELDS)
    stamp = str(int(now * 1000)).encode() if uses_ms else repr(now).encode()
    edits: dict[str, bytes] = {}
    name = text(queue)
    if not name:
        name = "default"
        edits["queue"] = b'"default"'
    if retry is None:
        edits["retry"] = b"true"
    if jid is None:
        edits["jid"] = quote(secrets.token_hex(12))
    if created_at is None:
        edits["created_at"] = stamp
    edits["enqueued_at"] = stamp
    return name, splice(member, edits)
