"""`gokiq-fast status`: for each queue what waits, what runs, why there is not more, and how long it
will take.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gokiq.commands.limit import say, speak
from gokiq.store.broker import claims_key
from gokiq.store.known import SidekiqProcess, ask, sidekiqs
from gokiq.store.link import RedisLink

#: Reasons in the order in which they are shown where processes differ.
_ORDER = (
    "paused",
    "breaker",
    "rate",
    "limit",
    "slots",
    "database pool",
    "quiet",
    "redis",
    "no worker",
)


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue over all processes. `drain_s` is None when nothing has ended lately."""

    queue: str
    waiting: int
    running: int
    limit: int | None
    why: str
    per_s: float
    drain_s: float | None
    #: Real Sidekiqs that read it, too.
    sidekiqs: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.description = "Show what waits and runs in each queue, and why there is not more."
    parser.epilog = "environment: REDIS_URL REDIS_PROVIDER"
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--redis", metavar="URL", help="the Redis of the app's Sidekiq")


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Exit code 0. Raises GokiqError."""

    async def show(link: RedisLink) -> int:
        found = await ask(link)
        answers, silent = found.said, found.silent
        others = await sidekiqs(link)
        lines = await _lines(link, answers, silent, others)
        if arguments.json:
            processes = {
                name: {k: v for k, v in said.items() if k in ("slots", "claimed", "workers")}
                for name, said in answers.items()
            }
            document = {
                "redis": link.where,
                "processes": processes,
                "sidekiqs": [one.identity for one in others],
                "silent": silent,
                "queues": list(map(asdict, lines)),
            }
            say(json.dumps(document))
        else:
            for line in table(lines, answers, silent):
                say(line)
            for line in footer(link.where, answers, others):
                say(line)
        return 0

    return speak(arguments.redis, environ, show)


async def _lines(
    link: RedisLink,
    answers: Mapping[str, dict[str, Any]],
    silent: Sequence[str],
    others: Sequence[SidekiqProcess],
) -> list[QueueLine]:
    pushed, paused = await link.pipeline([("SMEMBERS", "queues"), ("SMEMBERS", "paused")])
    read = {name: None for said in answers.values() for name in said["queues"]}
    beside = {_text(name) for name in (*pushed, *paused)}.union(*(one.queues for one in others))
    names = [*read, *sorted(beside - read.keys())]
    if not names:
        return []
    waiting = await link.pipeline([("LLEN", f"queue:{name}") for name in names])
    claims = [("HLEN", claims_key(one, name)) for name in names for one in silent]
    unsaid = iter(await link.pipeline(claims) if claims else ())
    held = {name: sum(next(unsaid) for _ in silent) for name in names}
    is_paused = set(map(_text, paused))
    return [
        _line(
            *(name, waits, held[name]),
            [s["queues"].get(name) for s in answers.values()],
            is_paused,
            [one for one in others if name in one.queues],
        )
        for name, waits in zip(names, waiting, strict=True)
    ]


def _line(
    name: str,
    waiting: int,
    held: int,
    said: Sequence[dict[str, Any] | None],
    paused: set[str],
    others: Sequence[SidekiqProcess],
) -> QueueLine:
    known = [one for one in said if one is not None]
    per_s = sum(one["per_s"] for one in known)
    limits = [one["limit"] for one in known]
    whys = [one["why"] for one in known]
    why = ""
    if name in paused:
        why = "paused, Sidekiq without Pro goes on" if others else "paused"
    elif not known and others:
        why = "Sidekiq runs it"
    elif not known:
        why = "no process reads it"
    elif "" not in whys:
        why = min(whys, key=_rank)
    return QueueLine(
        queue=name,
        waiting=waiting,
        running=held
        + sum(one["running"] for one in known)
        + sum(one.running[name] for one in others),
        limit=None if not limits or None in limits else sum(limits),
        why=why if waiting or why.startswith("paused") else "",
        per_s=round(per_s, 3),
        drain_s=round(waiting / per_s, 1)
        if per_s and not why.startswith("paused")
        else 0.0
        if not waiting
        else None,
        sidekiqs=len(others),
    )


def _rank(why: str) -> int:
    return next((at for at, word in enumerate(_ORDER) if why.startswith(word)), len(_ORDER))


def table(
    lines: Sequence[QueueLine], answers: Mapping[str, dict[str, Any]], silent: Sequence[str]
) -> list[str]:
    """For people."""
    rows = [("queue", "waiting", "running", "limit", "jobs/s", "drained in", "why not more")]
    rows += map(_cells, lines)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    text = [_row(row, widths) for row in rows]
    slots = sum(said["slots"] for said in answers.values())
    claimed = sum(said["claimed"] for said in answers.values())
    workers = sum(said["workers"] for said in answers.values())
    text.append(
        f"{_many(len(answers), 'process', 'es')} with {_many(workers, 'worker')}, "
        f"{claimed} of {slots} slots in use"
    )
    text += [f"{name} has not answered" for name in silent]
    return text


def footer(
    where: str, answers: Mapping[str, dict[str, Any]], others: Sequence[SidekiqProcess]
) -> list[str]:
    """Which Redis this was, and who else works there."""
    text = []
    if others:
        names = ", ".join(one.identity for one in others)
        text.append(f"Sidekiq runs beside: {names}; limits of gokiq do not bind it")
    text.append(f"Redis at {where}")
    if not answers:
        text.append("no gokiq-fast is there; is it the app's Redis? --redis URL asks another one")
    return text


def _cells(line: QueueLine) -> tuple[str, str, str, str, str, str, str]:
    return (
        line.queue,
        str(line.waiting),
        str(line.running),
        "" if line.limit is None else str(line.limit),
        f"{line.per_s:.1f}",
        _duration(line.drain_s) if line.waiting else "",
        line.why,
    )


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = zip(cells, widths, strict=True)
    parts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in numbers), last[0]]
    return "  ".join(parts).rstrip()


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _many(count: int, word: str, ending: str = "s") -> str:
    return f"{count} {word}{ending if count != 1 else ''}"
