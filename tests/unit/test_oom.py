"""Whose kills for want of memory are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from gokiq.host.oom import OomCounter


@pytest.mark.parametrize(
    ("cgroup", "folder"),
    [
        ("0::/a/b\n", "a/b"),
        ("1:cpu:/x\n0::/a/b\n", "a/b"),
        ("0::/\n", ""),
        # Inside of a container: the path is told from outside, the mount is our own group.
        ("0::/system.slice/docker-1f.scope\n", ""),
        ("0::/../../pod/1f\n", ""),
    ],
)
def test_the_kills_of_our_own_group_are_seen(tmp_path: Path, cgroup: str, folder: str) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(cgroup)
    events = tmp_path / "sys/fs/cgroup" / folder / "memory.events"
    events.parent.mkdir(parents=True)
    events.write_text("max 0\noom_kill 4\n")
    counter = OomCounter(tmp_path)

    assert not counter.has_risen()
    events.write_text("max 0\noom_kill 5\n")
    assert counter.has_risen()
    assert not counter.has_risen()


def test_without_cgroups_none_are(tmp_path: Path) -> None:
    assert not OomCounter(tmp_path).has_risen()
