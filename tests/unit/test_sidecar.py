"""The orchestrator's end of a worker connection, without a socket."""

from __future__ import annotations

import json
import struct

import pytest

from gokiq import core
from gokiq.claiming.takers import Ended
from gokiq.core import Job
from gokiq.workers.connection import WorkerLink


class Ears:
    """A listener that only counts."""

    def __init__(self) -> None:
        self.readies = 0

    def greeted(self, worker: WorkerLink) -> None:
        pass

    def ready(self, worker: WorkerLink) -> None:
        self.readies += 1

    def finished(self, worker: WorkerLink, ended: Ended) -> None:
        pass

    def lost(self, worker: WorkerLink, orphans: list[Job], reason: str) -> None:
        pass


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def link(ears: Ears) -> WorkerLink:
    link = WorkerLink(ears)
    hello = {"protocol": [1], "pid": 7, "sidekiq": {}}
    link.data_received(core.encode_frame(core.HELLO, json.dumps(hello).encode()))
    return link


def give_credit(link: WorkerLink, credit: int) -> None:
    link.data_received(core.encode_frame(core.READY, struct.pack(">I", credit)))


def test_credit_may_change_at_any_time(link: WorkerLink, ears: Ears) -> None:
    give_credit(link, 10)
    assert link.room == 10

    give_credit(link, 3)

    assert (link.room, ears.readies) == (3, 2)


def test_less_credit_than_jobs_out_is_no_room_not_less_than_none(link: WorkerLink) -> None:
    give_credit(link, 10)
    link.send([Job(number, 0, b"{}", 0.0) for number in range(8)])

    give_credit(link, 5)

    assert link.room == 0
