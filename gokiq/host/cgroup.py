"""Where our cgroup (v2) is, seen from inside or from outside of a container."""

from __future__ import annotations

from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


def folders(root: Path = Path("/")) -> list[Path]:
    """Our own group first, then those above it; empty where cgroups do not tell. `root` is where
    /proc and /sys are.

    Inside of a container our path may be told from outside, and the mount is our own group: some of
    these folders may not be there.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None:
        return []
    mount = root / _MOUNT.relative_to("/")
    folder = mount / path.lstrip("/")
    above = [one for one in (folder, *folder.parents) if one.is_relative_to(mount)]
    return above if mount in above else [*above, mount]
