"""What operators set at run time and ask, over Redis: limits, paused queues, status. The grammar of
these keys lives here alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gokiq.core import Arg
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.limits import gems
from gokiq.limits.changes import changes
from gokiq.limits.gems import Gems, Reading
from gokiq.limits.target import Rules, Scope, Target, from_redis
from gokiq.log import get_logger
from gokiq.store.link import RedisLink

log = get_logger("control")

#: Hash `SCOPE:TARGET` -> number, rate or `none` (limits.py).
LIMITS = "gokiq:limits"
#: Set of queues that are paused: Sidekiq Pro's own, so that its Web UI agrees.
PAUSED = "paused"
#: Hash `SCOPE:TARGET` or `paused:QUEUE` -> who changed it by a command, for the log.
CHANGES = "gokiq:changes"
#: How long it is remembered who, seconds.
CHANGES_S = 60
#: A word that whoever wants a status sets; every process answers it under `status_key`.
ASKED = "gokiq:status:asked"
#: How long a question, and an answer, stay, seconds.
ANSWER_S = 60
#: Look again while tracking is on, seconds: a safety net.
LOOK_S = 20.0
#: Look on servers or accounts that have no CLIENT TRACKING, seconds.
BLIND_LOOK_S = 0.5
#: Longest pause after the connection was lost, seconds; half of it at least, spread at random.
RETRY_S = 0.5


def status_key(identity: str) -> str:
    """JSON `{"asked": word, ...}` of this process."""
    return f"gokiq:status:{identity}"


@dataclass(frozen=True, slots=True)
class Orders:
    """What Redis says now."""

    rules: Rules
    asked: str
    #: Who has changed what lately, as `CHANGES` has it.
    who: Mapping[str, str]
    gems: Reading = field(default_factory=Reading)


class Control:
    """Operators' verbs, on one connection. Raises ConnectionLost, ReplyError."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def orders(self, *, tracked: bool = False, of: Gems = gems.NONE) -> Orders:
        """What is set now, by operators and by the keys of these gems; of what is `tracked` Redis
        says when it changes.
        """
        questions: list[tuple[Arg, ...]] = [
            ("HGETALL", LIMITS),
            ("SMEMBERS", PAUSED),
            ("GET", ASKED),
            ("HGETALL", CHANGES),
            *of.tracked(),
        ]
        rest = of.untracked()
        if tracked:
            # Said each time: the connection may be another one.
            on: tuple[Arg, ...] = ("CLIENT", "TRACKING", "ON", "OPTIN")
            caching: tuple[Arg, ...] = ("CLIENT", "CACHING", "YES")
            pairs = [part for question in questions for part in (caching, question)]
            found = (await self._link.pipeline([on, *pairs, *rest]))[1:]
            pairs_end = 2 * len(questions)
            answers, unwatched = found[1:pairs_end:2], found[pairs_end:]
        else:
            found = await self._link.pipeline([*questions, *rest])
            answers, unwatched = found[: len(questions)], found[len(questions) :]
        fields, paused, asked, who, *theirs = answers
        rules = from_redis(
            {_text(key): _text(value) for key, value in fields.items()}, map(_text, paused)
        )
        by = {_text(key): _text(value) for key, value in who.items()}
        return Orders(rules, _text(asked or b""), by, of.read(theirs, unwatched))

    async def start(self, of: Gems) -> Orders:
        """Write what these gems write when they start, and read everything."""
        if seeds := of.seeds():
            await self._link.pipeline(seeds)
        return await self.orders(of=of)

    async def fields(self) -> dict[str, str]:
        """The limits that are set at run time, as they stand in Redis."""
        fields = await self._link.call("HGETALL", LIMITS)
        return {_text(key): _text(value) for key, value in sorted(fields.items())}

    async def limit(self, scope: Scope, target: Target, value: str | None) -> None:
        """Set a limit; None: what the app's configuration says counts again."""
        field = f"{scope}:{target}"
        change: tuple[Arg, ...] = ("HSET", LIMITS, field, value or "")
        await self._change(field, change if value is not None else ("HDEL", LIMITS, field))

    async def pause(self, queue: str) -> bool:
        """False when it was paused already."""
        return bool(await self._change(f"paused:{queue}", ("SADD", PAUSED, queue)))

    async def resume(self, queue: str) -> bool:
        """False when it was not paused."""
        return bool(await self._change(f"paused:{queue}", ("SREM", PAUSED, queue)))

    async def _change(self, what: str, command: tuple[Arg, ...]) -> Any:
        """The reply to a change, of which processes can say who made it: they are told first."""
        who: list[tuple[Arg, ...]] = [
            ("MULTI",),
            ("HSET", CHANGES, what, _me()),
            ("EXPIRE", CHANGES, CHANGES_S),
            command,
            ("EXEC",),
        ]
        return (await self._link.pipeline(who))[-1][-1]

    async def ask(self, word: str) -> None:
        """Have every process write its status."""
        await self._link.call("SET", ASKED, word, "EX", ANSWER_S)

    async def answers(self, identities: list[str], word: str) -> dict[str, dict[str, Any]]:
        """Of those processes that have answered this question."""
        if not identities:
            return {}
        found = {}
        raw = await self._link.call("MGET", *map(status_key, identities))
        for identity, text in zip(identities, raw, strict=True):
            answer = json.loads(text) if text else {}
            if answer.get("asked") == word:
                found[identity] = answer
        return found

    async def answer(self, identity: str, word: str, status: Mapping[str, Any]) -> None:
        """Write our status."""
        document = json.dumps({"asked": word, **status}, separators=(",", ":"))
        await self._link.call("SET", status_key(identity), document, "EX", ANSWER_S)


class ControlWatch:
    """Passes on what operators set, at once: Redis tells us when one of the keys that we have read
    changes. Others may use the link, too, as long as they wait for no pushes.
    """

    def __init__(
        self,
        link: RedisLink,
        on_rules: Callable[[Rules, Rules], None],
        on_question: Callable[[str], Awaitable[None]],
        of: gems.Source = lambda: gems.NONE,
    ) -> None:
        """`on_rules` hears what operators say and what the gems `of` the app do."""
        self._link = link
        self._of = of
        self._control = Control(link)
        self._on_rules = on_rules
        self._on_question = on_question
        self._known = (Rules(), Rules())
        self._is_stale = False
        self._asked = ""
        self._again_s: float | None = None
        self._doubts: frozenset[str] = frozenset()
        self._news = asyncio.Event()
        self._can_track = True
        self._complaint = ""

    async def first(self) -> None:
        """Before anything is claimed. Raises ConnectionLost."""
        try:
            orders = await self._control.start(self._of())
        except ReplyError as error:
            self._complain(error)
            return
        self._asked = orders.asked
        self._heed(orders)

    def look_soon(self) -> None:
        """The app is another one, and so may be its gems."""
        self._is_stale = True
        self._news.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                if self._can_track:
                    await self._track()
                else:
                    await self._look()
                    await asyncio.sleep(BLIND_LOOK_S)
            except ConnectionLost as error:
                log.debug("Cannot look for limits: %s", error)
                await asyncio.sleep(RETRY_S * (1 + random.random()) / 2)
            except ReplyError as error:
                self._complain(error)
                await asyncio.sleep(LOOK_S)

    async def _track(self) -> None:
        """What we read is watched until it changes once, and only on this connection; so we read
        again.
        """
        tracking: tuple[Arg, ...] = ("CLIENT", "TRACKING", "ON", "OPTIN")
        try:
            await self._link.call(*tracking)
        except ReplyError as error:
            self._can_track = False
            log.warning(
                "Redis refuses CLIENT TRACKING, looking for limits every %g s instead: %s",
                BLIND_LOOK_S,
                error,
            )
            return
        while True:
            self._news.clear()
            await self._look(tracked=True)
            await self._wait()

    async def _wait(self) -> None:
        """Wait until there may be something new. Raises ConnectionLost."""
        push = asyncio.ensure_future(self._link.next_push(self._patience_s()))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({push, news}, return_when=asyncio.FIRST_COMPLETED)
            if push.done():
                push.result()
        finally:
            for task in (push, news):
                task.cancel()
            await asyncio.gather(push, news, return_exceptions=True)

    def _patience_s(self) -> float:
        """Redis may tell only later that a key has ended by itself."""
        return LOOK_S if self._again_s is None else min(LOOK_S, self._again_s + 0.01)

    async def _look(self, *, tracked: bool = False) -> None:
        of = self._of()
        orders = await self._control.orders(tracked=tracked, of=of)
        if orders.asked and orders.asked != self._asked:
            self._asked = orders.asked
            await self._on_question(orders.asked)
        if of is self._of():  # else they are of another app than is served now: we look again
            self._heed(orders)

    def _complain(self, error: ReplyError) -> None:
        """Once for the same refusal. Who may not read these keys goes without."""
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.warning(
                "Redis refuses to tell limits and pauses, those known count: %s; "
                "our user needs the keys gokiq:* and paused, and those of gems that limit or pause",
                error,
            )

    def _heed(self, orders: Orders) -> None:
        self._again_s = orders.gems.again_s
        for doubt in sorted(set(orders.gems.doubts) - self._doubts):
            log.warning("%s", doubt)
        self._doubts = frozenset(orders.gems.doubts)
        known = (orders.rules, orders.gems.rules)
        if known != self._known or self._is_stale:
            (before, theirs), self._known, self._is_stale = self._known, known, False
            self._on_rules(*known)
            for what, line in changes(before, orders.rules):
                log.info("%s: %s", line, f"set by {orders.who.get(what, 'somebody')}")
            for _, line in changes(theirs, orders.gems.rules):
                log.info("%s: set by %s", line, self._of().speaker)


def _me() -> str:
    """Who runs this command, as far as the host knows."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
