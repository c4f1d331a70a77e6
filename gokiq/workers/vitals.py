"""The datagram socket on which the sidecar's root and watchdogs report (docs/protocol.md 6)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gokiq.errors import BootError
from gokiq.log import get_logger

log = get_logger("monitor")

_MAX_DATAGRAM_BYTES = 8192
#: What is added to the path of a sidecar's socket; as in settings.rb.
_BESIDE = ".news"
#: The sidecar's sockets are in the same folder, have longer names, and may have 100.
_PATH_BYTES = 90
#: What a datagram that is none of ours may lead to.
_UNREADABLE = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
#: A worker whose last beat, two a second, is older than this stands still, seconds.
_SILENT_S = 3.0
#: What a beat says of a connection pool.
_DATABASE = ("size", "used", "waiting")
#: Endings and failures that nobody has asked about are kept up to this many.
_MOST_UNASKED = 100


@dataclass(slots=True)
class Vitals:
    """Last beat of one worker."""

    rss_kb: int = 0
    busy: int = 0
    lag_ms: float = 0.0
    stalled: dict[str, Any] | None = None
    #: Number and time (monotonic seconds) of the running job whose deadline is first.
    deadline: tuple[int, float] | None = None
    #: When this beat came, monotonic seconds.
    at: float = 0.0
    #: Of the scarcest connection pool that has fewer connections than the worker has slots: its
    #: `size`, how many are `used`, and how many jobs are `waiting` for one. Empty without one.
    database: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Monitor:
    """Collects datagrams; keeps the last beat of each worker by pid."""

    path: str
    vitals: dict[int, Vitals] = field(default_factory=dict)
    #: What kept a root, or the first workers of one, from coming up, by the root's pid.
    boot_failures: dict[int, dict[str, Any]] = field(default_factory=dict)
    _endings: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    on_stall: Callable[[int, dict[str, Any], float], None] = lambda pid, stalled, lag_ms: None
    #: A worker's process has ended; returns whether it is connected: then its owner forgets it.
    on_exit: Callable[[int], bool] = lambda pid: False
    _socket: socket.socket | None = None

    def listen_beside(self, sidecar: str) -> None:
        """Listen where a sidecar that somebody else started reports, before `open`. Where that
        cannot be, another gokiq has it for example, its reports are not heard.
        """
        path = sidecar + _BESIDE
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe,
        ):
            try:
                probe.connect(path)
                return
            except ConnectionRefusedError:
                os.unlink(path)  # of one that was killed
            except FileNotFoundError:
                pass
            self._bind(path)
            self.path = path

    def open(self) -> None:
        """Bind the socket, mode 0600, and listen on the running loop. Raises BootError."""
        if self._socket is None:
            self._open_own()
        assert self._socket is not None
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._drain)

    def _open_own(self) -> None:
        size = len(os.fsencode(self.path))
        if size > _PATH_BYTES:
            raise BootError(
                f"the path of the socket {self.path} has {size} bytes, at most {_PATH_BYTES} are "
                "allowed; set TMPDIR to a folder with a shorter path"
            )
        try:
            self._bind(self.path)
        except OSError as error:
            raise BootError(
                f"cannot make the socket {self.path}: {error.strerror or error}; "
                "set TMPDIR to a folder that can be written to"
            ) from error

    def _bind(self, path: str) -> None:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            bound.setblocking(False)
            bound.bind(path)
            os.chmod(path, 0o600)
        except OSError:
            bound.close()
            raise
        self._socket = bound

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def drain(self) -> None:
        """Read what is there now."""
        self._drain()

    def forget(self, pid: int) -> None:
        """A worker is gone."""
        self.vitals.pop(pid, None)

    def stands_still(self, pid: int) -> bool:
        """Whether a worker's reactor does not turn, or its whole process stands. False of one that
        has never beaten.
        """
        vitals = self.vitals.get(pid)
        if vitals is None:
            return False
        return bool(vitals.stalled) or time.monotonic() - vitals.at > _SILENT_S

    async def ending(self, pid: int, timeout_s: float) -> tuple[int | None, int | None]:
        """(signal, exit status) with which a worker's process ended, as the root has seen it; two
        None when it does not say so in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while pid not in self._endings:
                    self._news.clear()
                    await self._news.wait()
        return self._endings.pop(pid, (None, None))

    @property
    def rss_kb(self) -> int:
        """Resident memory of all workers that report, kB."""
        return sum(v.rss_kb for v in self.vitals.values())

    def _drain(self) -> None:
        if self._socket is None:
            return
        while True:
            try:
                data = self._socket.recv(_MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            self._handle(data)

    def _handle(self, data: bytes) -> None:
        try:
            self._take(json.loads(data))
        except _UNREADABLE as error:
            log.debug("Unreadable datagram of %d bytes: %s", len(data), type(error).__name__)

    def _take(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "beat":
            self._beat(message)
        elif event == "boot_failed":
            pid = int(message.get("root") or message.get("pid") or 0)
            _bounded(self.boot_failures)[pid] = message
        elif event == "exited":
            pid = int(message.get("pid") or 0)
            ending = (message.get("signal"), message.get("status"))
            _bounded(self._endings)[pid] = ending
            if any(ending):
                log.debug("Worker process %d ended with signal %s, status %s", pid, *ending)
            self._news.set()
            if not self.on_exit(pid):
                self.forget(pid)
        elif event == "exiting":
            self.forget(int(message.get("pid") or 0))
            log.debug("Worker %s exits: %s", message.get("pid"), message.get("reason"))

    def _beat(self, message: dict[str, Any]) -> None:
        pid = int(message.get("pid") or 0)
        stalled = message.get("stalled")
        lag_ms = float(message.get("lag_ms") or 0)
        deadline = message.get("deadline")
        self.vitals[pid] = Vitals(
            int(message.get("rss_kb") or 0),
            int(message.get("busy") or 0),
            lag_ms,
            stalled,
            (int(deadline[0]), float(deadline[1])) if deadline else None,
            time.monotonic(),
            {key: int((message.get("database") or {}).get(key, 0)) for key in _DATABASE}
            if message.get("database")
            else {},
        )
        if stalled:
            self.on_stall(pid, stalled, lag_ms)


def _bounded(unasked: dict[int, Any]) -> dict[int, Any]:
    while len(unasked) >= _MOST_UNASKED:
        unasked.pop(next(iter(unasked)))
    return unasked
