"""One child process: its output in a file, stopped by its pid together with all it started."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Self

from devtools.failure import DevError
from devtools.procstat import Process, find_marked

#: How often a wait looks again, in seconds.
POLL_S = 0.02
#: How long killed processes may take to disappear, in seconds.
KILL_WAIT_S = 5.0
#: Marks a process and all that it starts, even when it dies before them; nested marks add up.
FAMILY_VARIABLE = "DEVTOOLS_FAMILY"
#: How much of a log's end is read when the cause of a failure is looked for.
TAIL_BYTES = 65_536

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TELLING = re.compile(r"\b(ERROR|FATAL|\w*Error\b|Errno::\w+)")


class Child:
    """A process in a session of its own (so that Ctrl-C reaches only us), output to `log`.

    Use it as a context manager: leaving the block stops the process and its descendants.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        takes_input: bool = False,
        name: str | None = None,
    ) -> None:
        self.name = name or Path(argv[0]).name
        self.argv = [str(part) for part in argv]
        self.log = log
        self._token = secrets.token_hex(8)
        family = f"{os.environ.get(FAMILY_VARIABLE, '')}:{self._token}"
        self._env = {**os.environ, **(env or {}), FAMILY_VARIABLE: family}
        self._cwd = cwd
        self._takes_input = takes_input
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started.pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, minus the signal's number when one ended it; None while it runs."""
        return self._started.poll()

    def start(self) -> Self:
        """Start it; output is appended to the log. Raises DevError when that is impossible."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with uninterrupted(), self.log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603 - starting programs is what this is for
                    self.argv,
                    stdin=subprocess.PIPE if self._takes_input else subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                )
                self._is_stopped = False
        except OSError as error:
            raise DevError(f"{self.argv[0]} cannot be started: {error.strerror}") from error
        except BaseException:
            self.stop(grace_s=0)
            raise
        return self

    def write_line(self, text: str) -> None:
        """Write one line to its input (`takes_input=True`). Raises DevError when it has ended."""
        pipe = self._started.stdin
        assert pipe is not None
        try:
            pipe.write(text.encode() + b"\n")
            pipe.flush()
        except BrokenPipeError as error:
            raise self.failure("has ended too early") from error

    def wait_until(self, condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Wait for `condition`. Raises DevError when the process ends before or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if not self.is_running:
                raise self.early_end(f"before {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"took longer than {timeout_s:g} s: {what}")
            time.sleep(POLL_S)

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return the exit code. Raises DevError when time runs out."""
        try:
            return self._started.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise self.failure(f"did not end within {timeout_s:g} s") from error

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself; nothing happens when it has ended."""
        self._started.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the process itself, not its descendants, and wait for its end."""
        self._started.kill()
        self._started.wait(KILL_WAIT_S)

    def stop(self, grace_s: float = 15.0) -> int | None:
        """TERM, after `grace_s` seconds KILL, then KILL what it left behind. Returns the exit code.

        Runs to its end even when Ctrl-C is pressed meanwhile. Does nothing a second time.
        """
        process = self._process
        if process is None or self._is_stopped:
            return self.exit_code if process else None
        with uninterrupted():
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(grace_s)
            if process.poll() is None:
                process.kill()
                process.wait(KILL_WAIT_S)
            _end_all(find_marked(FAMILY_VARIABLE, self._token))
            self._is_stopped = True
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
        return process.returncode

    def tail(self, lines: int = 20) -> list[str]:
        """The last lines of the log."""
        return _read_tail(self.log)[-lines:]

    def early_end(self, when: str) -> DevError:
        """A DevError that says how the process ended; `when` is the end of that sentence."""
        code = self.exit_code
        if code is not None and code < 0:
            # Nothing that it wrote explains it.
            signal_name = signal.Signals(-code).name
            return DevError(f"{self.name} was killed by {signal_name} {when}", log=self.log)
        return self.failure(f"ended with exit code {code} {when}")

    def failure(self, cause: str, *, advice: str = "") -> DevError:
        """A DevError: `cause`, said of this process, the last line of its log, the log's path."""
        said = _last_words(self.tail(200))
        return DevError(
            f"{self.name} {cause}" + (f": {said}" if said else ""),
            advice=advice,
            log=self.log,
        )

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} has not been started"
        return self._process


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block is left: no start or stop is half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


def _last_words(lines: Sequence[str]) -> str:
    # A program that fails often says more after the line that tells why.
    said = [text for line in lines if (text := _COLOUR.sub("", line).strip())]
    telling = [text for text in said if _TELLING.search(text)]
    return (telling or said or [""])[-1][:300]


def _end_all(family: Sequence[Process]) -> None:
    deadline = time.monotonic() + KILL_WAIT_S
    for process in family:
        if process.is_alive:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    while any(process.is_alive for process in family) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _read_tail(path: Path) -> list[str]:
    try:
        file: IO[bytes]
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
