"""Who we are, and the proof that another is dead."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gokiq.host import identity
from gokiq.host.identity import Fate, fate, is_proved_dead, new_identity, start_ticks


def test_identity_has_sidekiqs_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNO", "web.1")

    assert re.fullmatch(rf"web\.1:{os.getpid()}:[0-9a-f]{{12}}", new_identity().name)


def test_we_ourselves_are_alive() -> None:
    assert not is_proved_dead(new_identity().about())


def test_a_process_that_ended_is_proved_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        about = {**new_identity().about(), "pid": child.pid, "start_ticks": start_ticks(child.pid)}
        assert not is_proved_dead(about)
        child.kill()

    assert is_proved_dead(about)


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc as `hidepid=2` shows it: our own process, and nobody else's."""
    for name in ("self", "sys", str(os.getpid())):
        (tmp_path / name).symlink_to(
            os.readlink("/proc/self") if name == "self" else f"/proc/{name}"
        )
    monkeypatch.setattr(identity, "PROC", tmp_path)
    return tmp_path


def test_a_process_that_proc_hides_is_not_proved_dead(hidden: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        about = {**new_identity().about(), "pid": child.pid, "start_ticks": 1}
        assert fate(about) is Fate.UNKNOWN
        child.kill()

    assert fate(about) is Fate.DEAD, "the kernel hides no process that is gone"
    assert fate(new_identity().about()) is Fate.LIVES


def test_the_proc_of_another_namespace_proves_nothing(hidden: Path) -> None:
    about = new_identity().about()
    (hidden / "self").unlink()
    (hidden / "self" / "ns").mkdir(parents=True)
    (hidden / "self/ns/pid").symlink_to(os.readlink("/proc/self/ns/pid"))

    assert fate({**about, "start_ticks": 1}) is Fate.UNKNOWN


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        about = {**new_identity().about(), "pid": child.pid, "start_ticks": start_ticks(child.pid)}
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert fate(about) is Fate.DEAD


@pytest.mark.parametrize("pid", [0, -1, 1 << 40])
def test_what_is_no_pid_is_no_proof(pid: int) -> None:
    assert fate({**new_identity().about(), "pid": pid}) is Fate.UNKNOWN


def test_a_pid_that_lives_again_is_another_process() -> None:
    about = new_identity().about()

    assert is_proved_dead({**about, "start_ticks": about["start_ticks"] - 1})


@pytest.mark.parametrize(
    "other", [{"boot_id": "x"}, {"pid_namespace": "pid:[1]"}, {"pid": None}, {"boot_id": None}]
)
def test_what_cannot_be_seen_from_here_is_no_proof(other: dict[str, object]) -> None:
    about = {**new_identity().about(), "start_ticks": -1}

    assert not is_proved_dead({**about, **other})
