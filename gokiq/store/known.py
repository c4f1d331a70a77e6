"""What an operator can name: queues, classes, capsules and dependencies that exist, as Redis and
the running processes tell; and who else reads the queues.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gokiq.app.job import describe
from gokiq.errors import ConfigError
from gokiq.limits.names import nearest
from gokiq.limits.target import Kind, Target, parse_target
from gokiq.store.broker import OWNERS
from gokiq.store.link import RedisLink
from gokiq.store.operators import PAUSED, Control
from gokiq.store.owners import Owners

#: How long processes have to answer, seconds; of those that do not, only what Redis says is known.
PATIENCE_S = 2.0
#: Sidekiq beats every 10 s; one that has not for so long is gone, seconds.
SILENT_S = 25.0
#: How often we look for answers, seconds.
LOOK_S = 0.02
#: The oldest jobs of a queue that are looked at for the names of their classes.
PEEK = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """What living gokiq processes say of themselves, and those that have not in time."""

    said: dict[str, dict[str, Any]]
    silent: list[str]


async def ask(link: RedisLink) -> Answers:
    """Ask every living process. Raises ConnectionLost, ReplyError."""
    control = Control(link)
    owners = sorted(await Owners(link).living())
    word = secrets.token_hex(8)
    await control.ask(word)
    deadline = time.monotonic() + PATIENCE_S
    said = await control.answers(owners, word)
    while len(said) < len(owners) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_S)
        said = await control.answers(owners, word)
    return Answers(said, [one for one in owners if one not in said])


@dataclass(frozen=True, slots=True)
class SidekiqProcess:
    """A real Sidekiq beside us, by its own record. It heeds no limit of ours, and a pause only if
    it is Sidekiq Pro.
    """

    identity: str
    queues: frozenset[str]
    #: Jobs that run there, by queue.
    running: Counter[str]


async def sidekiqs(link: RedisLink) -> list[SidekiqProcess]:
    """Those that have a record and beat. Raises ConnectionLost, ReplyError."""
    members, owners = await link.pipeline([("SMEMBERS", "processes"), ("HKEYS", OWNERS)])
    names = sorted(set(map(_text, members)) - set(map(_text, owners)))
    if not names:
        return []
    infos = await link.pipeline([("HGET", name, "info") for name in names])
    beats = await link.pipeline([("HGET", name, "beat") for name in names])
    works = await link.pipeline([("HVALS", f"{name}:work") for name in names])
    now = float((await link.call("TIME"))[0])
    found = []
    for name, info, beat, work in zip(names, infos, beats, works, strict=True):
        queues = _object(info).get("queues")
        # A record outlives its process for a minute, that of a gokiq process as well.
        if isinstance(queues, list) and now - _number(beat) < SILENT_S:
            running = Counter(str(_object(one).get("queue")) for one in work)
            found.append(SidekiqProcess(name, frozenset(map(str, queues)), running))
    return found


@dataclass(slots=True)
class Known:
    """Names that exist, by kind."""

    names: dict[Kind, set[str]] = field(default_factory=lambda: {kind: set() for kind in Kind})
    sidekiqs: list[SidekiqProcess] = field(default_factory=list)
    #: Of gokiq processes.
    answers: Answers = field(default_factory=lambda: Answers({}, []))

    def check(self, verb: str, target: Target) -> None:
        """Raises ConfigError with what may have been meant when there is no such target."""
        if target.kind is Kind.TOTAL or target.name in self.names[target.kind]:
            return
        near = nearest(self.names, target)
        hint = f"did you mean {near}? " if near else ""
        raise ConfigError(
            f"{verb} {target.name}: nobody knows a {target.kind} of that name; "
            f"{hint}--force does it all the same"
        )

    def readers(self, queue: str) -> list[SidekiqProcess]:
        """Real Sidekiqs that read it."""
        return [one for one in self.sidekiqs if queue in one.queues]


async def look(link: RedisLink, target: Target | None = None) -> Known:
    """All that is known now; of classes also what waits, when `target` is one that nobody names.
    Raises ConnectionLost, ReplyError.
    """
    answers = await ask(link)
    known = Known(sidekiqs=await sidekiqs(link), answers=answers)
    pushed, paused = await link.pipeline([("SMEMBERS", "queues"), ("SMEMBERS", PAUSED)])
    queues = known.names[Kind.QUEUE]
    queues.update(map(_text, (*pushed, *paused)))
    for one in known.sidekiqs:
        queues.update(one.queues)
    for said in answers.said.values():
        queues.update(said.get("queues", ()))
        for kind, names in said.get("names", {}).items():
            if kind in tuple(Kind):  # else it is a later version's
                known.names[Kind(kind)].update(names)
    for text in await Control(link).fields():
        with contextlib.suppress(ConfigError):  # another version's
            limited = parse_target("", text.partition(":")[2])
            known.names[limited.kind].add(limited.name)
    is_strange = target is not None and target.name not in known.names[target.kind]
    if queues and target is not None and target.kind is Kind.CLASS and is_strange:
        known.names[Kind.CLASS].update(await _waiting_classes(link, queues))
    return known


async def _waiting_classes(link: RedisLink, queues: Iterable[str]) -> set[str]:
    """Of jobs that wait: an app that loads its classes when they are needed does not name them."""
    tails = await link.pipeline([("LRANGE", f"queue:{name}", -PEEK, -1) for name in queues])
    return {describe(payload)[1] for tail in tails for payload in tail} - {"?"}


def _object(text: bytes | str | None) -> Mapping[str, Any]:
    try:
        value = json.loads(text or "null")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _number(text: bytes | str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
