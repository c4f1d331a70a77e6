"""Starts the sidecar root, watches it, starts it again with backoff, ends it in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gokiq.config import Config
from gokiq.core import backoff_s
from gokiq.errors import BootError
from gokiq.host.systemd import OWN_VARIABLES
from gokiq.log import get_logger
from gokiq.workers.vitals import Monitor

log = get_logger("supervisor")

#: A root that ran this long counts as healthy: the next restart is immediate again, seconds.
HEALTHY_S = 30.0
#: Longest pause between two restarts, seconds.
RESTART_CAP_S = 10.0
#: Stack of a fiber, bytes: what Ruby gives a thread. Only pages that are touched take memory.
FIBER_STACK_BYTES = "1048576"
#: Ruby classes whose log lines say of the workers' ends what we say too, in JSON and at length.
TOLD_BY_US = (
    "Async::Container::Forked",
    "Async::Container::Notify::Console",
    "Gokiq::Sidecar::Controller",
)


class Supervisor:
    """One sidecar root process and its restarts."""

    def __init__(
        self,
        config: Config,
        monitor: Monitor,
        *,
        socket_path: str,
        identity: str,
        next_path: Callable[[], str],
    ) -> None:
        self._config = config
        self._monitor = monitor
        self._socket_path = socket_path
        self._next_path = next_path
        self._identity = identity
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False
        self._first_exit: asyncio.Future[BootError] = asyncio.get_running_loop().create_future()
        self.restarts = 0
        #: Whether its process is being made.
        self.is_starting = False
        #: Set by the owner once a worker has said HELLO: from then on a root that ends is replaced.
        self.has_served = False

    @property
    def pid(self) -> int:
        """Process id of the root, 0 while there is none."""
        return (
            self._process.pid
            if self._process is not None and self._process.returncode is None
            else 0
        )

    @property
    def last_pid(self) -> int:
        """Process id of the root, also of one that has ended; 0 before the first."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start the root. Raises BootError when Ruby or the sidecar's files are missing."""
        argv = command(self._config)
        environment = self._environment()
        self.is_starting = True
        try:
            # Its own session: a terminal's ctrl-C is for the orchestrator, which then drains the
            # sidecar in order.
            self._process = await asyncio.create_subprocess_exec(
                *argv, env=environment, cwd=self._config.app_directory, start_new_session=True
            )
        except OSError as error:
            if not self._config.app_directory.is_dir():
                raise BootError(f"no such folder: {self._config.app_directory}") from error
            raise BootError(
                f"cannot run {argv[0]}: {error.strerror}; set GOKIQ_RUBY to a Ruby 3.3 or later"
            ) from error
        finally:
            self.is_starting = False

    async def first_failure(self) -> BootError:
        """Wait for the end of the first root before it served; returns why. Cancel it once HELLO
        has arrived.
        """
        return await asyncio.shield(self._first_exit)

    async def run(self) -> None:
        """Watch the root and start it again whenever it ends, whatever its status. Runs until
        cancelled.
        """
        attempt = 0
        while True:
            began = time.monotonic()
            assert self._process is not None
            status = await self._process.wait()
            if self._is_stopping:
                await asyncio.Event().wait()
            self._monitor.drain()
            failure = self._failure(self._process.pid, status)
            if not self.has_served:
                self._first_exit.set_result(failure)
                await asyncio.Event().wait()
            attempt = 0 if time.monotonic() - began > HEALTHY_S else attempt + 1
            attempt = await self._start_again(failure, attempt)

    async def _start_again(self, failure: BootError, attempt: int) -> int:
        """Until it starts: memory, or the files of a release, may be missing for a moment. Returns
        the number of attempts.
        """
        while True:
            pause = 0.0 if attempt == 0 else backoff_s(attempt, random.random(), cap=RESTART_CAP_S)
            log.error("Sidecar is gone (%s); starting it again in %.1f s", failure, pause)
            await asyncio.sleep(pause)
            if self._is_stopping:
                await asyncio.Event().wait()
            self.restarts += 1
            self._socket_path = self._next_path()
            try:
                await self.start()
            except BootError as error:
                failure, attempt = error, attempt + 1
            else:
                self._end_if_stopping()
                return attempt

    def terminate(self) -> None:
        """Tell the root to drain and end; it forks no more workers from now on."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._end_if_stopping()

    def _end_if_stopping(self) -> None:
        if self._is_stopping and self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def stop(self, deadline: float) -> None:
        """Wait for the root to end after `terminate`; KILL it and its workers at `deadline`
        (monotonic seconds).
        """
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await process.wait()
        # The root leads a process group of its own; whatever of it is left dies now.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            await process.wait()

    def _failure(self, pid: int, status: int) -> BootError:
        told = self._monitor.boot_failures.pop(pid, None)
        if told:
            where = f" ({told['at']})" if told.get("at") else ""
            hint = f"; {told['hint']}" if told.get("hint") else ""
            if told.get("error_class") == "ConfigError":
                return BootError(f"{told.get('message')}{hint}")
            return BootError(
                f"the app failed to boot: {told.get('error_class')}: "
                f"{told.get('message')}{where}{hint}"
            )
        if status < 0:
            return BootError(f"the sidecar was killed by {signal.Signals(-status).name}")
        return BootError(f"the sidecar exited with status {status}")

    def _environment(self) -> dict[str, str]:
        config = self._config
        environment = {k: v for k, v in os.environ.items() if k not in OWN_VARIABLES}
        environment |= {
            "GOKIQ_SOCKET": self._socket_path,
            "GOKIQ_MONITOR": self._monitor.path,
            # One for all roots: while two of them are there, there is still one leader.
            "GOKIQ_LEADER": str(Path(self._monitor.path).with_name("leader")),
            "GOKIQ_SIDEKIQ_ARGS": json.dumps(config.sidekiq_args),
            "GOKIQ_WORKERS": str(config.workers),
            "GOKIQ_LANE": config.lane,
            "GOKIQ_EVENTS": config.events,
            "GOKIQ_IDENTITY": self._identity,
            "GOKIQ_PARENT_PID": str(os.getpid()),
        }
        if config.job_timeout_s is not None:
            environment["GOKIQ_JOB_TIMEOUT"] = str(config.job_timeout_s)
        if config.timeout_s is not None:
            environment["GOKIQ_DRAIN_S"] = str(config.timeout_s)
        if config.slots is not None:
            environment["GOKIQ_SLOTS"] = str(config.slots)
        for name in ("RUBY_FIBER_VM_STACK_SIZE", "RUBY_FIBER_MACHINE_STACK_SIZE"):
            environment.setdefault(name, FIBER_STACK_BYTES)
        environment.setdefault("CONSOLE_LEVEL", "debug" if config.verbose else "warn")
        if not config.verbose:
            environment.setdefault("CONSOLE_OFF", ",".join(TOLD_BY_US))
        return environment


#: A sidecar that has not answered for so long is waited for in words, seconds.
TELL_S = 1.0


class Attached:
    """A sidecar that somebody else started (`--sidecar`): we connect and never start or end it."""

    pid = last_pid = 0
    restarts = 0
    has_served = is_starting = False

    def __init__(self, path: str) -> None:
        self._path = path

    async def start(self) -> None:
        """Nothing to start."""

    async def first_failure(self) -> BootError:
        """Never: its boot is not ours to judge."""
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def run(self) -> None:
        """Says what we wait for; a lost connection is seen by the fleet."""
        await asyncio.sleep(TELL_S)
        if not self.has_served:
            why = "nobody has answered yet" if _exists(self._path) else "there is no such socket"
            text = "Waiting for a sidecar on %s: %s; start one there, or correct --sidecar"
            log.warning(text, self._path, why)

    def terminate(self) -> None:
        """Not ours to end."""

    async def stop(self, deadline: float) -> None:
        """Not ours to end."""


def command(config: Config) -> Sequence[str]:
    """Command line of the root. Under Bundler when the app has a Gemfile. Raises BootError when a
    part is missing.
    """
    return ruby_command(config.ruby, config.app_directory, "gokiq-sidecar")


def ruby_command(ruby: str | None, app_directory: Path, program: str) -> Sequence[str]:
    """Command line of a program of the sidecar's bin folder, as `command`."""
    home = sidecar_home()
    ruby = ruby or shutil.which("ruby")
    if ruby is None or shutil.which(ruby) is None:
        raise BootError(
            f"no Ruby found ({ruby or 'no `ruby` in PATH'}): "
            "install Ruby 3.3 or later, or set GOKIQ_RUBY to its path"
        )
    bundled = ["-rgokiq/sidecar/root/bundle"] if _has_gemfile(app_directory) else []
    return [ruby, "-I", str(home / "lib"), *bundled, str(home / "bin" / program)]


def _exists(path: str) -> bool:
    return Path(path).exists()


def _has_gemfile(app_directory: Path) -> bool:
    named = os.environ.get("BUNDLE_GEMFILE")
    return bool(named and Path(named).is_file()) or (
        not named and (app_directory / "Gemfile").is_file()
    )


def sidecar_home() -> Path:
    """Folder of the sidecar gem: GOKIQ_SIDECAR_HOME, the copy in our wheel, or the checkout's.
    Raises BootError.
    """
    package = Path(__file__).resolve().parents[1]
    named = os.environ.get("GOKIQ_SIDECAR_HOME")
    for home in [Path(named)] if named else [package / "_sidecar", package.parent / "sidecar"]:
        if (home / "bin" / "gokiq-sidecar").is_file():
            return home
    raise BootError(f"the sidecar's Ruby files are missing in {named or package}; reinstall gokiq")
