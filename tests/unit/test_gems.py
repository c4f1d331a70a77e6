"""What gems of the app limit and pause, from what HELLO and their keys in Redis say."""

from __future__ import annotations

from typing import Any

import pytest

from gokiq.errors import ConfigError
from gokiq.limits.gems import NONE, Gems, Reading
from gokiq.limits.rate import Rate
from gokiq.limits.target import Rules, dependency, job_class, queue

THROTTLED = {
    "cluster": {"classes": {"OneJob": 1}, "dependencies": {"throttled:shared": 2}},
    "rates": {"classes": {"OneJob": {"count": 5, "per": 60.0, "sliding": True}}},
    "dependencies": {"throttled:shared": {"classes": ["AJob", "BJob"]}},
}
LIMIT_FETCH = {
    "live": "limit_fetch",
    "cluster": {"queues": {"a": 2, "elsewhere": 5}},
    "limits": {"queues": {"b": 3}},
}


def test_an_app_without_gems_asks_nothing() -> None:
    assert (NONE.seeds(), NONE.tracked(), NONE.untracked()) == ([], [], [])
    assert NONE.read([], []) == Reading()
    assert not NONE.fixed


def test_what_a_registry_said_at_boot_is_fixed() -> None:
    fixed = Gems({"sidekiq-throttled": THROTTLED}, ["default"]).fixed

    assert fixed.cluster == {job_class("OneJob"): 1, dependency("throttled:shared"): 2}
    assert fixed.rates == {job_class("OneJob"): Rate(5, 60.0, is_sliding=True)}
    assert fixed.dependencies == dict.fromkeys(
        (job_class("AJob"), job_class("BJob")), "throttled:shared"
    )
    assert set(fixed.by.values()) == {"sidekiq-throttled"}


def test_a_set_of_paused_queues() -> None:
    gems = Gems({"sidekiq-pauzer": {"paused": "sidekiq-pauzer"}}, ["a"])

    assert gems.tracked() == [("SMEMBERS", "sidekiq-pauzer")]
    assert gems.read([[b"a", b"b"]], []).rules == Rules(
        paused=frozenset({"a", "b"}), paused_by=dict.fromkeys("ab", "sidekiq-pauzer")
    )


def test_keys_of_each_queue() -> None:
    gems = Gems({"sidekiq-limit_fetch": LIMIT_FETCH}, ["a", "b"])

    assert gems.seeds() == [
        ("SET", "limit_fetch:limit:a", 2, "NX"),
        ("SET", "limit_fetch:process_limit:b", 3, "NX"),
    ]
    assert gems.tracked()[0][:5] == (
        *("MGET", "limit_fetch:limit:a", "limit_fetch:process_limit:a"),
        *("limit_fetch:pause:a", "limit_fetch:block:a"),
    )
    assert gems.untracked() == [("PTTL", "limit_fetch:pause:a"), ("PTTL", "limit_fetch:pause:b")]
    assert not gems.fixed, "once they are written, the keys alone count"

    read = gems.read([[b"4", b"3", None, None, None, None, b"1", b"1"]], [-2, 1500])

    assert read.rules.cluster == {queue("a"): 4}
    assert read.rules.process == {queue("a"): 3}
    assert read.rules.paused == {"b"}
    assert set(read.rules.by.values()) == {"sidekiq-limit_fetch"}
    assert read.again_s == 1.5
    assert read.doubts == ("sidekiq-limit_fetch: limit_fetch:block:b holds up no queue here",)


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (b"0", 0),
        (b"-1", 0),
        (b"2.5", 3),
        (b"many", None),
        (b"", None),
        (b"nan", None),
        (b"inf", None),
    ],
)
def test_a_limit_is_read_as_the_gem_does(value: bytes, limit: int | None) -> None:
    gems = Gems({"sidekiq-limit_fetch": {"live": "limit_fetch"}}, ["a"])

    assert gems.read([[value, None, None, None]], [-2]).rules.cluster.get(queue("a")) == limit


def test_two_gems_add_up() -> None:
    gems = Gems({"sidekiq-limit_fetch": LIMIT_FETCH, "p": {"paused": "set"}}, ["a"])

    read = gems.read([[b"2", None, b"1", None], [b"c"]], [-1])

    assert read.rules.paused_by == {"a": "sidekiq-limit_fetch", "c": "p"}
    assert read.rules.cluster == {queue("a"): 2}
    assert read.again_s is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rates": {"classes": {"AJob": {"count": 5, "per": 1e9}}}}, r"^gem: rates.classes.AJob"),
        ({"nope": 1}, r"^gem: nope: is none of"),
    ],
)
def test_what_cannot_be_is_said_with_the_name_of_the_gem(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Gems({"gem": given}, ["a"])
