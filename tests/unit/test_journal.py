"""The checker must cry: a journal that hides a loss or a second run does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.failure import DevError
from devtools.journal import (
    Event,
    EventName,
    Journal,
    Run,
    check,
    find_runs,
    max_in_flight,
    percentile,
    read_journal,
)

pytestmark = pytest.mark.unit


def _event(name: EventName, jid: str, at_ms: float = 0.0, pid: int = 1) -> Event:
    return Event(name, jid, at_ms, "Job", pid)


def _run(start_ms: float, end_ms: float | None, pid: int = 1) -> Run:
    return Run("j", "Job", pid, start_ms, end_ms, None if end_ms is None else "done")


HEALTHY = [
    _event("start", "a", 1.0),
    _event("done", "a", 2.0),
    _event("start", "b", 3.0),
    _event("fail", "b", 4.0),
    _event("start", "b", 5.0),
    _event("done", "b", 6.0),
]


def test_check_passes_jobs_that_are_done_once_even_after_a_failure() -> None:
    verdict = check(["a", "b"], HEALTHY)

    assert verdict.is_clean
    assert (verdict.enqueued, verdict.executed, verdict.succeeded) == (2, 3, 2)


def test_check_reports_a_job_whose_done_line_is_missing() -> None:
    verdict = check(["a", "b"], HEALTHY[:-1])

    assert verdict.lost == ("b",)
    assert not verdict.is_clean


def test_check_reports_a_job_that_never_started() -> None:
    assert check(["a", "b", "c"], HEALTHY).lost == ("c",)


def test_check_reports_a_job_that_is_done_twice() -> None:
    verdict = check(["a", "b"], [*HEALTHY, _event("start", "a", 7.0), _event("done", "a", 8.0)])

    assert verdict.duplicates == ("a",)
    assert verdict.lost == ()
    assert not verdict.is_clean


def test_check_reports_a_job_that_is_done_in_two_processes() -> None:
    again = [_event("start", "b", 3.0, pid=2), _event("done", "b", 3.5, pid=2)]

    assert check(["a", "b"], [*HEALTHY, *again]).duplicates == ("b",)


def test_check_does_not_let_a_duplicate_make_up_for_a_loss() -> None:
    events = [
        _event("start", "a"),
        _event("done", "a"),
        _event("start", "a"),
        _event("done", "a"),
    ]

    verdict = check(["a", "b"], events)

    assert (verdict.lost, verdict.duplicates) == (("b",), ("a",))
    assert verdict.succeeded == 1


def test_check_counts_a_second_start_without_a_second_done_as_no_duplicate() -> None:
    verdict = check(["a", "b"], [_event("start", "a", 0.0, pid=9), *HEALTHY])

    assert verdict.is_clean
    assert verdict.executed == 4


def test_check_holds_a_job_that_redis_still_has_for_undone_not_lost() -> None:
    verdict = check(["a", "b", "c"], HEALTHY, pending=["c"])

    assert (verdict.lost, verdict.undone) == ((), ("c",))
    assert not verdict.is_clean


def test_check_reports_a_done_job_that_redis_would_run_again() -> None:
    verdict = check(["a", "b"], HEALTHY, pending=["a"])

    assert verdict.unsettled == ("a",)
    assert not verdict.is_clean


@pytest.mark.parametrize(
    ("events", "pending"),
    [
        pytest.param([_event("start", "x")], [], id="ran"),
        pytest.param([], ["x"], id="in Redis"),
    ],
)
def test_check_reports_a_job_that_nobody_enqueued(events: list[Event], pending: list[str]) -> None:
    verdict = check(["a", "b"], [*HEALTHY, *events], pending)

    assert verdict.strays == ("x",)
    assert not verdict.is_clean


def test_check_refuses_a_list_of_jids_with_a_repetition() -> None:
    with pytest.raises(ValueError, match="twice"):
        check(["a", "a"], HEALTHY)


def test_find_runs_pairs_the_starts_of_a_retried_job_with_their_ends() -> None:
    runs = find_runs(HEALTHY)

    assert [(run.jid, run.start_ms, run.end_ms, run.outcome) for run in runs] == [
        ("a", 1.0, 2.0, "done"),
        ("b", 3.0, 4.0, "fail"),
        ("b", 5.0, 6.0, "done"),
    ]


def test_find_runs_leaves_a_run_open_whose_process_died() -> None:
    runs = find_runs([_event("start", "a", 1.0, pid=1), *[_event("start", "a", 2.0, pid=2)]])

    assert [(run.pid, run.end_ms, run.outcome) for run in runs] == [
        (1, None, None),
        (2, None, None),
    ]


def test_find_runs_refuses_an_end_without_a_start() -> None:
    with pytest.raises(DevError, match="without a start"):
        find_runs([_event("done", "a")])


@pytest.mark.parametrize(
    ("runs", "most"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([_run(0, 1), _run(2, 3)], 1, id="one after the other"),
        pytest.param([_run(0, 1), _run(1, 2)], 1, id="a slot taken again at once"),
        pytest.param([_run(0, 9), _run(1, 2), _run(3, 4)], 2, id="a long one under two"),
        pytest.param([_run(0, 9), _run(1, 9), _run(2, 9)], 3, id="nested"),
        pytest.param([_run(0, None), _run(1, 5), _run(6, 7, pid=2)], 2, id="dead at its last sign"),
        pytest.param([_run(0, None), _run(1, 8), _run(6, 7, pid=2)], 3, id="open until then"),
    ],
)
def test_max_in_flight_is_the_most_open_at_one_instant(runs: list[Run], most: int) -> None:
    assert max_in_flight(runs) == most


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.0, 1), (0.07, 7), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)],
)
def test_percentile_is_the_nearest_rank(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_percentile_of_nothing_is_none() -> None:
    assert percentile([], 0.5) is None


def test_journal_merges_processes_by_time(tmp_path: Path) -> None:
    (tmp_path / "11.journal").write_text("start a 1.5 Job\ndone a 4.0 Job\n")
    (tmp_path / "12.journal").write_text("start b 2.0 Some::Job\nfail b 3.0 Some::Job\n")

    events = read_journal(tmp_path)

    assert [(event.name, event.jid, event.pid) for event in events] == [
        ("start", "a", 11),
        ("start", "b", 12),
        ("fail", "b", 12),
        ("done", "a", 11),
    ]
    assert events[1] == Event("start", "b", 2.0, "Some::Job", 12)


def test_journal_waits_for_the_rest_of_a_line_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "11.journal"
    journal = Journal(tmp_path)

    path.write_text("start a 1.0 Job\ndone a 2")
    first = journal.poll()
    path.write_text("start a 1.0 Job\ndone a 2.0 Job\n")
    second = journal.poll()

    assert [event.name for event in first] == ["start"]
    assert [(event.name, event.at_ms) for event in second] == [("done", 2.0)]
    assert journal.poll() == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("start a 1.0 Job\ndone a 2.0 Jo", id="torn at the end"),
        pytest.param("start a 1.0\n", id="a field short"),
        pytest.param("begin a 1.0 Job\n", id="unknown event"),
        pytest.param("start a soon Job\n", id="no time"),
        pytest.param("start a 1.0 Jobstart b 1.0 Job\n", id="two lines in one"),
    ],
)
def test_read_journal_refuses_a_damaged_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "11.journal").write_text(text)

    with pytest.raises(DevError, match=r"11\.journal"):
        read_journal(tmp_path)
