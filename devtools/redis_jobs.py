"""Where the jobs are in Redis: queues, claims, retry, schedule, dead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import redis


@dataclass(frozen=True, slots=True)
class Places:
    """The jids in each place, by name; a payload without a jid stands as "?"."""

    queued: tuple[str, ...]
    claimed: tuple[str, ...]
    retry: tuple[str, ...]
    schedule: tuple[str, ...]
    dead: tuple[str, ...]

    def all(self) -> list[str]:
        """Every jid that Redis holds."""
        return [*self.queued, *self.claimed, *self.retry, *self.schedule, *self.dead]


def find_jobs(client: redis.Redis) -> Places:
    """All jobs that Redis holds. Reads every payload: for the end of a run, not for a display."""
    queues = [b"queue:" + name for name in sorted(_members(client, "queues"))]
    return Places(
        queued=_jids([text for queue in queues for text in client.lrange(_text(queue), 0, -1)]),
        claimed=_jids([text for key in claim_keys(client) for text in client.hvals(key)]),
        retry=_jids(list(client.zrange("retry", 0, -1))),
        schedule=_jids(list(client.zrange("schedule", 0, -1))),
        dead=_jids(list(client.zrange("dead", 0, -1))),
    )


def claim_keys(client: redis.Redis) -> list[str]:
    """The hashes of claims, of all owners and all queues."""
    # A hash whose owner is not listed is left out on purpose: nobody would ever adopt its jobs.
    owners = client.hkeys("gokiq:owners")
    queues = sorted(_members(client, "queues"))
    return [f"gokiq:claims:{_text(owner)}:{_text(queue)}" for owner in owners for queue in queues]


def count_claims(client: redis.Redis) -> int:
    """Jobs that are claimed and not settled, of all owners, in three round trips."""
    keys = claim_keys(client)
    if not keys:
        return 0
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hlen(key)
        return sum(int(count) for count in pipe.execute())


def count_connections(client: redis.Redis, *, ignore: tuple[str, ...] = ("devtools",)) -> int:
    """Connections to Redis, without those whose CLIENT SETNAME is in `ignore`."""
    return sum(1 for one in client.client_list() if one.get("name", "") not in ignore)


def _members(client: redis.Redis, key: str) -> set[bytes]:
    return set(client.smembers(key))  # type: ignore[arg-type] # redis-py types sync and async replies alike


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode(errors="surrogateescape")


def _jids(payloads: list[Any]) -> tuple[str, ...]:
    return tuple(_jid(payload) for payload in payloads)


def _jid(payload: bytes) -> str:
    try:
        job = json.loads(payload)
    except (ValueError, RecursionError):
        return "?"
    jid = job.get("jid") if isinstance(job, dict) else None
    return jid if isinstance(jid, str) else "?"
