"""Memory and CPU time of a process and its descendants, read from /proc (Linux)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc showed it; `pid` and `started` (ticks since boot) name it for good."""

    pid: int
    ppid: int
    started: int
    name: str
    rss_bytes: int
    cpu_s: float

    @property
    def is_alive(self) -> bool:
        """Whether this very process, not a later one with its pid, runs (a zombie does not)."""
        now = read_process(self.pid)
        return now is not None and now.started == self.started


def read_process(pid: int) -> Process | None:
    """The process `pid`, None when there is none or only its zombie is left."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself hold any character, parentheses and blanks too.
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    if fields[0] in "ZX":
        return None
    return Process(
        pid=pid,
        ppid=int(fields[1]),
        started=int(fields[19]),
        name=head.partition("(")[2],
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
    )


def pss_bytes(pid: int) -> int:
    """Memory of the process, each shared page divided among its users; 0 when it is gone.

    The kernel walks its pages for it, which takes milliseconds: not for a loop.
    """
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    line = next((line for line in rollup.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1024


def process_tree(pid: int) -> list[Process]:
    """The process `pid`, first, and all that descend from it; empty when it is gone."""
    children: dict[int, list[Process]] = {}
    root = None
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (process := read_process(int(entry.name))) is not None:
            children.setdefault(process.ppid, []).append(process)
            if process.pid == pid:
                root = process
    if root is None:
        return []
    tree = [root]
    for process in tree:
        tree.extend(children.get(process.pid, ()))
    return tree


def find_marked(variable: str, token: str) -> list[Process]:
    """Processes started with `token` in the environment variable, orphans included."""
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            entries = (entry / "environ").read_bytes().split(b"\0")
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
        value = next((one for one in entries if one.startswith(variable.encode() + b"=")), b"")
        if token.encode() in value and (process := read_process(int(entry.name))) is not None:
            found.append(process)
    return found


def rss_mb(processes: Sequence[Process]) -> float:
    """Sum of the resident sets in MB (10^6 bytes); shared pages count once per process."""
    return sum(process.rss_bytes for process in processes) / 1e6


def cpu_s(processes: Sequence[Process]) -> float:
    """CPU seconds, user and system, that the processes have used so far."""
    return sum(process.cpu_s for process in processes)
