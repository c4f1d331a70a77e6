"""The slots where jobs note their end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.slots import Slots

pytestmark = pytest.mark.unit


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    with Slots(tmp_path / "slots", 4) as slots:
        yield slots


def note_end(slots: Slots, index: int, at_ns: int) -> None:
    # As another process does.
    with slots.path.open("r+b") as file:
        file.seek(index * 8)
        file.write(struct.pack("<Q", at_ns))


def test_slots_are_taken_once_every_job_below_has_ended(slots: Slots) -> None:
    note_end(slots, 0, 10)
    note_end(slots, 2, 30)

    assert slots.are_taken(1)
    assert not slots.are_taken(3)

    note_end(slots, 1, 20)

    assert slots.are_taken(3)
    assert not slots.are_taken(4)


def test_count_and_last_end_look_only_at_their_range(slots: Slots) -> None:
    for index, at_ns in ((0, 99), (1, 40), (3, 30)):
        note_end(slots, index, at_ns)

    assert slots.count_taken(1, 4) == 2
    assert slots.last_end_ns(1, 4) == 40


def test_file_is_gone_when_the_block_is_left(tmp_path: Path) -> None:
    path = tmp_path / "slots"

    with Slots(path, 1):
        assert path.stat().st_size == 8

    assert not path.exists()
