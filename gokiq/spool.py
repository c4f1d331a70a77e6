"""Writes lines on a thread of its own, so that a reader that stops reading stops nobody else."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

#: Bytes of lines that may wait for the reader; lines beyond are dropped, and counted.
MOST_BYTES = 1 << 20
#: How long the last lines may take at exit, seconds.
FLUSH_S = 1.0


class Spool:
    """The way to one file descriptor. Lines keep their order, and each is one write."""

    def __init__(self, descriptor: int, note: Callable[[int], bytes]) -> None:
        """`note` makes the line that stands where so many were dropped."""
        self._descriptor = os.dup(descriptor)
        self.note = note
        #: Lines that were dropped so far.
        self.dropped = 0
        self._untold = 0
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._is_writing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> None:
        """Have a line written, or drop it. Never waits."""
        with self._changed:
            if self._bytes + len(line) > MOST_BYTES:
                self.dropped += 1
                self._untold += 1
                return
            self._tell()
            self._add(line)
            self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        with contextlib.suppress(RuntimeError):  # too many threads: with the next line, then
            thread.start()
            self._thread = thread
            atexit.register(self.flush)

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until all is written; False when that takes longer."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while self._lines or self._is_writing or self._untold:
                if self._thread is None or not self._changed.wait(until - time.monotonic()):
                    return False
        return True

    def _tell(self) -> None:
        if self._untold:
            untold, self._untold = self._untold, 0
            self._add(self.note(untold))

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                if not self._lines:
                    self._tell()
                while not self._lines:
                    self._changed.notify_all()
                    self._changed.wait()
                line = self._lines.popleft()
                self._is_writing = True
            self._write(line)
            with self._changed:
                self._bytes -= len(line)

    def _write(self, line: bytes) -> None:
        """A log that cannot be written (disk full, reader gone) is no reason to stop working."""
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # somebody who shares it has made it so
                select.select([], [self._descriptor], [])
            except OSError:
                return
