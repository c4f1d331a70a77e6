"""Memory and parents of processes, from /proc."""

from __future__ import annotations

import os

_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def rss_kb(pid: int | None = None) -> int:
    """Resident memory of a process in kB (ours when `pid` is None), 0 when it cannot be read."""
    if pid == 0:
        return 0
    try:
        with open(f"/proc/{pid or 'self'}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * _PAGE_KB
    except (OSError, ValueError, IndexError):
        return 0


def parent_of(pid: int) -> int | None:
    """Pid of a process's parent; None when it is not there, or may not be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
