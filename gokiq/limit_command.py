"""`gokiq-fast limit`, `pause` and `resume`: what operators set while processes run."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping

from gokiq.control import Control
from gokiq.errors import ConfigError, ConnectionLost, GokiqError, ReplyError
from gokiq.limits import NONE, Scope, Target, parse_count, parse_target
from gokiq.rates import parse_rate
from gokiq.redis_link import RedisLink
from gokiq.redis_url import address_from_url, find_url, origin

#: In place of a number: what the app's configuration says.
DEFAULT = "default"

LIMIT_EPILOG = """\
TARGET is a queue, a class (a name that begins with a capital), total, or queue:NAME, class:NAME,
capsule:NAME, dependency:NAME. It counts at once, in every gokiq-fast on this Redis, until it is set
otherwise.

  gokiq-fast limit                         what is set now
  gokiq-fast limit mailers 10              at most 10 at once, in all processes together
  gokiq-fast limit mailers 10 --per-process
  gokiq-fast limit ImportJob 100/m         start at most 100 a minute
  gokiq-fast limit mailers none            no limit, whatever the configuration says
  gokiq-fast limit mailers default         as the configuration says

environment: REDIS_URL REDIS_PROVIDER
"""

_SAID = {
    Scope.PROCESS: "at most {} at once in each process",
    Scope.CLUSTER: "at most {} at once in all processes together",
    Scope.RATE: "{} in all processes together",
}


def speak(
    redis: str | None, environ: Mapping[str, str], verb: Callable[[RedisLink], Awaitable[int]]
) -> int:
    """Run a verb on a link of its own. Raises GokiqError."""

    address = address_from_url(find_url(redis, environ))

    async def main() -> int:
        link = RedisLink(address, name="gokiq-operator")
        try:
            return await verb(link)
        finally:
            await link.close()

    try:
        return asyncio.run(main())
    except ConnectionLost as error:
        raise GokiqError(f"{error}; {error.next_step(origin(redis, environ))}") from error
    except ReplyError as error:
        raise GokiqError(
            f"Redis at {address} refuses: {error}; look at what our user may do (ACL LOG)"
        ) from error


def say(line: str) -> None:
    """One line for the operator."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class LimitCommand:
    """Sets, lifts and lists limits."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The command's own flags."""
        parser.description = "Limit how many jobs of a queue or class run, while processes run."
        parser.epilog = LIMIT_EPILOG
        parser.add_argument("target", metavar="TARGET", nargs="?")
        parser.add_argument("value", metavar="N|N/UNIT|none|default", nargs="?")
        parser.add_argument(
            "--per-process", action="store_true", help="N jobs in each process, not in all together"
        )
        parser.add_argument("--redis", metavar="URL", help="the Redis of the app's Sidekiq")

    def run(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
        """Exit code 0. Raises GokiqError."""
        if arguments.target is None:
            return speak(arguments.redis, environ, self._list)
        if arguments.value is None:
            raise ConfigError(f"limit {arguments.target}: to what? Give N, N/s, none or default")
        target = parse_target("limit", arguments.target)
        changes = _changes(target, arguments.value, is_per_process=arguments.per_process)

        async def set_(link: RedisLink) -> int:
            control = Control(link)
            for scope, value in changes.items():
                await control.limit(scope, target, value)
            _tell(target, arguments.value, changes)
            return 0

        return speak(arguments.redis, environ, set_)

    async def _list(self, link: RedisLink) -> int:
        control = Control(link)
        fields = await control.fields()
        paused = sorted((await control.orders()).rules.paused)
        for field, value in fields.items():
            scope, _, target = field.partition(":")
            if value == NONE:
                say(f"{target}: no limit ({scope})")
            elif scope in tuple(Scope):
                say(f"{target}: {_SAID[Scope(scope)].format(value)}")
        for queue in paused:
            say(f"queue:{queue}: paused")
        if not fields and not paused:
            say("nothing is set; the app's configuration counts")
        return 0


def _changes(target: Target, value: str, *, is_per_process: bool) -> dict[Scope, str | None]:
    """What to write. Raises ConfigError."""
    if value in (NONE, DEFAULT):
        scopes = [Scope.PROCESS] if is_per_process else list(Scope)
        return dict.fromkeys(scopes, NONE if value == NONE else None)
    if "/" in value:
        return {Scope.RATE: str(parse_rate(f"limit {target}", value))}
    count = parse_count(f"limit {target}", value)
    return {Scope.PROCESS if is_per_process else Scope.CLUSTER: str(count)}


def _tell(target: Target, value: str, changes: Mapping[Scope, str | None]) -> None:
    if value == DEFAULT:
        say(f"{target}: as the app's configuration says")
    elif value == NONE:
        say(f"{target}: no limit")
    else:
        for scope, text in changes.items():
            say(f"{target}: {_SAID[scope].format(text)}")


class PauseCommand:
    """Pauses queues, or resumes them: Sidekiq Pro's own set, which its Web UI shows."""

    def __init__(self, *, is_pause: bool) -> None:
        self._is_pause = is_pause

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The command's own flags."""
        if self._is_pause:
            parser.description = "Claim no more jobs of these queues; running ones go on."
        else:
            parser.description = "Claim jobs of these queues again."
        parser.epilog = "environment: REDIS_URL REDIS_PROVIDER"
        parser.add_argument("queues", metavar="QUEUE", nargs="+")
        parser.add_argument("--redis", metavar="URL", help="the Redis of the app's Sidekiq")

    def run(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
        """Exit code 0. Raises GokiqError."""

        async def change(link: RedisLink) -> int:
            control = Control(link)
            for queue in arguments.queues:
                if self._is_pause:
                    say(f"{queue}: paused" + ("" if await control.pause(queue) else " already"))
                else:
                    is_new = await control.resume(queue)
                    say(f"{queue}: resumed" if is_new else f"{queue}: was not paused")
            return 0

        return speak(arguments.redis, environ, change)
