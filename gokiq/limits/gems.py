"""What gems of the app limit and pause: as their registries had it when the app booted, and as
their own keys in Redis have it now. The grammar of these keys lives here alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gokiq.app.info import AppInfo
from gokiq.core import Arg
from gokiq.errors import ConfigError
from gokiq.limits.rate import MOST
from gokiq.limits.target import Limits, Rules, from_settings, queue

#: Keys of what HELLO says of a gem that are not settings.
_KEYS = ("paused", "live")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the gems' keys say now."""

    rules: Rules = field(default_factory=Rules)
    #: What they ask for and do not get, one line for each.
    doubts: tuple[str, ...] = ()
    #: How soon one of them ends by itself, seconds; None: none does.
    again_s: float | None = None


class _Pauses:
    """sidekiq-pauzer: a set of the names of paused queues."""

    def __init__(self, gem: str, key: str) -> None:
        self.gem = gem
        self._key = key

    def seeds(self) -> list[tuple[Arg, ...]]:
        return []

    def tracked(self) -> list[tuple[Arg, ...]]:
        return [("SMEMBERS", self._key)]

    def untracked(self) -> list[tuple[Arg, ...]]:
        return []

    def read(self, answers: Sequence[Any]) -> Reading:
        paused = frozenset(map(_text, answers[0]))
        return Reading(Rules(paused=paused).said_by(self.gem))


class _PerQueue:
    """sidekiq-limit_fetch: a key for each setting of each queue. What the app's file says is
    written where there is none yet, as the gem does when it starts; then only the keys count.
    """

    #: The last part of a key, after its prefix; before the queue's name.
    KINDS = ("limit", "process_limit", "pause", "block")

    def __init__(self, gem: str, prefix: str, queues: Sequence[str], file: Rules) -> None:
        self.gem = gem
        self._prefix = prefix
        self._queues = queues
        self._file = file

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    def seeds(self) -> list[tuple[Arg, ...]]:
        said = (("limit", self._file.cluster), ("process_limit", self._file.process))
        return [
            ("SET", self._key(kind, name), limit, "NX")
            for kind, limits in said
            for name in self._queues
            if (limit := limits.get(queue(name))) is not None
        ]

    def tracked(self) -> list[tuple[Arg, ...]]:
        return [("MGET", *(self._key(k, name) for name in self._queues for k in self.KINDS))]

    def untracked(self) -> list[tuple[Arg, ...]]:
        """A pause may end by itself."""
        return [("PTTL", self._key("pause", name)) for name in self._queues]

    def read(self, answers: Sequence[Any]) -> Reading:
        values, *lives = answers
        cluster: Limits = {}
        process: Limits = {}
        paused, doubts = set(), []
        each = iter(values)
        rows = zip(each, each, each, each, strict=True)  # one of each of KINDS
        for name, (limit, process_limit, pause, block) in zip(self._queues, rows, strict=True):
            cluster = {**cluster, **_limit(name, limit)}
            process = {**process, **_limit(name, process_limit)}
            if pause is not None:
                paused.add(name)
            if block is not None:
                doubts.append(f"{self.gem}: {self._key('block', name)} holds up no queue here")
        rules = Rules(process, cluster, paused=frozenset(paused)).said_by(self.gem)
        ends = [life / 1000 for life in lives if life > 0]
        return Reading(rules, tuple(doubts), min(ends, default=None))


class Gems:
    """Of one app. Raises ConfigError when they ask for what cannot be."""

    def __init__(self, gems: Mapping[str, Mapping[str, Any]], queues: Sequence[str]) -> None:
        """`gems` as HELLO has them, `queues` those that the app reads."""
        self.fixed = Rules()
        self._parts: list[_Pauses | _PerQueue] = []
        for name, given in gems.items():
            rules = _settings(name, given)
            if (key := given.get("paused")) is not None:
                self._parts.append(_Pauses(name, str(key)))
            if (prefix := given.get("live")) is not None:
                self._parts.append(_PerQueue(name, str(prefix), queues, rules))
            else:
                self.fixed = self.fixed.over(rules.said_by(name))

    @property
    def speaker(self) -> str:
        """Whose keys in Redis are read, for the log."""
        return " or ".join(part.gem for part in self._parts)

    @classmethod
    def of(cls, app: AppInfo) -> Gems:
        """Those of an app."""
        return cls(app.gems, app.queue_names)

    def seeds(self) -> list[tuple[Arg, ...]]:
        """What they write when they start."""
        return [command for part in self._parts for command in part.seeds()]

    def tracked(self) -> list[tuple[Arg, ...]]:
        """Questions whose answers may change at any time."""
        return [question for part in self._parts for question in part.tracked()]

    def untracked(self) -> list[tuple[Arg, ...]]:
        """Questions that nobody has to be told of."""
        return [question for part in self._parts for question in part.untracked()]

    def read(self, tracked: Sequence[Any], untracked: Sequence[Any]) -> Reading:
        """From the answers to both."""
        reading = Reading()
        first, second = iter(tracked), iter(untracked)
        for part in self._parts:
            answers = [next(first) for _ in part.tracked()]
            answers += [next(second) for _ in part.untracked()]
            found = part.read(answers)
            ends = [end for end in (reading.again_s, found.again_s) if end is not None]
            reading = Reading(
                reading.rules.over(found.rules),
                reading.doubts + found.doubts,
                min(ends, default=None),
            )
        return reading


#: Of the app that is served now.
Source = Callable[[], Gems]
NONE = Gems({}, ())


def _settings(name: str, given: Mapping[str, Any]) -> Rules:
    try:
        return from_settings({key: value for key, value in given.items() if key not in _KEYS})
    except ConfigError as error:
        raise ConfigError(f"{name}: {str(error).removeprefix('gokiq: ')}") from error


def _limit(name: str, value: bytes | None) -> Limits:
    """As the gem's script reads it: what is no number is no limit."""
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return {}
    if not math.isfinite(number):
        return {}
    return {queue(name): min(max(math.ceil(number), 0), MOST)}


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
