"""Loggers: picologging where it has wheels, the standard library elsewhere; lines in the form of
the app's Sidekiq, so that its parsers go on working.
"""

from __future__ import annotations

import datetime
import json
import logging as standard
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, TextIO

from gokiq.spool import Spool

try:
    import picologging as logging
except ImportError:  # no wheel for this Python; the API is the same
    import logging  # type: ignore[no-redef]

_ROOT = "gokiq"
#: Ruby's names of levels, for parsers of Sidekiq's lines.
_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_COLOURS = {"DEBUG": 32, "INFO": 34, "WARN": 33, "ERROR": 31, "FATAL": 35}
#: Levels as an operator names them, in the order of Ruby's numbers.
LEVELS = ("debug", "info", "warn", "error", "fatal")
_BY_NAME = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


class Style(StrEnum):
    """Sidekiq's formatters (sidekiq lib/sidekiq/logger.rb); an app's own formatter is written as
    PLAIN.
    """

    PRETTY = "pretty"
    PLAIN = "plain"
    WITHOUT_TIMESTAMP = "without_timestamp"
    JSON = "json"


class Named(str):
    """Text that names something, and what it names as fields: JSON lines have them in `ctx`, where
    Sidekiq's own have jid and class. To be given as an argument of a line.
    """

    __slots__ = ("fields",)
    fields: Mapping[str, str]

    def __new__(cls, **fields: str) -> Named:
        """As `jid=… class=…`, in the order that is given."""
        made = super().__new__(cls, " ".join(f"{key}={value}" for key, value in fields.items()))
        made.fields = fields
        return made


class SidekiqFormatter(logging.Formatter):  # type: ignore[misc,unused-ignore]
    """One line for each record, as Sidekiq `major` writes it: the module stands as tid.

    Sidekiq 8: `INFO  2026-01-31T12:00:00.000Z pid=1 tid=poller: message`, 7 has the level before
    the colon.
    """

    def __init__(self, style: Style, *, major: int = 8) -> None:
        super().__init__()
        self._style = style
        self._is_7 = major < 8
        self._pid = os.getpid()

    def format(self, record: Any) -> str:
        """Render one record as one line."""
        message = record.msg % record.args if record.args else str(record.msg)
        if getattr(record, "exc_info", None):
            message += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        tid = record.name.rpartition(".")[2]
        level = _NAMES.get(record.levelname, record.levelname)
        if self._style is Style.JSON:
            fields: dict[str, object] = {"ts": _iso_now(), "pid": self._pid, "tid": tid}
            fields |= {"lvl": level, "msg": message}
            named = record.args if isinstance(record.args, tuple) else ()
            for one in named:
                if isinstance(one, Named):
                    fields["ctx"] = {**one.fields}
            return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
        parts = [f"pid={self._pid} tid={tid}"]
        if self._style is not Style.WITHOUT_TIMESTAMP:
            parts.insert(0, _iso_now())
        if self._is_7:
            return f"{' '.join(parts)} {level}: {message}"
        return f"{self._level(level)} {' '.join(parts)}: {message}"

    def _level(self, level: str) -> str:
        if self._style is Style.PLAIN:
            return level
        return f"\x1b[1;{_COLOURS[level]}m{level:<5}\x1b[0m"


class _Handler(logging.Handler):  # type: ignore[misc,unused-ignore]
    """Hands lines to the spool of stdout."""

    def __init__(self, formatter: SidekiqFormatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._form = formatter
        self._spool = _spool_of(self._note)

    def emit(self, record: Any) -> None:
        """Write one record, or lose it."""
        if self._spool is not None:
            self._spool.put(_line(self._form.format(record)))

    def _note(self, dropped: int) -> bytes:
        text = "%d lines were dropped here: nobody read our output fast enough"
        about = {"name": f"{_ROOT}.log", "levelname": "WARNING", "msg": text, "args": (dropped,)}
        return _line(self._form.format(SimpleNamespace(**about)))


class _Borrowed(standard.Handler):
    """Lines of the libraries, which all use the standard library's loggers."""

    def __init__(self, handler: _Handler) -> None:
        super().__init__(standard.WARNING)
        self._handler = handler

    def emit(self, record: standard.LogRecord) -> None:
        """As one of ours."""
        self._handler.emit(record)


#: The spool of a stream, which outlives its handlers so that lines keep their order.
_spool: tuple[TextIO, Spool] | None = None


def _spool_of(note: Callable[[int], bytes]) -> Spool | None:
    """None when there is no output that could be written to."""
    global _spool  # noqa: PLW0603 - there is one stdout
    stream = sys.stdout or sys.stderr
    if _spool is None or _spool[0] is not stream:
        try:
            stream.flush()
            _spool = (stream, Spool(stream.fileno(), note))
        except (AttributeError, OSError, ValueError):
            return None
    _spool[1].note = note
    return _spool[1]


def _line(text: str) -> bytes:
    return (text + "\n").encode("utf-8", "backslashreplace")


def flush() -> None:
    """Wait a moment until what was logged is written: before the process becomes another one."""
    if _spool is not None:
        _spool[1].flush()


def _iso_now() -> str:
    now = datetime.datetime.now(datetime.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def get_logger(name: str) -> Any:
    """Logger of one module; `name` is shown as tid."""
    return logging.getLogger(f"{_ROOT}.{name}")


def configure(*, level: str = "info", style: Style | None = None, major: int = 8) -> None:
    """Send all our loggers to stdout, as Sidekiq does. `level` is one of LEVELS; the style is what
    Sidekiq would choose by itself unless given.
    """
    by_itself = Style.WITHOUT_TIMESTAMP if "DYNO" in os.environ else Style.PRETTY
    handler = _Handler(SidekiqFormatter(style or by_itself, major=major))
    libraries = standard.getLogger()
    for borrowed in [one for one in libraries.handlers if isinstance(one, _Borrowed)]:
        libraries.removeHandler(borrowed)
    libraries.addHandler(_Borrowed(handler))
    root = logging.getLogger(_ROOT)
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_BY_NAME[level])
    root.propagate = False
