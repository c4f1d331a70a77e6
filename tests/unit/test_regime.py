"""Which limits are in force, and what dependencies keep when the app is loaded anew."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devtools.null_sidecar import hello
from gokiq.app.info import AppInfo, app_info
from gokiq.errors import ConfigError
from gokiq.limits.in_force import Regime
from gokiq.limits.target import TOTAL, Rules, dependency, job_class, queue
from gokiq.log import Style, configure, flush


def app(settings: dict[str, Any], classes: dict[str, Any] | None = None) -> AppInfo:
    known = app_info(hello(redis=Path("/redis.sock")))
    return replace(known, settings=settings, classes=classes or {})


def regime(*limits: str, adaptive: tuple[str, ...] = ()) -> Regime:
    return Regime(limits, adaptive, random.Random(1))


def test_operators_count_more_than_flags_those_more_than_the_file_that_more_than_classes() -> None:
    one = regime("a=2", "b=2")
    one.serve(
        app(
            {"limits": {"queues": {"a": 1, "b": 1, "c": 1}, "classes": {"Job": 1}}},
            {"Job": {"limit": 9}, "Other": {"limit": 9}},
        )
    )
    heard: list[Rules] = []
    one.apply = lambda rules, needs: heard.append(rules)

    one.order(Rules({queue("a"): 3, queue("c"): None}), Rules())

    expected = {queue("a"): 3, queue("b"): 2, job_class("Job"): 1, job_class("Other"): 9}
    assert one.rules.process == expected
    assert heard == [one.rules]


def test_a_dependency_that_is_set_as_before_keeps_what_it_has_learned() -> None:
    one = regime()
    settings = {
        "adaptive": {"queues": {"reports": {"min": 2, "max": 9}}},
        "dependencies": {"api": {"classes": ["ApiJob"], "breaker": True}, "db": {"queues": ["a"]}},
    }
    one.serve(app(settings))
    before = dict(one.needs)
    settings["dependencies"] = {"api": {"classes": ["ApiJob"], "min": 3, "breaker": True}}
    one.serve(app(settings))

    assert before.keys() == {queue("reports"), dependency("api")}
    assert one.needs[queue("reports")] is before[queue("reports")]
    assert one.needs[dependency("api")] is not before[dependency("api")]
    assert one.rules.dependencies == {job_class("ApiJob"): "api"}


def test_a_flag_makes_a_limit_move() -> None:
    one = regime(adaptive=("total=2..50", "reports"))
    one.serve(app({}))

    assert one.needs.keys() == {TOTAL, queue("reports")}
    assert one.needs[TOTAL].limit == 2
    for wrong in ("total=5", "total=5..2", "total=0..3", "=1..2"):
        with pytest.raises(ConfigError, match="--adaptive"):
            regime(adaptive=(wrong,))


@pytest.mark.parametrize(
    "settings",
    [
        {"adaptive": {"queues": {"a": {"least": 2}}}},
        {"adaptive": {"queues": ["a"]}},
        {"dependencies": {"api": {"breaker": "yes"}}},
        {"dependencies": ["api"]},
        {"limits": {"total": "many"}},
    ],
    ids=str,
)
def test_what_the_app_sets_wrong_is_refused_and_changes_nothing(settings: dict[str, Any]) -> None:
    one = regime()
    one.serve(app({"limits": {"total": 5}}))

    with pytest.raises(ConfigError):
        one.check(app(settings))

    assert one.rules.process == {TOTAL: 5}


def test_a_name_in_the_configuration_that_the_app_does_not_have_is_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = {"limits": {"queues": {"defualt": 1, "other": 1}}}
    known = replace(app(settings), job_classes=("HelloJob",))
    configure(style=Style.PLAIN)
    regime("HeloJob=3", "default=2", "total=9", adaptive=("class:HelloJob",)).serve(known)
    flush()
    lines = [line.partition("tid=limits: ")[2] for line in capfd.readouterr().out.splitlines()]

    assert lines == [
        "class:HeloJob is limited, and the app has no such class: did you mean HelloJob?",
        "queue:defualt is limited, and the app has no such queue: did you mean default?",
        "queue:other is limited, and not known here yet",
    ]


def test_gems_of_the_app_count_less_than_all_who_know_gokiq() -> None:
    one = regime("cluster:FlagJob=5")
    known = app({"cluster": {"classes": {"FileJob": 5}}}, {"SaidJob": {"cluster_limit": 5}})
    names = ("GemJob", "SaidJob", "FileJob", "FlagJob", "LiveJob")
    gems = {"a-gem": {"cluster": {"classes": dict.fromkeys(names, 1)}}}
    one.serve(replace(known, gems=gems), Rules(paused=frozenset({"low"})))

    one.order(Rules(), Rules(cluster={queue("a"): 2}, paused=frozenset({"low"})))

    assert one.rules.cluster == {
        **{job_class(name): 5 for name in ("SaidJob", "FileJob", "FlagJob")},
        **{job_class(name): 1 for name in ("GemJob", "LiveJob")},
        queue("a"): 2,
    }
    assert set(one.rules.by) == {job_class("GemJob"), job_class("LiveJob")}
    assert one.rules.paused == {"low"}

    one.serve(known)

    assert not one.rules.paused
    assert job_class("GemJob") not in one.rules.cluster


def test_what_a_gem_asks_for_and_cannot_be_keeps_the_app_from_being_served() -> None:
    gems = {"a-gem": {"rates": {"classes": {"AJob": {"count": 5, "per": 1e9}}}}}

    with pytest.raises(ConfigError, match=r"^a-gem: rates.classes.AJob"):
        regime().check(replace(app({}), gems=gems))
