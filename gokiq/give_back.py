"""`gokiq-fast give-back`: the claims of dead owners go back to their queues, without starting a
server. For the way back to `sidekiq` after a crash.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping

from gokiq.broker import LEASE_S, Broker
from gokiq.errors import ConnectionLost, GokiqError, ReplyError
from gokiq.identity import Fate, fate, is_proved_dead
from gokiq.reaper import RENEW_S, SETTLE_IN_S
from gokiq.redis_info import uptime_s
from gokiq.redis_link import RedisLink
from gokiq.redis_url import address_from_url, find_url, origin

#: How often we look whether a lease has run out, seconds.
LOOK_S = 0.5

EPILOG = """\
A gokiq-fast that was killed leaves the jobs that it had claimed to the next one. Where none is to
start again, this gives them back to their queues. One that runs is left alone. A process killed on
another host is believed dead when its lease has run out, within 15 seconds.

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
    broker = Broker(link, link, identity="", queues=[], dead_max_jobs=0, dead_timeout_s=0)
    began = time.monotonic()
    # A Redis that has just come up, or back, holds no lease yet of those that live.
    believe_from = began + max(SETTLE_IN_S, LEASE_S + RENEW_S - await uptime_s(link))
    deadline = max(began + LEASE_S, believe_from) + LOOK_S
    given = 0
    while True:
        owners = await broker.owners()
        alive = []
        leases = await broker.leases(list(owners))
        for (identity, about), has_lease in zip(owners.items(), leases, strict=True):
            proved = is_proved_dead(about)
            if not proved and (has_lease or time.monotonic() < believe_from):
                alive.append(identity)
                continue
            queues = await broker.queues_of(identity, about)
            moved = len(await broker.adopt(identity, queues, proved=proved))
            _say(f"{identity} is dead: {moved} jobs went back to their queues")
            given += moved
        if all(fate(owners[one]) is Fate.LIVES for one in alive) or time.monotonic() >= deadline:
            break
        await asyncio.sleep(LOOK_S)
    for identity in alive:
        _say(f"{identity} is alive and keeps its jobs: stop it if you want them back")
    _say(f"{given} jobs given back, {len(alive)} gokiq processes alive")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
