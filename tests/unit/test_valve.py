"""Slots."""

import pytest

from gokiq.claiming.slots import Valve


def test_free_is_what_the_limit_leaves() -> None:
    valve = Valve({"default": 5, "mail": 2})

    valve.take("default", 3)

    assert valve.free("default") == 2
    assert valve.free("mail") == 2
    assert (valve.taken, valve.limit) == (3, 7)


def test_claims_found_after_an_outage_may_exceed_the_limit_but_free_never_goes_below_zero() -> None:
    valve = Valve({"default": 2})

    valve.take("default", 5)

    assert valve.free("default") == 0
    valve.release("default", 4)
    assert valve.free("default") == 1


def test_releasing_more_than_was_taken_is_an_error() -> None:
    valve = Valve({"default": 2})
    valve.take("default", 1)

    with pytest.raises(ValueError, match="2 slots released"):
        valve.release("default", 2)


def test_what_is_about_to_be_released_counts_as_free_only_within_the_limit() -> None:
    valve = Valve({"default": 2})
    valve.take("default", 5)

    assert valve.free("default", 3) == 0
    assert valve.free("default", 4) == 1


def test_new_limits_leave_what_was_taken() -> None:
    valve = Valve({"default": 5, "mail": 2})
    valve.take("default", 4)
    valve.take("mail", 1)

    valve.resize({"default": 3, "letters": 1})

    assert [valve.free(name) for name in ("default", "mail", "letters")] == [0, 0, 1]
    assert (valve.taken, valve.limit) == (5, 4)
    valve.release("mail", 1)
    assert valve.free("mail") == 0


def test_room_that_is_short_goes_first_to_the_capsule_that_uses_least_of_its_slots() -> None:
    valve = Valve({"a": 40, "b": 10, "c": 10})
    valve.take("a", 20)

    assert valve.share(60, {"a": 20, "b": 10, "c": 3}, {}) == {"a": 20, "b": 10, "c": 3}
    assert valve.share(10, {"a": 20, "b": 10, "c": 10}, {}) == {"a": 0, "b": 5, "c": 5}
    assert valve.share(16, {"a": 20, "b": 10, "c": 10}, {}) == {"a": 4, "b": 6, "c": 6}
    assert valve.share(10, {"a": 20, "b": 2, "c": 0}, {}) == {"a": 8, "b": 2, "c": 0}
    assert valve.share(30, {"a": 40, "b": 10}, {"a": 20}) == {"a": 24, "b": 6}
    assert valve.share(0, {"a": 20, "b": 10}, {}) == {"a": 0, "b": 0}
