"""What bounds the number of running jobs: targets, and the rules that the app's configuration,
flags, classes and operators set for them. Values only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from gokiq.errors import ConfigError
from gokiq.limits.rate import MOST, Rate, parse_rate

#: Keys of the `gokiq:` section of the app's Sidekiq configuration.
SETTINGS = (
    "limits",
    "cluster",
    "rates",
    "adaptive",
    "dependencies",
    "weights",
    "reserve",
    "tenants",
    # Read and checked by the sidecar (thread_variables.rb, unobeyed.rb).
    "shared_thread_variables",
    "ignore",
)
#: In place of a number: no limit, whatever others say.
NONE = "none"
#: Sections of `limits`, `cluster` and `rates` in sidekiq.yml, by the kind that they name.
_SECTIONS = {
    "capsules": "capsule",
    "queues": "queue",
    "classes": "class",
    "dependencies": "dependency",
}


class Kind(StrEnum):
    """What a limit is for."""

    TOTAL = "total"
    CAPSULE = "capsule"
    QUEUE = "queue"
    CLASS = "class"
    #: What several classes and queues need, such as a database; they say so by its name.
    DEPENDENCY = "dependency"


class Scope(StrEnum):
    """Where the jobs are counted."""

    PROCESS = "process"
    CLUSTER = "cluster"
    #: Jobs that start, in all processes together.
    RATE = "rate"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Some of the jobs. As text `total` or `KIND:NAME`."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)


TOTAL = Target(Kind.TOTAL)


def queue(name: str) -> Target:
    """The jobs of a queue."""
    return Target(Kind.QUEUE, name)


def capsule(name: str) -> Target:
    """The jobs of a capsule."""
    return Target(Kind.CAPSULE, name)


def job_class(name: str) -> Target:
    """The jobs of a class; of ActiveJob the wrapped one."""
    return Target(Kind.CLASS, name)


def dependency(name: str) -> Target:
    """The jobs that need it."""
    return Target(Kind.DEPENDENCY, name)


def parse_target(name: str, text: str) -> Target:
    """`total`, `KIND:NAME`, or a name alone: of a class when it is a Ruby constant, else of a
    queue. `name` is what was set to it. Raises ConfigError.
    """
    if text == Kind.TOTAL:
        return TOTAL
    kind, colon, rest = text.partition(":")
    if colon and rest and not rest.startswith(":"):
        if kind in tuple(Kind) and kind != Kind.TOTAL:
            return Target(Kind(kind), rest)
    elif text and (not colon or rest.startswith(":")):
        return job_class(text) if re.match(r"[A-Z]", text) else queue(text)
    said = f"{name} {text}" if text else f"{name} ''"
    raise ConfigError(
        f"{said}: must be a queue, a class, total, queue:NAME, class:NAME, capsule:NAME "
        "or dependency:NAME"
    )


#: A limit of None lifts one that is set with less weight.
Limits = Mapping[Target, int | None]


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits by target. Merged with `over`, so that what operators say last counts."""

    process: Limits = field(default_factory=dict)
    cluster: Limits = field(default_factory=dict)
    rates: Mapping[Target, Rate | None] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    #: Dependency by class and by queue.
    dependencies: Mapping[Target, str] = field(default_factory=dict)
    #: Gems of the app that said so, by what they limit and by the queues that they paused.
    by: Mapping[Target, str] = field(default_factory=dict)
    paused_by: Mapping[str, str] = field(default_factory=dict)

    def over(self, other: Rules) -> Rules:
        """Both; where both say something of a target, this."""
        said = self.targets()
        untold = self.paused - self.paused_by.keys()
        return Rules(
            process={**other.process, **self.process},
            cluster={**other.cluster, **self.cluster},
            rates={**other.rates, **self.rates},
            paused=other.paused | self.paused,
            dependencies={**other.dependencies, **self.dependencies},
            by={**{t: gem for t, gem in other.by.items() if t not in said}, **self.by},
            paused_by={
                **{queue: gem for queue, gem in other.paused_by.items() if queue not in untold},
                **self.paused_by,
            },
        )

    def in_force(self) -> Rules:
        """Without what lifts a limit and has done so."""
        return Rules(
            process={t: n for t, n in self.process.items() if n is not None},
            cluster={t: n for t, n in self.cluster.items() if n is not None},
            rates={t: r for t, r in self.rates.items() if r is not None},
            paused=self.paused,
            dependencies=self.dependencies,
            by=self.by,
            paused_by=self.paused_by,
        )

    def said_by(self, gem: str) -> Rules:
        """The same, as said by a gem of the app."""
        by, paused_by = dict.fromkeys(self.targets(), gem), dict.fromkeys(self.paused, gem)
        return replace(self, by=by, paused_by=paused_by)

    def targets(self) -> set[Target]:
        """All that are limited; meaningful once `in_force`."""
        return {*self.process, *self.cluster, *self.rates}

    def __bool__(self) -> bool:
        return bool(self.process or self.cluster or self.rates or self.paused)


def from_settings(settings: Mapping[str, Any]) -> Rules:
    """The `gokiq:` section of the app's Sidekiq configuration. Raises ConfigError naming the
    key.
    """
    if unknown := [key for key in settings if key not in SETTINGS]:
        raise ConfigError(f"gokiq: {unknown[0]}: is none of {', '.join(SETTINGS)}")
    return Rules(
        process=dict(_counts("limits", settings.get("limits"))),
        cluster=dict(_counts("cluster", settings.get("cluster"))),
        rates={
            target: None if value == NONE else parse_rate(f"gokiq: {name}", value)
            for name, target, value in _entries("rates", settings.get("rates"))
        },
        dependencies=dict(_members(settings.get("dependencies"))),
    )


def from_classes(classes: Mapping[str, Mapping[str, Any]]) -> Rules:
    """What classes say by `sidekiq_options`: name -> `limit`, `cluster`, `rate`, `dependency`.
    Raises ConfigError naming the class.
    """
    process: dict[Target, int | None] = {}
    cluster: dict[Target, int | None] = {}
    rates: dict[Target, Rate | None] = {}
    needs: dict[Target, str] = {}
    for name, given in classes.items():
        options = _mapping(name, given)
        target = job_class(name)
        said = f"{name}: sidekiq_options gokiq_"
        if (limit := options.get("limit")) is not None:
            process[target] = _count(f"{said}limit", limit)
        if (limit := options.get("cluster_limit")) is not None:
            cluster[target] = _count(f"{said}cluster_limit", limit)
        if (rate := options.get("rate")) is not None:
            rates[target] = parse_rate(f"{said}rate", rate)
        if (need := options.get("dependency")) is not None:
            needs[target] = str(need)
    return Rules(process, cluster, rates, dependencies=needs)


def from_flags(given: Sequence[str]) -> Rules:
    """`TARGET=N`, `cluster:TARGET=N` and `TARGET=10/s`, as `--limit` has them. Raises
    ConfigError.
    """
    found: dict[str, str] = {}
    for text in given:
        left, sign, value = text.rpartition("=")
        if not sign or not left:
            raise ConfigError(
                f"--limit {text}: must be TARGET=N, cluster:TARGET=N or TARGET=N/s, "
                "TARGET being total or such as queue:NAME"
            )
        scope, colon, rest = left.partition(":")
        if colon and scope == Scope.CLUSTER:
            key = f"{Scope.CLUSTER}:{rest}"
        else:
            key = f"{Scope.RATE if '/' in value else Scope.PROCESS}:{left}"
        found[key] = value
    return _from_texts(found, "--limit")


def from_redis(fields: Mapping[str, str], paused: Iterable[str]) -> Rules:
    """What operators have set at run time: `SCOPE:TARGET` -> number, rate or `none`. A field that
    we cannot read, which another version may have written, is left out.
    """
    readable = {}
    for key, value in fields.items():
        try:
            _from_texts({key: value}, "")
        except ConfigError:
            continue
        readable[key] = value
    rules = _from_texts(readable, "")
    return Rules(rules.process, rules.cluster, rules.rates, frozenset(paused))


def _from_texts(fields: Mapping[str, str], said: str) -> Rules:
    process: dict[Target, int | None] = {}
    cluster: dict[Target, int | None] = {}
    rates: dict[Target, Rate | None] = {}
    for key, value in fields.items():
        scope, _, text = key.partition(":")
        target = parse_target(said, text)
        if scope == Scope.RATE:
            rates[target] = None if value == NONE else parse_rate(f"{said} {text}", value)
        elif scope in (Scope.PROCESS, Scope.CLUSTER):
            counts = process if scope == Scope.PROCESS else cluster
            counts[target] = None if value == NONE else _count(f"{said} {text}", value)
        else:
            raise ConfigError(f"{said} {key}: no such scope")
    return Rules(process, cluster, rates)


def adaptive_targets(given: object) -> Iterator[tuple[Target, Mapping[str, Any]]]:
    """What the `adaptive` section sets for which target. Raises ConfigError."""
    for name, target, options in _entries("adaptive", given):
        yield target, _mapping(f"gokiq: {name}", options)


def parse_count(name: str, value: object) -> int | None:
    """A number of jobs, or `none`, which `name` was set to. Raises ConfigError."""
    return None if value == NONE else _count(name, value)


def _counts(section: str, given: object) -> Iterator[tuple[Target, int | None]]:
    for name, target, value in _entries(section, given):
        yield target, parse_count(f"gokiq: {name}", value)


def _entries(section: str, given: object) -> Iterator[tuple[str, Target, object]]:
    """What was set, for which target, to what."""
    for key, value in _mapping(f"gokiq: {section}", given).items():
        if key == Kind.TOTAL:
            yield f"{section}.{key}", TOTAL, value
        elif key in _SECTIONS:
            kind = Kind(_SECTIONS[key])
            for name, one in _mapping(f"gokiq: {section}.{key}", value).items():
                yield f"{section}.{key}.{name}", Target(kind, name), one
        else:
            known = ", ".join(["total", *_SECTIONS])
            raise ConfigError(f"gokiq: {section}.{key}: is none of {known}")


def _members(given: object) -> Iterator[tuple[Target, str]]:
    for name, options in _mapping("gokiq: dependencies", given).items():
        said = f"gokiq: dependencies.{name}"
        members = _mapping(said, options)
        for section in ("queues", "classes"):
            names = members.get(section) or []
            if not isinstance(names, list):
                raise ConfigError(f"{said}.{section} {names!r:.80}: must be a list of names")
            for one in names:
                yield Target(Kind(_SECTIONS[section]), str(one)), name


def _mapping(name: str, given: object) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} {given!r:.80}: must be a mapping")
    return {str(key): value for key, value in given.items()}


def _count(name: str, value: object) -> int:
    is_number = type(value) is int or (isinstance(value, str) and value.isdecimal())
    number = int(value) if is_number else -1  # type: ignore[call-overload]
    if not 0 <= number <= MOST:
        raise ConfigError(f"{name} {value!r:.80}: must be a whole number, 0 or more, or {NONE}")
    return int(number)
