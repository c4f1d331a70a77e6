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
from pathlib import Path
from typing import Any

from gokiq import __version__


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


def is_proved_dead(about: Mapping[str, Any]) -> bool:
    """True only when the owner ran in our own pid namespace since this boot and its process is
    gone.

    A pid that lives again with another start time is another process.
    """
    if not is_local(about):
        return False
    pid, ticks = about.get("pid"), about.get("start_ticks")
    if not isinstance(pid, int) or not isinstance(ticks, int):
        return False
    return start_ticks(pid) != ticks


def is_local(about: Mapping[str, Any]) -> bool:
    """True when the owner ran in our own pid namespace since this boot, so that we can tell."""
    ours = (_boot_id(), _pid_namespace())
    return None not in ours and (about.get("boot_id"), about.get("pid_namespace")) == ours


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None when there is no such process (or
    only its zombie).
    """
    try:
        # The name in parentheses may itself contain spaces and parentheses: fields count from
        # behind it.
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        fields = stat.rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _pid_namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
