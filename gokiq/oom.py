"""How often the kernel has ended a process of our cgroup for want of memory (cgroup v2)."""

from __future__ import annotations

from pathlib import Path


class OomCounter:
    """Tells whether the count has risen since it was asked last."""

    def __init__(self) -> None:
        self._path = _events_file()
        self._count = self._read()

    def has_risen(self) -> bool:
        """False where cgroups do not tell."""
        before, self._count = self._count, self._read()
        return self._count > before

    def _read(self) -> int:
        if self._path is None:
            return 0
        try:
            fields = dict(line.split() for line in self._path.read_text().splitlines())
            return int(fields.get("oom_kill", 0))
        except (OSError, ValueError):
            return 0


def _events_file() -> Path | None:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        hierarchy, _, path = line.split(":", 2)
        if hierarchy == "0":
            return Path("/sys/fs/cgroup", path.lstrip("/"), "memory.events")
    return None
