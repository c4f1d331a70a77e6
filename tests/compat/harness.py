"""What the compatibility tests share: a Redis, gokiq-fast or the real Sidekiq on one app, and the
unmodified gem in another process that does the asking.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from devtools.child import Child
from devtools.failure import DevError
from devtools.gokiq import GokiqFast, Server, Sidekiq
from devtools.journal import Run, find_runs, read_journal
from devtools.programs import ROOT, find_program
from devtools.redis_server import RedisServer

HERE = Path(__file__).parent
APPS = HERE / "apps"
#: How long anything may take on a machine that is busy with other things, seconds.
PATIENCE_S = 45.0
IDENTITY = re.compile(rb".+:\d+:[0-9a-f]{12}")

T = TypeVar("T", bound=Callable[..., object])


def assertion(number: int, title: str) -> Callable[[T], T]:
    """Mark a test as the proof of that assertion of the compatibility checklist.

    A test may prove several, an assertion may need several tests. A test that cannot apply to a
    version calls `not_applicable`.
    """
    mark: Callable[[T], T] = pytest.mark.assertion(number, title)
    return mark


def not_applicable(why: str) -> None:
    """End the test: what it checks does not exist here, for a reason that a user would accept."""
    pytest.skip(f"n/a: {why}")


@dataclass(frozen=True, slots=True)
class Version:
    """A Sidekiq to be compatible with, and the Ruby that has it."""

    name: str
    program: str

    @property
    def ruby(self) -> Path:
        """Raises DevError when the set-up could not bring it."""
        return find_program(self.program)

    @property
    def is_8(self) -> bool:
        return self.name.startswith("8")


V8 = Version("8.1", "ruby")
V7 = Version("7.3", "ruby-sidekiq7")


class Asker:
    """A Ruby process with Sidekiq's API that evaluates what it is sent; gokiq does not know it."""

    def __init__(self, version: Version, redis: RedisServer, log: Path) -> None:
        self._log = log
        env = {"REDIS_URL": redis.url}
        argv = [version.ruby, HERE / "asker.rb"]
        self._child = Child(argv, log=log, env=env, cwd=ROOT, takes_input=True, name="asker.rb")
        self._child.start()

    def __call__(self, code: str) -> Any:
        """What the Ruby `code` (any number of lines) returns, by way of JSON. Raises DevError."""
        token = secrets.token_hex(8)
        self._child.write_line(json.dumps({"token": token, "code": code}))
        self._child.wait_until(
            lambda: self._answer(token) is not None, timeout_s=PATIENCE_S, what="it had answered"
        )
        answer = self._answer(token)
        assert answer is not None
        if "error" in answer:
            raise DevError(f"the Ruby that was asked failed: {answer['error']}", log=self._log)
        return answer["value"]

    def close(self) -> None:
        self._child.stop()

    def _answer(self, token: str) -> Any | None:
        for line in self._log.read_text(errors="replace").split("\n"):
            if line.startswith(token) and line.endswith("}"):
                return json.loads(line.removeprefix(token))
        return None


class Stand:
    """One Redis, one folder, one version of Sidekiq."""

    def __init__(self, version: Version, redis: RedisServer, folder: Path) -> None:
        self.version = version
        self.redis = redis
        self.client = redis.client
        self.folder = folder
        self.journal = folder / "journal"
        self._asker: Asker | None = None

    def gokiq(
        self,
        *args: str,
        app: str | None = "app.rb",
        name: str = "gokiq",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> GokiqFast:
        """A gokiq-fast on an app of tests/compat/apps (None: on the Rails app in `cwd`), with one
        worker unless `args` say more; not yet started (it is a context manager). Its log is
        `NAME.log` in the folder.
        """
        workers = () if "--workers" in args else ("--workers", "1")
        return GokiqFast(
            *(("-r", str(APPS / app)) if app else ()),
            *workers,
            *args,
            redis=self.redis,
            log=self.folder / f"{name}.log",
            env=self._env(env),
            cwd=cwd,
        )

    def sidekiq(
        self,
        *args: str,
        app: str = "app.rb",
        name: str = "sidekiq",
        env: Mapping[str, str] | None = None,
    ) -> Sidekiq:
        """The real thing, on the same app."""
        return Sidekiq(
            *("-r", str(APPS / app)),
            *args,
            redis=self.redis,
            log=self.folder / f"{name}.log",
            env=self._env(env),
            ruby=self.version.ruby,
        )

    def _env(self, env: Mapping[str, str] | None) -> dict[str, str]:
        own = {"GOKIQ_RUBY": str(self.version.ruby), "TEST_JOURNAL": str(self.journal)}
        return {**own, **(env or {})}

    def ask(self, code: str) -> Any:
        """Evaluate Ruby with `sidekiq/api` loaded in another process; its value by way of JSON."""
        if self._asker is None:
            log = self.folder / f"asker-{secrets.token_hex(2)}.log"
            self._asker = Asker(self.version, self.redis, log)
        return self._asker(code)

    def close(self) -> None:
        if self._asker is not None:
            self._asker.close()

    # what is pushed

    def push(self, *jobs: bytes, queue: str = "default") -> None:
        """LPUSH raw payloads, as the gem does."""
        self.client.sadd("queues", queue)
        self.client.lpush(f"queue:{queue}", *jobs)

    def payload(self, job_class: str, *args: object, **fields: object) -> bytes:
        """A job as this version's client writes it; a field given as None is left out (use the
        bytes `null` by hand for a null). Each has a jid of its own.
        """
        return payload(self.version, job_class, *args, **fields)

    # what is there

    def identity(self) -> str:
        """The one member of `processes`."""
        [member] = self.client.smembers("processes")
        assert isinstance(member, bytes)
        return member.decode()

    def int(self, key: str) -> int:
        return int(self.client.get(key) or 0)

    def runs(self) -> list[Run]:
        """What the jobs themselves say (class JournalJob and others that record themselves)."""
        return find_runs(read_journal(self.journal)) if self.journal.exists() else []

    def said(self) -> list[list[Any]]:
        """What the app has noted with `note(…)`, in order: each a list of JSON values."""
        notes = self.journal / "notes"
        if not notes.exists():
            return []
        lines = notes.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    def members(self, key: str) -> list[tuple[dict[str, Any], float]]:
        """The jobs of a sorted set, decoded, with their scores."""
        found: list[Any] = self.client.zrange(key, 0, -1, withscores=True)
        return [(json.loads(member), score) for member, score in found]

    def wait(
        self, server: Server, condition: Callable[[], object], what: str, timeout_s: float = 0
    ) -> None:
        """Wait for `condition` while the server runs."""
        server.wait_until(lambda: bool(condition()), timeout_s=timeout_s or PATIENCE_S, what=what)

    def wait_job(self, server: Server, key: str) -> tuple[dict[str, Any], float]:
        """The one job of a sorted set and its score, once it is there."""
        self.wait(server, lambda: self.client.zcard(key), f"a job had come to {key}")
        [found] = self.members(key)
        return found

    def make_due(self, key: str) -> None:
        """Every member of a sorted set is due since a second."""
        for member in self.client.zrange(key, 0, -1):
            self.client.zadd(key, {member: 1.0})


def payload(version: Version, job_class: str, *args: object, **fields: object) -> bytes:
    """See Stand.payload."""
    now: object = 1_795_489_135_438 if version.is_8 else 1_795_489_135.438
    job: dict[str, object] = {
        "retry": True,
        "queue": "default",
        "args": list(args),
        "class": job_class,
        "jid": secrets.token_hex(12),
        "created_at": now,
        "enqueued_at": now,
    }
    job = {key: value for key, value in (job | fields).items() if value is not None}
    return json.dumps(job, separators=(",", ":"), ensure_ascii=False).encode()
