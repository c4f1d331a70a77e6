"""How many CPUs we may use: the affinity mask, and our cgroup's quota (v2) where that is lower."""

from __future__ import annotations

import math
import os
from pathlib import Path

from gokiq.host import cgroup


def usable_cpus(root: Path = Path("/")) -> int:
    """At least 1. `root` is where /proc and /sys are."""
    cpus = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return max(1, min(cpus, math.ceil(quota))) if quota is not None else cpus


def _quota(root: Path) -> float | None:
    """The lowest quota on the way from our cgroup up, in CPUs."""
    quotas = [_read(folder / "cpu.max") for folder in cgroup.folders(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _read(file: Path) -> float | None:
    try:
        quota, period = file.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
