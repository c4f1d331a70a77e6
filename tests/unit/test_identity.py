"""Who we are, and the proof that another is dead."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from gokiq.identity import is_proved_dead, new_identity, start_ticks


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


def test_a_pid_that_lives_again_is_another_process() -> None:
    about = new_identity().about()

    assert is_proved_dead({**about, "start_ticks": about["start_ticks"] - 1})


@pytest.mark.parametrize(
    "other", [{"boot_id": "x"}, {"pid_namespace": "pid:[1]"}, {"pid": None}, {"boot_id": None}]
)
def test_what_cannot_be_seen_from_here_is_no_proof(other: dict[str, object]) -> None:
    about = {**new_identity().about(), "start_ticks": -1}

    assert not is_proved_dead({**about, **other})
