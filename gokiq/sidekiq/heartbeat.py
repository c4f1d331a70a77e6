"""The process record that Sidekiq's API and Web UI read: identity hash, work set, signals
(sidekiq-compatible layout).
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gokiq.app.info import AppInfo
from gokiq.core import Arg, Job
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.host.identity import Identity
from gokiq.log import get_logger
from gokiq.sidekiq import work_set
from gokiq.store.broker import Broker

log = get_logger("heartbeat")

#: Sidekiq 7+ beats every 10 s; its record lives 60 s.
BEAT_S = 10.0
#: Longest pause after a beat that failed, seconds; half of it at least, spread at random.
AGAIN_S = 1.0
RECORD_TTL_S = 60
#: Sidekiq warns when each of its last five round trips took longer, microseconds.
SLOW_RTT_US = 50_000


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a beat gets what changes."""

    running: Callable[[], list[Job]]
    rss_kb: Callable[[], int]
    is_quiet: Callable[[], bool]
    on_signal: Callable[[str], None]
    on_beat: Callable[[], None]


class Heartbeat:
    """Writes the record every 10 s and hands the signals that the Web UI left for us to
    `on_signal`.
    """

    def __init__(self, broker: Broker, app: AppInfo, identity: Identity, sources: Sources) -> None:
        self._link = broker.link
        self._key = identity.name
        self._identity = identity
        self._sources = sources
        self._describe(app)
        self._rtts: deque[int] = deque(maxlen=5)
        self._now = asyncio.Event()
        #: Why the last beat failed; empty when it did not.
        self.fault = ""

    def beat_soon(self) -> None:
        """Something that operators wait for has changed: beat now, not in ten seconds."""
        self._now.set()

    def reloaded(self, app: AppInfo) -> None:
        """The record is of this app from now on."""
        self._describe(app)
        self.beat_soon()

    def _describe(self, app: AppInfo) -> None:
        self._app = app
        self._info = _info(app, self._identity)
        self._concurrency = sum(c.concurrency for c in app.capsules)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self._now.clear()
            try:
                await self.beat()
                self.fault = ""
            except (ConnectionLost, ReplyError) as error:
                if not self.fault:
                    log.warning("Heartbeat failed, trying again every second: %s", error)
                self.fault = str(error)
                await asyncio.sleep(AGAIN_S * (1 + random.random()) / 2)
                continue
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def beat(self) -> None:
        """One beat, in the order of Sidekiq 8: work set, round trip, record and one signal."""
        running = self._sources.running()
        await self._show(running)
        rtt_us = await self._round_trip()
        record: list[Arg] = ["info", self._info, "concurrency", self._concurrency]
        record += ["busy", len(running), "beat", time.time(), "rtt_us", rtt_us]
        record += [
            "quiet",
            "true" if self._sources.is_quiet() else "false",
            "rss",
            self._sources.rss_kb(),
        ]
        answers = await self._link.pipeline(
            [
                ["MULTI"],
                ["SADD", "processes", self._key],
                ["HSET", self._key, *record],
                ["EXPIRE", self._key, RECORD_TTL_S],
                ["RPOP", f"{self._key}-signals"],
                ["EXEC"],
            ]
        )
        self._sources.on_beat()
        signal = answers[-1][-1]
        if isinstance(signal, bytes):
            self._sources.on_signal(signal.decode("utf-8", "replace"))

    async def _show(self, running: list[Job]) -> None:
        """Write the work set. If it is large, in pieces to a key beside it that then takes its
        place: neither we nor Redis do anything else while one is written.
        """
        key, beside = f"{self._key}:work", f"{self._key}:work:next"
        routes = self._app.routes
        pieces = work_set.pieces(
            running, lambda route: routes[route].queue, time.time(), time.monotonic()
        )
        piece, following = next(pieces, None), next(pieces, None)
        if following is None:
            work: list[list[Arg]] = [["MULTI"], ["UNLINK", key]]
            if piece:
                work += [["HSET", key, *piece], ["EXPIRE", key, RECORD_TTL_S]]
            await self._link.pipeline([*work, ["EXEC"]])
            return
        await self._link.call("UNLINK", beside)
        while piece:
            await self._link.pipeline([["HSET", beside, *piece], ["EXPIRE", beside, RECORD_TTL_S]])
            piece, following = following, next(pieces, None)
        await self._link.call("RENAME", beside, key)

    async def sign_off(self) -> None:
        """Strike us from the list of processes, as a clean Sidekiq stop does; the record itself
        expires.
        """
        await self._link.pipeline(
            [("SREM", "processes", self._key), ("UNLINK", f"{self._key}:work")]
        )

    async def prune(self) -> None:
        """Strike processes whose record has expired; at most one process a minute does this."""
        if not await self._link.call("SET", "process_cleanup", "1", "NX", "EX", "60"):
            return
        members = list(await self._link.call("SMEMBERS", "processes"))
        infos = (
            await self._link.pipeline([("HGET", member, "info") for member in members])
            if members
            else []
        )
        dead = [member for member, info in zip(members, infos, strict=True) if info is None]
        if dead:
            await self._link.call("SREM", "processes", *dead)

    async def _round_trip(self) -> int:
        began = time.monotonic()
        await self._link.call("PING")
        rtt_us = int((time.monotonic() - began) * 1e6)
        self._rtts.append(rtt_us)
        if len(self._rtts) == self._rtts.maxlen and min(self._rtts) > SLOW_RTT_US:
            log.warning(
                "Redis is slow: the last five round trips took %s us; look at its CPU and network",
                list(self._rtts),
            )
            self._rtts.clear()
        return rtt_us


def _info(app: AppInfo, identity: Identity) -> str:
    """The frozen part of the record. Keys of every Sidekiq from 7.0 on are written, each reader
    takes its own.
    """
    return json.dumps(
        {
            "hostname": identity.hostname,
            "started_at": identity.started_at,
            "pid": identity.pid,
            "tag": app.tag,
            "concurrency": sum(c.concurrency for c in app.capsules),
            "capsules": {
                c.name: {"concurrency": c.concurrency, "mode": c.mode, "weights": dict(c.queues)}
                for c in app.capsules
            },
            "queues": list(app.queue_names),
            "weights": [dict(c.queues) for c in app.capsules],
            "labels": list(app.labels),
            "identity": identity.name,
            "version": app.sidekiq,
            "embedded": False,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
