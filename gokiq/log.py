"""Loggers: picologging where it has wheels, the standard library elsewhere; lines in Sidekiq's own
format.
"""

from __future__ import annotations

import datetime
import os
import sys
from typing import Any

try:
    import picologging as logging
except ImportError:  # no wheel for this Python; the API is the same
    import logging  # type: ignore[no-redef]

_ROOT = "gokiq"
#: Ruby's names of levels, for parsers of Sidekiq's lines.
_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class SidekiqFormatter(logging.Formatter):  # type: ignore[misc,unused-ignore]
    """`INFO  2026-01-31T12:00:00.000Z pid=1 tid=sidecar: message`, the order and names of Sidekiq
    8's plain format.

    On Heroku ($DYNO) the time is left out, as Sidekiq does. Source: sidekiq lib/sidekiq/logger.rb.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()
        self._with_time = "DYNO" not in os.environ

    def format(self, record: Any) -> str:
        """Render one record as one line."""
        message = record.msg % record.args if record.args else str(record.msg)
        tid = record.name.rpartition(".")[2]
        when = f"{_iso_now()} " if self._with_time else ""
        level = _LEVELS.get(record.levelname, record.levelname)
        return f"{level:<5} {when}pid={self._pid} tid={tid}: {message}"


def _iso_now() -> str:
    now = datetime.datetime.now(datetime.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def get_logger(name: str) -> Any:
    """Logger of one module; `name` is shown as tid."""
    return logging.getLogger(f"{_ROOT}.{name}")


def configure(*, verbose: bool) -> None:
    """Send all our loggers to stdout, as Sidekiq does; at DEBUG when `verbose`, else INFO."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(SidekiqFormatter())
    root = logging.getLogger(_ROOT)
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
