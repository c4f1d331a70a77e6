"""`gokiq-fast give-back`: the claims of dead owners go back to their queues, without starting a
server. For the way back to `sidekiq` after a crash.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping

from gokiq.claiming.adoption import Watch
from gokiq.errors import ConnectionLost, GokiqError, ReplyError
from gokiq.host.identity import Fate, fate, is_proved_dead
from gokiq.store.broker import LEASE_S
from gokiq.store.link import RedisLink
from gokiq.store.owners import NO_SIGN, Dead, Owners
from gokiq.store.url import address_from_url, find_url, origin

#: How often we look whether a lease has run out, seconds.
LOOK_S = 0.5

EPILOG = """\
A gokiq-fast that was killed leaves the jobs that it had claimed to the next one. Where none is to
start again, this gives them back to their queues. One that runs is left alone. A process killed on
another host is believed dead when it has given no sign of life for 15 seconds.

environment: REDIS_URL REDIS_PROVIDER
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.description = "Give the claims of dead gokiq processes back to their queues, and exit."
    parser.epilog = EPILOG
    parser.add_argument("--redis", metavar="URL", help="the Redis of the app's Sidekiq")


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Exit code 0: no claim is left but those of living owners. Raises GokiqError."""
    address = address_from_url(find_url(arguments.redis, environ))
    link = RedisLink(address, name="gokiq-give-back")

    async def main() -> int:
        try:
            return await _give_back(link)
        finally:
            await link.close()

    try:
        return asyncio.run(main())
    except ConnectionLost as error:
        raise GokiqError(f"{error}; {error.next_step(origin(arguments.redis, environ))}") from error
    except ReplyError as error:
        raise GokiqError(
            f"Redis at {address} refuses: {error}; look at what our user may do (ACL LOG)"
        ) from error


async def _give_back(link: RedisLink) -> int:
    owners, watch = Owners(link), Watch()
    met = await _all_claims(owners)
    given = 0
    watched_s = 0.0
    while True:
        signs = {**dict.fromkeys(met, NO_SIGN), **await owners.signs()}
        silent = watch.look(signs)
        entries = await owners.entries()
        alive = []
        for identity, sign in signs.items():
            about = entries.get(identity, {})
            dead = Dead(identity, sign, is_proved_dead(about))
            if not dead.proved and identity not in silent:
                alive.append(identity)
                continue
            queues = {*await owners.queues_of(identity, about), *met.get(identity, ())}
            moved, is_struck = await owners.adopt(dead, sorted(queues))
            if not moved and not is_struck:  # it has come back
                alive.append(identity)
                continue
            _say(f"{identity} is dead: {len(moved)} jobs went back to their queues")
            given += len(moved)
            met.pop(identity, None)
        if all(fate(entries.get(one, {})) is Fate.LIVES for one in alive):
            break
        if watched_s >= LEASE_S + LOOK_S:  # not counting what looking and adopting takes
            break
        await asyncio.sleep(LOOK_S)
        watched_s += LOOK_S
    for identity in alive:
        _say(f"{identity} is alive and keeps its jobs: stop it if you want them back")
    _say(f"{given} jobs given back, {len(alive)} gokiq processes alive")
    return 0


async def _all_claims(owners: Owners) -> dict[str, set[str]]:
    """Identity -> queues of all claims in Redis, whoever registers or renews."""
    met: dict[str, set[str]] = {}
    cursor = 0
    while True:
        cursor, found = await owners.scan(cursor)
        for identity, queue in found:
            met.setdefault(identity, set()).add(queue)
        if cursor == 0:
            return met


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
