"""Who is innocent, suspected, guilty after workers have died."""

from __future__ import annotations

import json

import pytest

from gokiq.store.crash_record import WINDOW_S, Record, key_of
from gokiq.workers import suspects as crashes
from gokiq.workers.suspects import Ending, Ledger, Verdict, judge

NOW = 1_795_489_135.438


@pytest.mark.parametrize(
    ("count", "alone", "verdict"),
    [
        (1, False, Verdict.INNOCENT),
        (1, True, Verdict.INNOCENT),
        (2, False, Verdict.SUSPECT),
        (2, True, Verdict.SUSPECT),
        (3, False, Verdict.SUSPECT),
        (3, True, Verdict.GUILTY),
        (9, False, Verdict.SUSPECT),
        (100, False, Verdict.SUSPECT),
    ],
)
def test_the_rule(count: int, alone: bool, verdict: Verdict) -> None:
    assert judge(Record(count, alone, NOW)) is verdict


def test_a_job_that_was_in_no_crash_is_innocent() -> None:
    assert judge(None) is Verdict.INNOCENT


@pytest.mark.parametrize("raw", [b"", b"x 1 2", b"1", b"1 1 soon", b"\xff"])
def test_a_record_that_cannot_be_read_is_none(raw: bytes) -> None:
    assert Record.parse(raw) is None


def test_the_ledger_forgets_what_is_older_than_its_window() -> None:
    ledger = Ledger()
    raw = {b"new": b"2 0 1795489000", b"old": b"2 1 1795000000", b"odd": b"?"}

    assert sorted(ledger.load(raw, now=1_795_000_000.0 + WINDOW_S + 1)) == ["odd", "old"]
    assert ledger.get("new") == Record(2, False, 1_795_489_000.0)
    assert ledger.get("old") is None
    ledger.forget(["new", "unknown"])
    assert not ledger


def test_a_job_without_a_jid_is_known_by_its_bytes() -> None:
    assert key_of(b'{"jid":"abc"}') == "abc"
    assert key_of(b'{"class":"A"}') == key_of(b'{"class":"A"}') != key_of(b'{"class":"B"}')
    assert len(key_of(b"{bad")) == 40


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Ending(), "died"),
        (Ending(signal=11), "was killed by SIGSEGV"),
        (Ending(signal=99), "was killed by signal 99"),
        (Ending(status=3), "exited with status 3"),
        (
            Ending(signal=9, rss_kb=8192),
            "was killed by SIGKILL (resident memory 8 MB at last look)",
        ),
    ],
)
def test_an_ending_is_said_in_words(ending: Ending, said: str) -> None:
    assert str(ending) == said


def test_an_ending_for_want_of_memory_says_so() -> None:
    said = str(Ending(signal=9, out_of_memory=True))

    assert said == (
        "was killed by SIGKILL (the kernel was out of memory for this group of processes)"
    )


def test_a_buried_job_is_annotated_and_otherwise_as_it_was() -> None:
    pushed = b'{"class":"A","args":[1.0e5],"x":{"a":[]},"jid":"j"}'

    job = crashes.buried(pushed, "why", now=NOW, uses_ms=True)

    assert job.startswith(pushed[:-1])
    added = {"error_class": "Gokiq::WorkerCrash", "error_message": "why"}
    assert json.loads(job) == json.loads(pushed) | added | {
        "failed_at": 1_795_489_135_438,
        "retry_count": 0,
    }


def test_what_an_earlier_failure_has_written_stays() -> None:
    pushed = b'{"failed_at":5,"retry_count":7,"retried_at":6,"error_class":"Old"}'

    job = json.loads(crashes.buried(pushed, "why", now=NOW, uses_ms=False))

    assert (job["failed_at"], job["retry_count"], job["retried_at"]) == (5, 7, 6)
    assert job["error_class"] == "Gokiq::WorkerCrash"


def test_what_is_no_job_is_buried_as_it_is() -> None:
    assert crashes.buried(b"{bad", "why", now=NOW, uses_ms=True) == b"{bad"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b'{"dead":false}', False), (b'{"dead":true}', True), (b"{}", True), (b"{bad", True)],
)
def test_dead_false_is_heard(payload: bytes, expected: bool) -> None:
    assert crashes.may_be_dead(payload) is expected
