"""Fair shares of one queue among tenants: which one a job is for, and whose turn it is. Pure; the
caller brings the clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from typing import Any

from gokiq.claiming.fair_shares import Shares
from gokiq.errors import ConfigError, PayloadError
from gokiq.payload import scan

#: Tenant of a job that names none.
NOBODY = ""
#: A tenant's key is cut at this length, characters.
KEY_LENGTH = 200
#: Lists and objects in one another that a key may have. How deep a text the parser takes depends
#: on the Python.
KEY_DEPTH = 8


class TenantPath:
    """Where a payload says for which tenant the job is: fields and indexes joined by dots, such as
    `args.0.account_id` or `cattr.tenant_id`.

    Of an ActiveJob `args` are the job's own arguments. `cattr` is what Sidekiq keeps of
    CurrentAttributes. Raises ConfigError when there is no such path.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._field, *self._steps = path.split(".")
        if not path or not all([self._field, *self._steps]):
            raise ConfigError(
                f"tenant key {path!r}: must be fields joined by dots, such as args.0.account_id"
            )

    def read(self, payload: bytes) -> str:
        """The tenant's key, as text; NOBODY where it has none or cannot be read."""
        try:
            raw, wrapped = scan(payload, (self._field, "wrapped"))
            if raw is None:
                return NOBODY
            value = json.loads(raw)
            if self._field == "args" and wrapped is not None:
                value = _step(_step(value, "0"), "arguments")
            for step in self._steps:
                value = _step(value, step)
        except (PayloadError, ValueError, RecursionError, LookupError):
            return NOBODY
        return _key(value)


def _step(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value[step]
    if isinstance(value, list):
        if step.isdecimal():
            return value[int(step)]
        # A hash as ActiveJob serializes its pairs: CurrentAttributes of Sidekiq 8.
        for pair in value:
            if isinstance(pair, list) and len(pair) == 2 and step in (pair[0], _symbol(pair[0])):
                return pair[1]
    raise LookupError(step)


def _symbol(value: Any) -> Any:
    return value.get("value") if isinstance(value, dict) else None


def _key(value: Any) -> str:
    if value is None or not _is_shallow(value, KEY_DEPTH):
        return NOBODY
    if not isinstance(value, str):
        # A record is told apart by its global id, as ActiveJob writes it.
        value = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value[:KEY_LENGTH])


def _is_shallow(value: Any, depth: int) -> bool:
    """Whether at most so many lists and objects lie in one another."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(depth > 0 and _is_shallow(part, depth - 1) for part in parts)


class Tenants:
    """The tenants of one queue, those that run and those in its window. A tenant's share is in
    slot-seconds, so that one with slow jobs, or with many, holds no more slots than the others.
    """

    def __init__(self, path: TenantPath, weights: Mapping[str, float] | None = None) -> None:
        self.path = path
        self._shares: Shares[str] = Shares(weights)
        self._running: dict[int, str] = {}

    def of(self, payload: bytes) -> str:
        """Whose job this is."""
        return self.path.read(payload)

    def running(self) -> dict[str, int]:
        """Running jobs by tenant."""
        counts: dict[str, int] = {}
        for tenant in self._running.values():
            counts[tenant] = counts.get(tenant, 0) + 1
        return counts

    def turns(self, want: int, waiting: Mapping[str, int], now: float) -> list[str]:
        """To whom each of `want` slots goes; `waiting` is how many jobs each tenant has that may
        run.
        """
        self._shares.hungry((tenant for tenant, count in waiting.items() if count), now)
        return self._shares.serve(want, waiting)

    def started(self, number: int, tenant: str, now: float) -> None:
        """A job, by its claim's number, holds a slot."""
        self._running[number] = tenant
        self._shares.changed(tenant, 1, now)

    def ended(self, numbers: Iterable[int], now: float) -> None:
        """These gave their slots back; those that we do not know are none of ours."""
        for number in numbers:
            tenant = self._running.pop(number, None)
            if tenant is not None:
                self._shares.changed(tenant, -1, now)

    def keep(self, held: Set[int], now: float) -> None:
        """Only these claims are ours."""
        self.ended([number for number in self._running if number not in held], now)


def parse_tenants(settings: object) -> dict[str, TenantPath]:
    """`tenants` of the `gokiq:` section: queue -> where its jobs name their tenant. Raises
    ConfigError.
    """
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise ConfigError(f"gokiq: tenants {settings!r:.80}: must be a mapping, queue: path")
    paths = {}
    for queue, path in settings.items():
        if not isinstance(path, str):
            raise ConfigError(f"gokiq: tenants.{queue} {path!r:.80}: must be a path")
        try:
            paths[str(queue)] = TenantPath(path)
        except ConfigError as error:
            raise ConfigError(f"gokiq: tenants.{queue}: {error}") from None
    return paths
