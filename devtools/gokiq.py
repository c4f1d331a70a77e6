"""The server under test as a child process: `gokiq-fast`, or the Sidekiq that it replaces."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from devtools.child import Child
from devtools.procstat import Process, process_tree
from devtools.programs import ROOT, find_program
from devtools.redis_server import RedisServer
from devtools.ruby import gem_program, ruby_eval

#: Time that a server may take to load the application and fork, in seconds.
READY_TIMEOUT_S = 60.0

_READY = re.compile(r"Sidecar ready: (.*)")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server said of itself when it was ready; a part that it does not have is None."""

    workers: int
    slots: int
    lane: str
    ruby: str | None
    sidekiq: str | None
    falcon: str | None


class Server(Child):
    """A server process on `redis`; both take the options of Sidekiq's command line."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        redis: RedisServer,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        child_env = {"REDIS_URL": redis.url, **(env or {})}
        super().__init__(command, log=log, env=child_env, cwd=cwd or ROOT, name=name)
        self._redis = redis

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> ServerInfo:
        """Wait until it takes jobs, and return what it is. Raises DevError when it fails."""
        raise NotImplementedError

    def processes(self) -> list[Process]:
        """Itself, first, and all the processes that it started."""
        return process_tree(self.pid)


class GokiqFast(Server):
    """`gokiq-fast` of this checkout, run by this Python."""

    def __init__(
        self,
        *args: str,
        redis: RedisServer,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        ruby = {"GOKIQ_RUBY": str(find_program("ruby"))}
        command = [sys.executable, "-m", "gokiq", *args]
        # Its "Sidecar ready" is waited for, whatever the app logs.
        env = {**ruby, "GOKIQ_LOG_LEVEL": "info", **(env or {})}
        super().__init__("gokiq-fast", command, redis=redis, log=log, env=env, cwd=cwd)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> ServerInfo:
        """Wait for "Sidecar ready" in its log."""
        self.wait_until(
            lambda: self._ready_line() is not None,
            timeout_s=timeout_s,
            what='it logged "Sidecar ready"',
        )
        found = dict(
            part.split("=", 1) for part in (self._ready_line() or "").split() if "=" in part
        )
        version = {key: None if value == "none" else value for key, value in found.items()}
        return ServerInfo(
            workers=int(found.get("workers", 0)),
            slots=int(found.get("slots", 0)),
            lane=found.get("lane", "?"),
            ruby=version.get("ruby"),
            sidekiq=version.get("sidekiq"),
            falcon=version.get("falcon"),
        )

    def sidecar(self) -> list[Process]:
        """The Ruby processes: the sidecar's root and its workers."""
        return self.processes()[1:]

    def _ready_line(self) -> str | None:
        try:
            found = _READY.search(self.log.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return None
        return found.group(1) if found else None


class Sidekiq(Server):
    """The `sidekiq` program of the installed gem, to compare with."""

    def __init__(
        self,
        *args: str,
        redis: RedisServer,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ruby: Path | None = None,
    ) -> None:
        self._ruby = ruby or find_program("ruby")
        program = _program(self._ruby)
        command: list[str | Path] = [self._ruby, program, *args]
        super().__init__("sidekiq", command, redis=redis, log=log, env=env, cwd=cwd)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> ServerInfo:
        """Wait for its record in the set `processes`."""
        client = self._redis.client
        self.wait_until(
            lambda: bool(client.exists("processes")),
            timeout_s=timeout_s,
            what="it had registered in Redis",
        )
        ruby, sidekiq = _versions(self._ruby)
        return ServerInfo(
            workers=1, slots=0, lane="thread", ruby=ruby, sidekiq=sidekiq, falcon=None
        )


# Asked once: what is installed does not change while we run, and Ruby takes a while to say it.
@cache
def _program(ruby: Path) -> Path:
    return gem_program("sidekiq", ruby=ruby)


@cache
def _versions(ruby: Path) -> list[str]:
    """Of Ruby and Sidekiq."""
    code = 'require "sidekiq"; puts RUBY_VERSION, Sidekiq::VERSION'
    return ruby_eval(code, ruby=ruby).splitlines()
