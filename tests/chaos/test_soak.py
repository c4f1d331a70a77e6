"""A soak of seconds: it is well with gokiq, and not with one that forgets requeues."""

from __future__ import annotations

import pytest

from . import soak
from .faults import Fleet, forget_scripts, kill_a_worker

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "PAUSE_S", (1.0, 2.0))
    monkeypatch.setattr(soak, "SAMPLE_S", 0.5)


def test_nothing_is_lost_and_all_is_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "FAULTS", (kill_a_worker, forget_scripts))

    results = soak.soak(0.15, seed=1)

    assert results["ok"], results["note"]
    assert results["jobs"]
    assert results["lost"] == 0


def test_it_sees_a_forgotten_requeue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "FAULTS", (kill_a_worker,))

    results = soak.soak(0.15, seed=1, sabotage="drop_requeues")

    assert not results["ok"]
    assert results["lost"]


def test_a_fault_that_nothing_recovers_from_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fleet: Fleet) -> None:
        raise AssertionError("it never came back")

    monkeypatch.setattr(soak, "FAULTS", (fail,))

    results = soak.soak(0.1, seed=1)

    assert not results["ok"]
    assert "it never came back" in str(results["note"])
