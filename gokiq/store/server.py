"""What is to be known of the Redis server: its version at boot, and what can change while we run:
its eviction policy and its clock.
"""

from __future__ import annotations

import asyncio
import datetime
import time

from gokiq.app.info import AppInfo
from gokiq.errors import BootError, ConnectionLost, ReplyError
from gokiq.log import get_logger
from gokiq.store.link import RedisLink

log = get_logger("redis")

#: Oldest servers that the app's own Sidekiq accepts: (Sidekiq from, Redis from). Source: sidekiq
#: lib/sidekiq/cli.rb, run.
_MINIMUM = (((8, 0), (7, 0)), ((0, 0), (6, 2)))
#: How often policy and clock are looked at, seconds.
LOOK_S = 60.0
#: Clocks that differ by more are warned of, seconds.
MOST_SKEW_S = 1.0


async def check_server(link: RedisLink, app: AppInfo) -> None:
    """Refuse a server that is too old. Raises BootError, ConnectionLost, ReplyError."""
    try:
        info = _fields(await link.call("INFO", "server"))
    except ReplyError as error:
        if (
            "unknown command" in str(error).lower()
        ):  # managed services that hide INFO: as Sidekiq, assume the best
            return
        raise
    version = _version(info.get("redis_version", "9.9"))
    needed = next(redis for sidekiq, redis in _MINIMUM if _version(app.sidekiq) >= sidekiq)
    if version < needed:
        raise BootError(
            f"Redis {info['redis_version']} is too old: "
            f"Sidekiq {app.sidekiq} needs {needed[0]}.{needed[1]} or later"
        )


class RedisWatch:
    """Warns of an eviction policy that may drop jobs, and of clocks that differ: once, and again
    after it was well in between.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._policy = "noeviction"
        self._is_skewed = False
        #: Redis's clock less ours at the last look, seconds; None where it does not say.
        self.skew_s: float | None = None

    @property
    def may_evict(self) -> bool:
        """Whether Redis may drop jobs when its memory is full."""
        return self._policy != "noeviction"

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self.look()
            except ConnectionLost as error:
                log.debug("Cannot look at Redis now: %s", error)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once. Raises ConnectionLost."""
        for one in (self._look_at_policy, self._look_at_clock):
            try:
                await one()
            except ReplyError as error:  # managed services hide the one or the other
                log.debug("Redis does not say: %s", error)

    async def _look_at_policy(self) -> None:
        info = _fields(await self._link.call("INFO", "memory"))
        self._note_policy(info.get("maxmemory_policy", "noeviction"))

    async def _look_at_clock(self) -> None:
        before = time.time()
        seconds, micros = await self._link.call("TIME")
        after = time.time()
        theirs = int(seconds) + int(micros) / 1e6
        self._note_clock(theirs, (before + after) / 2, (after - before) / 2)

    def _note_policy(self, policy: str) -> None:
        before, self._policy = self._policy, policy
        if policy != before and self.may_evict:
            log.warning(
                "Redis may evict your jobs: maxmemory-policy is '%s'; set it to 'noeviction' "
                "(CONFIG SET maxmemory-policy noeviction)",
                policy,
            )
        elif policy != before:
            log.info("Redis evicts no jobs any more: maxmemory-policy is '%s'", policy)

    def _note_clock(self, theirs: float, ours: float, unsure_s: float) -> None:
        self.skew_s = theirs - ours
        was_skewed, self._is_skewed = self._is_skewed, abs(self.skew_s) > MOST_SKEW_S + unsure_s
        if self._is_skewed and not was_skewed:
            log.warning(
                "The clocks differ by %.1f s: Redis has %s, this host %s; jobs fall due by Redis's "
                "clock, but retries and scheduled jobs are timed by the hosts': synchronise them",
                self.skew_s,
                _utc(theirs),
                _utc(ours),
            )
        elif was_skewed and not self._is_skewed:
            log.info("The clocks of Redis and this host agree again")


async def uptime_s(link: RedisLink) -> float:
    """How long the server has been up, seconds; 0 where it does not say. Raises ConnectionLost,
    ReplyError.
    """
    return float(_fields(await link.call("INFO", "server")).get("uptime_in_seconds", 0))


def _fields(info: bytes | str) -> dict[str, str]:
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else info
    return dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return int(major) if major.isdigit() else 0, int(minor) if minor.isdigit() else 0


def _utc(epoch_s: float) -> str:
    return datetime.datetime.fromtimestamp(epoch_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
