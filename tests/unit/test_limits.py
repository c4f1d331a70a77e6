"""Rules for limits and rates, from all the places where they can be set."""

import pytest

from gokiq.errors import ConfigError
from gokiq.limits.rate import Rate, parse_rate
from gokiq.limits.target import (
    TOTAL,
    Rules,
    Target,
    capsule,
    dependency,
    from_classes,
    from_flags,
    from_redis,
    from_settings,
    job_class,
    parse_target,
    queue,
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("total", TOTAL),
        ("mailers", queue("mailers")),
        ("ImportJob", job_class("ImportJob")),
        ("Billing::ChargeJob", job_class("Billing::ChargeJob")),
        ("class:Billing::ChargeJob", job_class("Billing::ChargeJob")),
        ("queue:Mailers", queue("Mailers")),
        ("queue:a:b", queue("a:b")),
        ("capsule:default", capsule("default")),
        ("dependency:billing-api", dependency("billing-api")),
    ],
)
def test_a_target_is_read_from_its_text(text: str, target: Target) -> None:
    assert parse_target("it", text) == target
    assert parse_target("it", str(target)) == target


@pytest.mark.parametrize("text", ["", "queue:", "nonsense:x", "total:5"])
def test_what_is_no_target_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ConfigError, match="must be a queue, a class, total"):
        parse_target("it", text)


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ("10/s", Rate(10, 1.0, 10)),
        ("100/h", Rate(100, 3600.0, 1)),
        ("100/15m", Rate(100, 900.0, 1)),
        ("10/s burst 50", Rate(10, 1.0, 50)),
        ("1000/h window", Rate(1000, 3600.0, 1, True)),
        ({"count": 5, "per": 2.5}, Rate(5, 2.5, 2)),
        ({"count": 5, "per": 60, "window": True}, Rate(5, 60.0, 1, True)),
        ("1000/h sliding", Rate(1000, 3600.0, is_sliding=True)),
        ({"count": 5, "per": 60, "sliding": True}, Rate(5, 60.0, is_sliding=True)),
    ],
)
def test_a_rate_is_read_in_its_short_and_its_long_form(given: object, rate: Rate) -> None:
    assert parse_rate("it", given) == rate
    assert parse_rate("it", str(rate)) == rate


@pytest.mark.parametrize(
    "given", ["10", "0/s", "10/x", "-1/s", "1/0s", 5, {"per": 5}, {"count": 1, "per": 0}, None]
)
def test_what_is_no_rate_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="it"):
        parse_rate("it", given)


def test_a_key_of_a_rate_that_is_not_known_is_named() -> None:
    with pytest.raises(ConfigError, match=r"it: bucket is none of count, per, burst, window"):
        parse_rate("it", {"count": 1, "bucket": 2})


def test_all_sections_of_the_configuration_are_read() -> None:
    rules = from_settings(
        {
            "limits": {
                "total": 100,
                "queues": {"mailers": 10},
                "classes": {"ImportJob": 5},
                "capsules": {"default": "none"},
                "dependencies": {"api": 3},
            },
            "cluster": {"queues": {"mailers": 20}},
            "rates": {"classes": {"ImportJob": "10/s"}},
            "dependencies": {"api": {"classes": ["ChargeJob"], "queues": ["billing"]}},
            "ignore": ["sidekiq-throttled"],
        }
    )

    assert rules.process == {
        TOTAL: 100,
        queue("mailers"): 10,
        job_class("ImportJob"): 5,
        capsule("default"): None,
        dependency("api"): 3,
    }
    assert rules.cluster == {queue("mailers"): 20}
    assert rules.rates == {job_class("ImportJob"): Rate(10, 1.0)}
    assert rules.dependencies == {job_class("ChargeJob"): "api", queue("billing"): "api"}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"limits": {"queues": {"mailers": "x"}}}, r"gokiq: limits.queues.mailers 'x': must be a"),
        ({"limits": {"queues": {"mailers": -1}}}, r"gokiq: limits.queues.mailers -1: must be a"),
        ({"limits": {"queues": {"mailers": True}}}, r"limits.queues.mailers True: must be a"),
        ({"limits": {"queue": {"mailers": 1}}}, r"gokiq: limits.queue: is none of total, "),
        ({"limit": {"total": 1}}, r"gokiq: limit: is none of limits, cluster, "),
        ({"limits": 5}, r"gokiq: limits 5: must be a mapping"),
        ({"cluster": {"classes": [1]}}, r"gokiq: cluster.classes \[1\]: must be a mapping"),
        ({"rates": {"queues": {"mailers": 5}}}, r"gokiq: rates.queues.mailers 5: must be a rate"),
        ({"dependencies": {"api": {"classes": "A"}}}, r"dependencies.api.classes 'A': must be a"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(
    settings: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        from_settings(settings)


def test_classes_limit_themselves() -> None:
    rules = from_classes(
        {
            "ImportJob": {"limit": 5, "rate": "1/s", "dependency": "api"},
            "MailJob": {"cluster_limit": 2},
        }
    )

    assert rules.process == {job_class("ImportJob"): 5}
    assert rules.cluster == {job_class("MailJob"): 2}
    assert rules.rates == {job_class("ImportJob"): Rate(1, 1.0)}
    assert rules.dependencies == {job_class("ImportJob"): "api"}
    with pytest.raises(ConfigError, match=r"MailJob: sidekiq_options gokiq_limit 'many'"):
        from_classes({"MailJob": {"limit": "many"}})


def test_flags_name_target_and_scope() -> None:
    rules = from_flags(
        ["total=9", "queue:mailers=10", "cluster:queue:mailers=20", "ImportJob=5", "mailers=3/s"]
    )

    assert rules.process == {TOTAL: 9, queue("mailers"): 10, job_class("ImportJob"): 5}
    assert rules.cluster == {queue("mailers"): 20}
    assert rules.rates == {queue("mailers"): Rate(3, 1.0)}
    for wrong in ("mailers", "=5", "mailers=x", "what:mailers=5"):
        with pytest.raises(ConfigError, match="--limit"):
            from_flags([wrong])


def test_what_redis_says_is_read_and_what_we_do_not_know_is_left_out() -> None:
    rules = from_redis(
        {
            "process:queue:a": "5",
            "cluster:total": "none",
            "rate:class:A": "1/s",
            "tomorrow:queue:a": "5",
            "process:planet:a": "5",
            "process:queue:b": "many",
        },
        ["low"],
    )

    assert rules == Rules(
        {queue("a"): 5}, {TOTAL: None}, {job_class("A"): Rate(1, 1.0)}, frozenset({"low"})
    )


def test_what_is_said_later_counts_and_may_lift_a_limit() -> None:
    file = Rules({queue("a"): 5, queue("b"): 5}, {TOTAL: 9})
    operator = Rules({queue("a"): None, queue("b"): 6}, paused=frozenset({"a"}))

    both = operator.over(file).in_force()

    assert both == Rules({queue("b"): 6}, {TOTAL: 9}, paused=frozenset({"a"}))
    assert not Rules().in_force()
    assert not Rules({TOTAL: None}).in_force()
    assert both.targets() == {queue("b"), TOTAL}


def test_who_said_a_limit_or_a_pause_is_known_until_somebody_else_says_it() -> None:
    gem = Rules(
        {queue("a"): 1},
        {queue("b"): 2, queue("c"): 3},
        paused=frozenset({"x", "y"}),
    ).said_by("a-gem")
    ours = Rules(cluster={queue("b"): 9, queue("d"): 4}, paused=frozenset({"y", "z"}))

    both = ours.over(gem).in_force()

    assert both.cluster == {queue("b"): 9, queue("c"): 3, queue("d"): 4}
    assert both.by == {queue("a"): "a-gem", queue("c"): "a-gem"}
    assert both.paused == {"x", "y", "z"}
    assert both.paused_by == {"x": "a-gem"}
