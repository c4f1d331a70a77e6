"""How often the kernel has ended a process of our cgroup for want of memory (cgroup v2)."""

from __future__ import annotations

from pathlib import Path

from gokiq.host import cgroup


class OomCounter:
    """Tells whether the count has risen since it was asked last. `root` is where /proc and /sys
    are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        files = [folder / "memory.events" for folder in cgroup.folders(root)]
        #: The nearest that there is: our own group's may be told from outside of a container.
        self._path = next((file for file in files if file.is_file()), None)
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
