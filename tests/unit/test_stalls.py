"""A stall is named once, and again only when it lasts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gokiq.core import Job
from gokiq.workers import stalls
from gokiq.workers.stalls import REPEAT_S, Stalls


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    lines: list[tuple[Any, ...]] = []
    log = SimpleNamespace(warning=lambda text, *args: lines.append(args))
    monkeypatch.setattr(stalls, "log", log)
    return lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(stalls.time, "monotonic", lambda: now.s)
    return now


def test_a_stall_is_named_when_it_begins_and_while_it_lasts(
    said: list[tuple[Any, ...]], clock: SimpleNamespace
) -> None:
    job = Job(7, 0, b'{"jid":"j7","class":"SlowJob"}', 0.0)
    fleet = SimpleNamespace(workers=[SimpleNamespace(pid=5, open={7: job})])
    seen = Stalls(fleet).seen  # type: ignore[arg-type]

    for _ in range(10):
        seen(5, {"number": 7, "frames": ["a.rb:1", "b.rb:2"]}, 1200.0)
        clock.s += 0.5
    assert said == [(5, 1.2, "jid=j7 class=SlowJob", "a.rb:1 < b.rb:2")]

    seen(5, {"number": 8, "frames": []}, 1300.0)
    assert said[1:] == [(5, 1.3, "jid=? class=?", "no trace")]
    clock.s += REPEAT_S
    seen(5, {"number": 8, "frames": []}, 9000.0)
    seen(6, {"number": None}, 1000.0)
    assert len(said) == 4
