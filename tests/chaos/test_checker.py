"""The checker must be able to cry: on made-up runs, and on a gokiq with a safeguard taken out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from devtools.journal import Run
from devtools.redis_jobs import Places

from . import stand
from .catalogue import SCENARIOS
from .checker import Findings, Window, examine
from .runner import play
from .sabotage import SABOTAGES

NOTHING = Places(queued=(), claimed=(), retry=(), schedule=(), dead=())


def run(jid: str, outcome: str | None = "done", *, pid: int = 1, start: float = 0.0) -> Run:
    end = None if outcome is None else start + 10
    return Run(jid, "QuickJob", pid, start, end, outcome)  # type: ignore[arg-type]


def test_all_done_holds() -> None:
    findings = examine(["a", "b"], [run("a"), run("b")], NOTHING)

    assert findings.holds
    assert findings == Findings((), (), (), (), (), ())
    assert str(findings) == ""


@pytest.mark.parametrize(
    "runs", [[], [run("a", None)], [run("a", "fail")]], ids=["never", "cut", "failed"]
)
def test_a_job_that_is_nowhere_is_lost(runs: list[Run]) -> None:
    findings = examine(["a", "b"], [*runs, run("b")], NOTHING)

    assert not findings.holds
    assert findings.lost == ("a",)
    assert str(findings) == "1 lost (a)"


@pytest.mark.parametrize("place", ["queued", "claimed", "retry", "schedule", "dead"])
def test_a_job_that_waits_or_is_dead_is_not_lost(place: str) -> None:
    findings = examine(["a"], [run("a", "fail")], replace(NOTHING, **{place: ("a",)}))

    assert findings.holds
    assert findings.pending == (() if place == "dead" else ("a",))


def test_a_job_to_be_discarded_is_lost_unless_it_has_failed() -> None:
    findings = examine(["a", "b"], [run("a", "fail"), run("b", None)], NOTHING, discards="ab")

    assert findings.lost == ("b",)


def test_done_twice_needs_an_excuse() -> None:
    runs = [run("a"), run("a"), run("b"), run("b")]
    findings = examine(["a", "b"], runs, NOTHING, excused={"a"})

    assert not findings.holds
    assert findings.duplicates == ("a", "b")
    assert findings.unexplained == ("b",)


def test_failed_and_done_is_no_duplicate() -> None:
    assert examine(["a"], [run("a", "fail"), run("a")], NOTHING).holds


def test_in_two_places_has_no_excuse() -> None:
    places = replace(NOTHING, queued=("a",), retry=("a",), dead=("b", "b"))
    findings = examine(["a", "b"], [], places, excused="ab")

    assert not findings.holds
    assert findings.doubled == ("a", "b")


def test_done_and_waiting_is_doubled() -> None:
    places = replace(NOTHING, claimed=("a", "b"))
    findings = examine(["a", "b"], [run("a"), run("b")], places, excused={"a"})

    assert findings.doubled == ("b",)


def test_what_nobody_pushed_is_a_stray() -> None:
    findings = examine(["a"], [run("a"), run("x", "fail")], replace(NOTHING, dead=("y",)))

    assert not findings.holds
    assert findings.strays == ("x", "y")


def test_a_window_excuses_what_was_under_way_in_its_processes() -> None:
    runs = [
        run("before", start=0),
        run("into", start=95),
        run("within", start=150),
        run("cut", None, start=20),
        run("after", start=201),
        run("elsewhere", start=150, pid=2),
    ]

    assert Window(100, 200, frozenset({1})).excused(runs) == {"into", "within", "cut"}
    assert "elsewhere" in Window(100, 200).excused(runs)


#: Sabotage -> the scenario that must show it, how many jobs that takes, and the finding.
MUTATIONS = {
    "no_fence": ("pause_an_orchestrator_beyond_its_lease", 600, "doubled"),
    "ack_before_run": ("kill_a_worker_with_200_jobs", 600, "lost"),
    "drop_requeues": ("kill_a_worker_with_200_jobs", 600, "lost"),
    "promote_and_keep": ("forget_the_scripts", 300, "unexplained"),
    "reconcile_knows_nothing": ("lose_replies", 600, "unexplained"),
    "adopt_the_living": ("four_orchestrators_on_the_same_queue", 1200, "unexplained"),
}


def test_every_sabotage_is_tried() -> None:
    assert MUTATIONS.keys() == SABOTAGES.keys()


@pytest.mark.acceptance
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_checker_sees_sabotage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What has come loose may never be done.
    monkeypatch.setattr(stand, "PATIENCE_S", 20.0)
    scenario_name, jobs, expected = MUTATIONS[name]
    scenario = next(one for one in SCENARIOS if one.name == scenario_name)

    _, findings, failure = play(replace(scenario, jobs=jobs), 1, tmp_path, name)

    assert not findings.holds, failure
    assert getattr(findings, expected), f"{findings}; {failure}"
