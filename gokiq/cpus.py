"""How many CPUs we may use: the affinity mask, and our cgroup's quota (v2) where that is lower."""

from __future__ import annotations

import math
import os
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


def usable_cpus(root: Path = Path("/")) -> int:
    """At least 1. `root` is where /proc and /sys are."""
    cpus = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return max(1, min(cpus, math.ceil(quota))) if quota is not None else cpus


def _quota(root: Path) -> float | None:
    """The lowest quota on the way from our cgroup up, in CPUs."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None:
        return None
    mount = root / _MOUNT.relative_to("/")
    folder = mount / path.lstrip("/")
    quotas = [
        _read(one / "cpu.max") for one in (folder, *folder.parents) if one.is_relative_to(mount)
    ]
    # Inside of a container our path may be told from outside, and the mount is our own cgroup.
    quotas.append(_read(mount / "cpu.max"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _read(file: Path) -> float | None:
    try:
        quota, period = file.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
