"""The owners of claims, ourselves and our peers, as Redis has them: who there is, who has given a
sign of life, and adoption.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gokiq.store.broker import LEASE_S, LEASES, OWNERS, Script, claims_key, lease_key
from gokiq.store.crash_record import key_of
from gokiq.store.link import RedisLink

#: Most claims, and about the most bytes of payloads, moved by one adoption call; Redis serves
#: nobody else meanwhile.
ADOPT_CHUNK, ADOPT_BYTES = 500, 1_048_576
#: Keys that Redis looks at in one step through all of them.
SCAN_KEYS = 1000
#: Sign of an owner that has given none.
NO_SIGN = b""

_CLAIMS = re.compile(r"gokiq:claims:(.+?:\d+:[0-9a-f]{12}):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dead:
    """An owner that is taken for dead: its last sign, and whether its death is proved."""

    identity: str
    sign: bytes
    proved: bool


class Owners:
    """The register of owners, and their leases."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._adopt, self._strike = Script("adopt"), Script("strike")

    async def signs(self) -> dict[str, bytes]:
        """Last sign of life of each owner that is registered or has a lease. Who renews gives
        another one.
        """
        leases, registered = await self._link.pipeline([("HGETALL", LEASES), ("HKEYS", OWNERS)])
        signs = {_str(key): bytes(value) for key, value in leases.items()}
        rest = [one for key in registered if (one := _str(key)) not in signs]
        # Releases before 1.0 have nothing but this, whose end comes nearer with every look.
        lives = await self._link.pipeline([("PTTL", lease_key(one)) for one in rest])
        for one, ms in zip(rest, lives, strict=True):
            signs[one] = NO_SIGN if ms == -2 else b"%d ms" % ms
        return signs

    async def living(self) -> list[str]:
        """Who has renewed within LEASE_S by Redis's clock. Good for a list; to adopt from somebody
        takes more.
        """
        signs = await self.signs()
        seconds, micros = await self._link.call("TIME")
        now_us = int(seconds) * 1_000_000 + int(micros)
        return [one for one, sign in signs.items() if _is_fresh(sign, now_us)]

    async def entries(self) -> dict[str, dict[str, Any]]:
        """The register: what each owner says of itself."""
        answer = await self._link.call("HGETALL", OWNERS)
        return {_str(k): _document(v) for k, v in answer.items()}

    async def entries_of(self, identities: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The same of these; without those that are not registered."""
        if not identities:
            return {}
        answers = await self._link.call("HMGET", OWNERS, *identities)
        found = zip(identities, answers, strict=True)
        return {one: _document(raw) for one, raw in found if raw is not None}

    async def queues_of(self, identity: str, about: Mapping[str, Any]) -> list[str]:
        """The queues from which an owner may have claims: as its entry says or, where another
        version has written what we cannot read, as the keys of its claims do.
        """
        queues = about.get("queues")
        if isinstance(queues, list) and all(isinstance(queue, str) for queue in queues):
            return queues
        found: set[str] = set()
        cursor = 0
        while True:
            cursor, some = await self.scan(cursor, identity)
            found.update(queue for _, queue in some)
            if cursor == 0:
                return sorted(found)

    async def scan(self, cursor: int, identity: str = "") -> tuple[int, list[tuple[str, str]]]:
        """One step through all keys of Redis: where it goes on (0: it has seen all), and of which
        identities and queues it has found claims. Of one identity, if it is given.
        """
        prefix = claims_key(identity, "") if identity else "gokiq:claims:"
        pattern = "".join(f"[{c}]" if c in "*?[" else c for c in prefix.replace("\\", "\\\\"))
        step = ("SCAN", cursor, "MATCH", f"{pattern}*", "COUNT", SCAN_KEYS)
        following, keys = await self._link.call(*step)
        names = map(_str, keys)
        if identity:
            return int(following), [(identity, name.removeprefix(prefix)) for name in names]
        matches = (_CLAIMS.fullmatch(name) for name in names)
        return int(following), [(m[1], m[2]) for m in matches if m]

    async def with_claims(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of these pairs of identity and queue those that have claims; in one round trip."""
        pairs = list(pairs)
        answers = await self._link.pipeline([("EXISTS", claims_key(*pair)) for pair in pairs])
        return [pair for pair, there in zip(pairs, answers, strict=True) if there]

    async def adopt(
        self, dead: Dead, queues: Collection[str], full: Collection[str] | None = None
    ) -> tuple[list[str], bool]:
        """Give a dead owner's claims back to their queues and strike it from the register; returns
        the jobs' keys in the record of crashes, and whether it is struck. `full`: those of the
        queues that have claims, where that is known.

        Stops, and leaves the register alone, when the owner turns out to have renewed its lease
        (unless its death is proved), or claims again.
        """
        adopted: list[str] = []
        keys = (LEASES, lease_key(dead.identity))
        sign, proved = dead.sign if b" ms" not in dead.sign else NO_SIGN, int(dead.proved)
        for queue in queues if full is None else full:
            both = (*keys, claims_key(dead.identity, queue), f"queue:{queue}")
            left = 1
            while left:
                bounds = (ADOPT_CHUNK, ADOPT_BYTES)
                owner = (dead.identity, sign, proved)
                moved, left = await self._adopt(self._link, both, (*owner, *bounds))
                if moved is None:
                    return adopted, False
                sign = NO_SIGN  # that call has taken the lease
                adopted += map(key_of, moved)
        claims = [claims_key(dead.identity, queue) for queue in queues]
        argv = (dead.identity, sign, proved)
        return adopted, await self._strike(self._link, (*keys, OWNERS, *claims), argv) == 1


def _is_fresh(sign: bytes, now_us: int) -> bool:
    try:
        renewed_us = int(sign.split()[1])
    except (ValueError, IndexError):
        return sign.endswith(b" ms")
    return abs(now_us - renewed_us) < LEASE_S * 1e6


def _str(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
