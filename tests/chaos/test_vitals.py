"""What counts as flat in a soak."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from .vitals import Series


def series(values: Iterable[float]) -> Series:
    one = Series(slack=4, share=0.1)
    for i, value in enumerate(values):
        one.add(10.0 * i, value)
    return one


def test_what_grows_only_while_it_warms_up_is_flat() -> None:
    trend = series([10, 20, 30, *[40] * 30]).trend()

    assert trend.is_flat
    assert (trend.first, trend.last, trend.per_hour) == (40, 40, 0)


def test_a_leak_is_not_flat() -> None:
    trend = series(50 + 0.5 * i for i in range(60)).trend()

    assert not trend.is_flat
    assert trend.per_hour == pytest.approx(180)


def test_a_spike_is_no_leak() -> None:
    assert series([50] * 25 + [500] + [50] * 25).trend().is_flat


def test_what_shrinks_is_flat() -> None:
    assert series(float(100 - i) for i in range(60)).trend().is_flat


def test_few_samples_tell_nothing() -> None:
    with pytest.raises(ValueError, match="2 samples"):
        series([1, 2]).trend()
