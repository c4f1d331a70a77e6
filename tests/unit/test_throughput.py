"""Jobs a second over the last minute."""

from gokiq.observe.throughput import Throughput


def test_the_pace_is_that_since_the_start_and_later_since_the_last_sample_a_minute_ago() -> None:
    pace = Throughput(100.0)

    assert pace.per_s(110.0, {"a": 50}) == {"a": 5.0}
    for second in range(100, 400, 10):
        pace.sample(float(second), {"a": second})
    assert pace.per_s(400.0, {"a": 390 + 70}) == {"a": (460 - 330) / 70}


def test_the_first_moment_promises_nothing() -> None:
    assert Throughput(0.0).per_s(0.0, {"a": 3}) == {"a": 3.0}
