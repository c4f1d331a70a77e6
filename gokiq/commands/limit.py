"""`gokiq-fast limit`, `pause` and `resume`: what operators set while processes run."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from gokiq.errors import ConfigError, ConnectionLost, GokiqError, ReplyError
from gokiq.limits.changes import SAID
from gokiq.limits.rate import parse_rate
from gokiq.limits.target import NONE, Kind, Scope, Target, parse_count, parse_target, queue
from gokiq.store.known import SidekiqProcess, look
from gokiq.store.link import RedisLink
from gokiq.store.operators import Control
from gokiq.store.url import address_from_url, find_url, origin

#: In place of a number: what the app's configuration says.
DEFAULT = "default"

LIMIT_EPILOG = """\
TARGET is a queue, a class (a name that begins with a capital), total, or queue:NAME, class:NAME,
capsule:NAME, dependency:NAME. It counts at once, in every gokiq-fast on this Redis, until it is set
otherwise.

  gokiq-fast limit                         what is set now; limit mailers: of one
  gokiq-fast limit mailers 10              at most 10 at once, in all processes together
  gokiq-fast limit mailers 10 --per-process
  gokiq-fast limit ImportJob 100/m         start at most 100 a minute
  gokiq-fast limit mailers none            no limit, whatever the configuration says
  gokiq-fast limit mailers default         as the configuration says

environment: REDIS_URL REDIS_PROVIDER
"""


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
        add_force(parser)
        parser.add_argument("--redis", metavar="URL", help="the Redis of the app's Sidekiq")

    def run(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
        """Exit code 0. Raises GokiqError."""
        if arguments.target is None:
            return speak(arguments.redis, environ, self._list)
        target = parse_target("limit", arguments.target)
        if arguments.value is None:
            return speak(arguments.redis, environ, lambda link: self._show(link, target))
        changes = _changes(target, arguments.value, is_per_process=arguments.per_process)

        async def set_(link: RedisLink) -> int:
            control = Control(link)
            known = await look(link, target)
            if not arguments.force:
                known.check("limit", target)
            for scope, value in changes.items():
                await control.limit(scope, target, value)
            _tell(target, arguments.value, changes)
            readers = known.readers(target.name) if target.kind is Kind.QUEUE else []
            if readers and arguments.value != DEFAULT:
                say(f"{target}: {named(readers)} too, and {heeds(readers)} no limit of gokiq")
            return 0

        return speak(arguments.redis, environ, set_)

    async def _show(self, link: RedisLink, target: Target) -> int:
        """What is set for one target, and what comes of it where that can be told."""
        known = await look(link, target)
        known.check("limit", target)
        fields = await Control(link).fields()
        lines = list(_lines({k: v for k, v in fields.items() if k.endswith(f":{target}")}))
        for line in lines or [f"{target}: nothing is set; the app's configuration counts"]:
            say(line)
        if target.kind is Kind.QUEUE:
            for identity, one in known.answers.said.items():
                if (state := one["queues"].get(target.name)) is not None:
                    limit = state["limit"]
                    now = "no limit" if limit is None else f"at most {limit} at once"
                    say(f"{target}: {now} in {identity} as things are")
        return 0

    async def _list(self, link: RedisLink) -> int:
        control = Control(link)
        fields = await control.fields()
        paused = sorted((await control.orders()).rules.paused)
        for line in _lines(fields):
            say(line)
        for name in paused:
            say(f"queue:{name}: paused")
        if not fields and not paused:
            say("nothing is set; the app's configuration counts")
        return 0


def _lines(fields: Mapping[str, str]) -> Iterator[str]:
    for key, value in fields.items():
        scope, _, target = key.partition(":")
        if value == NONE:
            yield f"{target}: no limit ({scope})"
        elif scope in tuple(Scope):
            yield f"{target}: {SAID[Scope(scope)].format(value)}"


def named(readers: Sequence[SidekiqProcess]) -> str:
    """Who else reads a queue, as the beginning of a sentence."""
    names = ", ".join(one.identity for one in readers)
    return f"Sidekiq reads it ({names})"


def heeds(readers: Sequence[SidekiqProcess]) -> str:
    """The verb for them."""
    return "heeds" if len(readers) == 1 else "heed"


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
            say(f"{target}: {SAID[scope].format(text)}")


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
        parser.add_argument("queues", metavar="QUEUE", nargs="*", help="none: list paused ones")
        add_force(parser)
        parser.add_argument("--redis", metavar="URL", help="the Redis of the app's Sidekiq")

    def run(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
        """Exit code 0. Raises GokiqError."""

        verb = "pause" if self._is_pause else "resume"
        if not all(arguments.queues):
            raise ConfigError(f"{verb}: a queue has a name; gokiq-fast status shows them")

        async def change(link: RedisLink) -> int:
            control = Control(link)
            known = await look(link)
            if not arguments.force:
                for name in arguments.queues:
                    known.check(verb, queue(name))
            for name in arguments.queues:
                if self._is_pause:
                    say(f"{name}: paused" + ("" if await control.pause(name) else " already"))
                    if readers := known.readers(name):
                        say(f"{name}: {named(readers)} too, and goes on unless it is Sidekiq Pro")
                else:
                    is_new = await control.resume(name)
                    say(f"{name}: resumed" if is_new else f"{name}: was not paused")
            return 0

        return speak(arguments.redis, environ, change if arguments.queues else self._list)

    async def _list(self, link: RedisLink) -> int:
        paused = sorted((await Control(link).orders()).rules.paused)
        for name in paused:
            say(f"{name}: paused")
        if not paused:
            say("no queue is paused")
        return 0


def add_force(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that change what somebody has named."""
    parser.add_argument(
        "--force", action="store_true", help="also for what nobody has heard of yet"
    )
