"""A quota of the container counts, not only the CPUs of its host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gokiq.host.cpus import usable_cpus


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def write(top: Path, cgroup: str, quotas: dict[str, str]) -> Path:
    (top / "proc/self").mkdir(parents=True)
    (top / "proc/self/cgroup").write_text(cgroup)
    for folder, quota in quotas.items():
        file = top / "sys/fs/cgroup" / folder / "cpu.max"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(quota)
    return top


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({}, 8),
        ({"a/b": "max 100000\n"}, 8),
        ({"a/b": "200000 100000\n"}, 2),
        ({"a/b": "150000 100000\n"}, 2),
        ({"a/b": "10000 100000\n"}, 1),
        ({"a": "300000 100000\n", "a/b": "max 100000\n"}, 3),
        ({"": "400000 100000\n"}, 4),
        ({"a/b": "9900000 100000\n"}, 8),
        ({"a/b": "nonsense"}, 8),
    ],
)
def test_the_lowest_limit_counts(tmp_path: Path, quotas: dict[str, str], expected: int) -> None:
    assert usable_cpus(write(tmp_path, "0::/a/b\n", quotas)) == expected


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == 8
