"""Who we are in Redis, and whether another owner that claims to be on this host is dead for
certain.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gokiq import __version__

PROC = Path("/proc")
#: Above all pids of Linux.
_PID_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of this process, in Sidekiq's form `HOST:PID:NONCE` (12 hex digits)."""

    name: str
    hostname: str
    pid: int
    started_at: float

    def about(self) -> dict[str, Any]:
        """What a peer on the same host needs to know to prove our death."""
        return {
            "version": __version__,
            "hostname": self.hostname,
            "pid": self.pid,
            "start_ticks": start_ticks(self.pid),
            "boot_id": _boot_id(),
            "pid_namespace": _pid_namespace(),
        }


def new_identity() -> Identity:
    """A fresh identity; $DYNO replaces the host name, as in Sidekiq."""
    hostname = os.environ.get("DYNO") or socket.gethostname()
    pid = os.getpid()
    return Identity(f"{hostname}:{pid}:{secrets.token_hex(6)}", hostname, pid, time.time())


class Fate(Enum):
    """What this host's kernel says of another owner's process."""

    LIVES = "lives"
    DEAD = "dead"
    #: It ran elsewhere, or may not be seen from here: its lease decides.
    UNKNOWN = "unknown"


def fate(about: Mapping[str, Any]) -> Fate:
    """Whether an owner that ran in our own pid namespace since this boot still does. A pid that
    lives again with another start time is another process.

    That there is no such process the kernel says to everybody who asks to signal it. `/proc` may
    hide the processes of others (`hidepid=`, `ProtectProc=`): one that it does not show is
    unknown, not gone.
    """
    pid, ticks = about.get("pid"), about.get("start_ticks")
    if not _is_local(about) or not isinstance(pid, int) or not 0 < pid < _PID_LIMIT:
        return Fate.UNKNOWN
    if not _exists(pid):
        return Fate.DEAD
    if not isinstance(ticks, int) or not _shows_our_namespace():
        return Fate.UNKNOWN
    stat = _stat(pid)
    if stat is None:
        # It may have ended between the two looks.
        return Fate.UNKNOWN if _exists(pid) else Fate.DEAD
    return Fate.LIVES if stat == ("", ticks) else Fate.DEAD


def is_proved_dead(about: Mapping[str, Any]) -> bool:
    """True only when we know for certain."""
    return fate(about) is Fate.DEAD


def _is_local(about: Mapping[str, Any]) -> bool:
    ours = (_boot_id(), _pid_namespace())
    return None not in ours and (about.get("boot_id"), about.get("pid_namespace")) == ours


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _shows_our_namespace() -> bool:
    """False where another pid namespace's `/proc` is mounted: its numbers are not ours."""
    try:
        return os.readlink(PROC / "self") == str(os.getpid())
    except OSError:
        return False


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None when it is not to be seen (or only
    its zombie is).
    """
    stat = _stat(pid)
    return stat[1] if stat is not None and not stat[0] else None


def _stat(pid: int) -> tuple[str, int] | None:
    """Why it counts as ended (a zombie's state), and its start time; None when it is not to be
    seen.
    """
    try:
        # The name in parentheses may itself contain spaces and parentheses: fields count from
        # behind it.
        stat = (PROC / f"{pid}/stat").read_text("ascii", "replace")
        fields = stat.rpartition(")")[2].split()
        return fields[0] if fields[0] in "ZX" else "", int(fields[19])
    except (OSError, IndexError):
        return None


def _boot_id() -> str | None:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _pid_namespace() -> str | None:
    try:
        return os.readlink(PROC / "self/ns/pid")
    except OSError:
        return None
