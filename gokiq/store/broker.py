"""The verbs we speak to Redis: claim and settle, renew, reconcile, adopt, promote. Grammar of keys
lives here alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Any

from gokiq.core import (
    DEAD,
    DISCARDED,
    INTERNAL,
    OK,
    REFUSED,
    RETRY,
    SHUTDOWN,
    SKIPPED,
    Arg,
    Job,
    Outcome,
)
from gokiq.errors import ReplyError
from gokiq.limits.guards import Left, Section
from gokiq.log import get_logger
from gokiq.store.crash_record import WINDOW_S, Record
from gokiq.store.link import RedisLink
from gokiq.store.push import Fate, Push

log = get_logger("broker")

#: Hash identity -> JSON of every owner that may hold claims.
OWNERS = "gokiq:owners"
#: Hash identity -> `epoch time` of every owner that may claim (lua/renew.lua).
LEASES = "gokiq:leases"
#: Hash job -> crashes it was there at (lua/crash.lua).
CRASHES = "gokiq:crashes"
#: How long an owner that does not renew its lease counts as alive, seconds.
LEASE_S = 15.0
#: Day counters live five years, as Sidekiq's do (sidekiq lib/sidekiq/launcher.rb, STATS_TTL).
DAY_TTL_S = 5 * 365 * 24 * 60 * 60
#: A capsule claims so many bytes in one call at most, one job at least: Redis serves nobody else
#: meanwhile, and each byte is then in several buffers at once.
CLAIM_BYTES = 4_194_304
#: Claims that we do not know are fetched in pieces of about so many bytes.
FETCH_BYTES = 1_048_576
#: Most members moved by one promotion call; bounds the time Redis is blocked.
PROMOTE_CHUNK = 100

# ops of settle_claim.lua
_RELEASE, _TO_RETRY, _TO_DEAD, _BACK = range(4)
_OP_OF_STATUS = {
    OK: _RELEASE,
    RETRY: _TO_RETRY,
    DEAD: _TO_DEAD,
    DISCARDED: _RELEASE,
    SKIPPED: _RELEASE,
    SHUTDOWN: _BACK,
    REFUSED: _BACK,
    INTERNAL: _TO_DEAD,
}


def lease_key(identity: str) -> str:
    """Key that says to releases before 1.0 that this owner lives."""
    return f"gokiq:lease:{identity}"


def claims_key(identity: str, queue: str) -> str:
    """Hash claim number -> payload of the jobs that this owner took from this queue."""
    return f"gokiq:claims:{identity}:{queue}"


class Script:
    """A Lua file, called by digest and loaded again when the server lost it (restart, failover,
    SCRIPT FLUSH).
    """

    def __init__(self, *names: str) -> None:
        """The last file calls what those before it define."""
        folder = files("gokiq.store").joinpath("lua")
        self.source = b"\n".join(folder.joinpath(f"{name}.lua").read_bytes() for name in names)
        self.digest = sha1(self.source, usedforsecurity=False).hexdigest()

    async def __call__(self, link: RedisLink, keys: Sequence[Arg], argv: Sequence[Arg]) -> Any:
        """Run it. Raises ConnectionLost, ReplyError."""
        try:
            return await link.call("EVALSHA", self.digest, len(keys), *keys, *argv)
        except ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        await link.call("SCRIPT", "LOAD", self.source)
        return await link.call("EVALSHA", self.digest, len(keys), *keys, *argv)

    async def then(
        self,
        link: RedisLink,
        keys: Sequence[Arg],
        argv: Sequence[Arg],
        commands: Sequence[Sequence[Arg]],
    ) -> list[Any]:
        """Run it and these commands behind it, in one round trip; their replies."""
        both = [("EVALSHA", self.digest, len(keys), *keys, *argv), *commands]
        try:
            return await link.pipeline(both)
        except ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        await link.call("SCRIPT", "LOAD", self.source)
        return await link.pipeline(both)


@dataclass(frozen=True, slots=True)
class Pick:
    """Positions in what was chosen."""

    taken: list[int]
    gone: list[int]


def _unpick(reply: list[Any], at: int, chosen: Sequence[tuple[int, bytes]]) -> Pick:
    """Read the ordinals of a step, and put the payloads that they stand for in their place."""
    ordinals = reply[at]
    pick = Pick([o - 1 for o in ordinals if o > 0], [-o - 1 for o in ordinals if o < 0])
    reply[at] = [chosen[position][1] for position in pick.taken]
    return pick


@dataclass(slots=True)
class Settlement:
    """Outcomes that wait for Redis: by route, jobs that were processed and ended well; and those
    that need more.
    """

    well: dict[int, list[Job]] = field(default_factory=dict)
    special: list[tuple[int, Outcome]] = field(default_factory=list)
    size: int = 0

    def add(self, route: int, outcome: Outcome) -> None:
        """Queue one outcome."""
        self.size += 1
        self.special.append((route, outcome))

    def add_well(self, route: int, jobs: list[Job]) -> None:
        """Queue jobs that were processed and ended well."""
        self.size += len(jobs)
        self.well.setdefault(route, []).extend(jobs)

    def numbers(self) -> set[int]:
        """Claim numbers of all outcomes here."""
        return {job.number for jobs in self.well.values() for job in jobs} | {
            o.number for _, o in self.special
        }

    def keep(self, held: Set[int]) -> dict[int, int]:
        """Drop outcomes whose claim is not in `held`; returns how many each route lost."""
        before = self.by_route()
        self.well = {
            route: [job for job in jobs if job.number in held] for route, jobs in self.well.items()
        }
        self.special = [
            (route, outcome) for route, outcome in self.special if outcome.number in held
        ]
        after = self.by_route()
        self.size = sum(after.values())
        return {route: count - after.get(route, 0) for route, count in before.items()}

    def by_route(self) -> dict[int, int]:
        """How many outcomes each route has here."""
        counts = {route: len(jobs) for route, jobs in self.well.items()}
        for route, _ in self.special:
            counts[route] = counts.get(route, 0) + 1
        return counts


#: What one capsule asks for: how many jobs, and the steps of its queue order.
Wish = tuple[int, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Taken:
    """Answer of settle_claim: payloads per step as `(route, payloads)` in claim-number order, from
    `first_number` on.
    """

    lease_held: bool
    dropped: int
    refusal: str
    unwritten: frozenset[int]
    first_number: int
    claims: list[tuple[int, list[bytes]]]
    #: Wishes, by position, that took no more jobs because of their bytes.
    cut: frozenset[int]
    #: By step, how many jobs it found.
    counts: list[int]
    #: What the guards said, by guard.
    left: list[Left]
    #: By step, what became of the jobs that were chosen; None where the oldest were taken.
    picks: list[Pick | None]
    #: What was read behind the claim.
    read: list[list[bytes]]


@dataclass(frozen=True, slots=True)
class Move:
    """A member of `retry` or `schedule`, and where it goes (not KEEP)."""

    member: bytes
    push: Push

    def argv(self) -> tuple[Arg, ...]:
        """The four arguments of lua/promote.lua."""
        push = self.push
        where: Arg = push.queue if push.fate is Fate.ENQUEUE else push.score
        return self.member, push.fate.value, where, push.payload


class Broker:
    """Redis verbs of one owner. `hot` carries the dispatcher's calls alone, `lease` the renewals
    (`link` if it is not given), `link` everything else, so none waits for another.
    """

    def __init__(
        self,
        hot: RedisLink,
        link: RedisLink,
        *,
        lease: RedisLink | None = None,
        identity: str,
        queues: Sequence[str],
        dead_max_jobs: int,
        dead_timeout_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hot = hot
        self.link = link
        self._lease = lease or link
        self.identity = identity
        #: Goes with each claim: one of an older epoch than our lease claims nothing.
        self._epoch = 1
        self._about: Mapping[str, Any] = {}
        #: What the register says of us beside what `renew` is given.
        self.about: dict[str, Any] = {}
        self._queues = list(
            queues
        )  # one per route, in route order; two routes may name the same queue
        self._dead_max = dead_max_jobs
        self._dead_timeout_s = dead_timeout_s
        self._clock = clock
        self._next_number = 1
        self._settle_claim = Script("pick", "guards", "settle_claim")
        self._renew, self._crash = Script("renew"), Script("crash")
        self._due, self._promote = Script("due"), Script("promote")

    async def settle_claim(
        self,
        settlement: Settlement,
        wishes: Sequence[Wish],
        section: Section | None = None,
        reads: Sequence[tuple[int, int, int]] = (),
    ) -> Taken:
        """Settle outcomes and claim jobs in one round trip (lua/settle_claim.lua), as the guards
        of `section` admit; then read parts of queues, each `(route, start, stop)` as LRANGE has it.

        Raises ConnectionLost: it may or may not have happened; settle the same outcomes again (they
        are applied once) and reconcile. Raises ReplyError when Redis refused the script as a whole.
        """
        first_number = self._next_number
        keys, argv, steps = self._encode(settlement, wishes, first_number, section)
        wanted = sum(want for want, _ in wishes)
        # Even if the reply is lost, its numbers are spent: they must never be given to other jobs.
        self._next_number += wanted
        read: list[list[bytes]] = []
        if reads:
            ranges = [
                ("LRANGE", f"queue:{self._queues[route]}", start, stop)
                for route, start, stop in reads
            ]
            reply, *read = await self._settle_claim.then(self._hot, keys, argv, ranges)
        else:
            reply = await self._settle_claim(self._hot, keys, argv)
        await self._hot.check_refusal(_str(reply[2]))
        left: list[Left] = []
        picks: list[Pick | None] = []
        if section is not None:
            left = section.left(reply.pop())
            picks = [
                None if chosen is None else _unpick(reply, 5 + at, chosen)
                for at, (_, chosen) in enumerate(section.steps)
            ]
        return Taken(
            lease_held=reply[0] == 1,
            dropped=reply[1],
            refusal=_str(reply[2]),
            unwritten=frozenset(reply[3]),
            first_number=first_number,
            claims=[(route, jobs) for route, jobs in zip(steps, reply[5:], strict=True) if jobs],
            cut=frozenset(ordinal - 1 for ordinal in reply[4]),
            counts=[len(jobs) for jobs in reply[5:]] if section is not None else [],
            left=left,
            picks=picks,
            read=read,
        )

    def _encode(
        self,
        settlement: Settlement,
        wishes: Sequence[Wish],
        first_number: int,
        section: Section | None,
    ) -> tuple[list[Arg], list[Arg], list[int]]:
        index: dict[int, int] = {}  # route -> position among the KEYS pairs, from 1

        def position(route: int) -> int:
            return index.setdefault(route, len(index) + 1)

        special: list[Arg] = [len(settlement.special)]
        # Jobs that go back are pushed newest first, so that the oldest is at the very tail again.
        for route, outcome in sorted(settlement.special, key=lambda one: -one[1].number):
            special += self._special(position(route), outcome)
        claim: list[Arg] = [0] if section is None else [1, *section.argv(self.identity)]
        claim.append(len(wishes))
        steps: list[int] = []
        for want, plan in wishes:
            claim += (want, len(plan))
            for route, most in plan:
                claim += (position(route), most)
                steps.append(route)
        for route in settlement.well:
            position(route)

        day = time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
        keys: list[Arg] = [
            LEASES,
            "retry",
            "dead",
            "stat:processed",
            "stat:failed",
        ]
        keys += (f"stat:processed:{day}", f"stat:failed:{day}")
        argv: list[Arg] = [
            len(index),
            first_number,
            self._clock() - self._dead_timeout_s,
            self._dead_max,
            DAY_TTL_S,
            CLAIM_BYTES,
            self.identity,
            self._epoch,
        ]
        for route in index:
            queue = self._queues[route]
            keys += (claims_key(self.identity, queue), f"queue:{queue}")
            jobs = settlement.well.get(route, ())
            argv.append(len(jobs))
            argv += jobs
        if section is not None:
            keys += section.keys()
        return keys, argv + special + claim, steps

    def _special(self, position: int, outcome: Outcome) -> tuple[Arg, ...]:
        op = _OP_OF_STATUS[outcome.status]
        # Redis takes no NaN; a job must not be refused for ever because of one.
        is_time = outcome.score > 0 and math.isfinite(outcome.score)
        score = outcome.score if is_time else self._clock()
        counts = outcome.counts
        return op, position, outcome.number, counts & 1, counts >> 1 & 1, score, outcome.payload

    async def renew(self, about: Mapping[str, Any]) -> bool:
        """Renew the lease and the register entry; False when the lease was not there: the first
        time, or when a peer took us for dead.
        """
        self._about = about
        return await self._write_lease(self._lease)

    async def raise_epoch(self) -> bool:
        """Renew the lease such that calls that we have given up claim nothing when they come to
        Redis later; returns what `renew` does. Not while a claim is under way.
        """
        self._epoch += 1
        return await self._write_lease(self._hot)

    async def _write_lease(self, link: RedisLink) -> bool:
        document = json.dumps({**self._about, **self.about, "queues": sorted(set(self._queues))})
        keys = (lease_key(self.identity), LEASES, OWNERS)
        argv = (int(LEASE_S * 1000), self.identity, document, self._epoch)
        return bool(await self._renew(link, keys, argv) == 1)

    def reloaded(self, queues: Sequence[str], *, dead_max_jobs: int, dead_timeout_s: int) -> None:
        """New settings; `queues` begins with those known before. Renew before the first claim from
        a new one, so that peers would find it.
        """
        self._queues = list(queues)
        self._dead_max = dead_max_jobs
        self._dead_timeout_s = dead_timeout_s

    async def resign(self) -> None:
        """Leave the register, unless claims are still there for a peer to adopt."""
        left = await self.link.pipeline(
            [("HLEN", claims_key(self.identity, q)) for q in sorted(set(self._queues))]
        )
        end: list[tuple[Arg, ...]] = [
            ("DEL", lease_key(self.identity)),
            ("HDEL", LEASES, self.identity),
        ]
        if not any(left):
            end.append(("HDEL", OWNERS, self.identity))
        await self.link.pipeline(end)

    async def held_numbers(self) -> dict[int, int]:
        """Number -> route of every claim that Redis holds for us; of the routes of one queue the
        first. Not while a claim is under way.
        """
        routes = {queue: route for route, queue in reversed(list(enumerate(self._queues)))}
        answers = await self._hot.pipeline(
            [("HKEYS", claims_key(self.identity, q)) for q in routes]
        )
        return {
            int(number): route
            for route, numbers in zip(routes.values(), answers, strict=True)
            for number in numbers
        }

    async def claims(
        self, numbers: Mapping[int, int]
    ) -> AsyncIterator[list[tuple[int, int, bytes]]]:
        """These claims (number -> route) as number, route and payload, in pieces of about
        FETCH_BYTES, in the order of their numbers; without those that are gone meanwhile.
        """
        wanted = [
            (number, route, claims_key(self.identity, self._queues[route]))
            for number, route in sorted(numbers.items())
        ]
        sizes = await self._hot.pipeline([("HSTRLEN", key, number) for number, _, key in wanted])
        piece: list[tuple[int, int, str]] = []
        piece_bytes = 0
        for one, size in zip(wanted, sizes, strict=True):
            if piece and piece_bytes + size > FETCH_BYTES:
                yield await self._payloads(piece)
                piece, piece_bytes = [], 0
            piece.append(one)
            piece_bytes += size
        if piece:
            yield await self._payloads(piece)

    async def _payloads(
        self, wanted: Sequence[tuple[int, int, str]]
    ) -> list[tuple[int, int, bytes]]:
        payloads = await self._hot.pipeline([("HGET", key, number) for number, _, key in wanted])
        return [
            (number, route, payload)
            for (number, route, _), payload in zip(wanted, payloads, strict=True)
            if payload is not None
        ]

    async def waiting(self, queues: Sequence[str]) -> list[int]:
        """Jobs in each of these queues."""
        return await self.link.pipeline([("LLEN", f"queue:{queue}") for queue in queues])

    async def note_crash(self, keys: Sequence[str], *, alone: bool) -> list[Record]:
        """Remember that these jobs (crash_record.key_of) were in a worker that died; returns their
        records.
        """
        raw = await self._crash(self.link, (CRASHES,), (WINDOW_S, int(alone), *keys))
        return [record for one in raw if (record := Record.parse(one)) is not None]

    async def crashes(self) -> dict[bytes, bytes]:
        """All records of crashes, as Redis holds them."""
        return dict(await self.link.call("HGETALL", CRASHES))

    async def rule_on_crashes(self, rulings: Mapping[str, Record | None]) -> None:
        """Give these jobs these records; None strikes one."""
        gone = [key for key, record in rulings.items() if record is None]
        if gone:
            await self.forget_crashes(gone)
        fields = [
            part
            for key, record in rulings.items()
            if record is not None
            for part in (key, record.written())
        ]
        if fields:
            await self.link.call("HSET", CRASHES, *fields)

    async def forget_crashes(self, keys: Sequence[str]) -> None:
        """Strike jobs from the record."""
        await self.link.call("HDEL", CRASHES, *keys)

    async def due(self, key: str, lease_s: int = 0) -> tuple[float, list[bytes]]:
        """Redis's time in epoch seconds, and up to PROMOTE_CHUNK due members of `retry` or
        `schedule`, which with a lease are not due again for so many seconds.
        """
        now, members = await self._due(self.link, (key,), (PROMOTE_CHUNK, lease_s))
        return float(now), members

    async def promote(self, key: str, moves: Sequence[Move]) -> int:
        """Move members of `retry` or `schedule` to where they go; returns how many were still
        there.
        """
        argv: list[Arg] = [part for move in moves for part in move.argv()]
        keys = (key, "queues", "dead", "schedule")
        moved, problem = await self._promote(self.link, keys, argv)
        if problem:
            log.error("Due jobs of %s stay there for now: %s", key, _str(problem))
        return int(moved)


def _str(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
