"""A real Sidekiq and gokiq-fast work on one Redis, come and go, and no job notices.

MIXED_FLEET_S is the time that jobs are pushed for, MIXED_FLEET_SEED chooses another stream.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .harness import Stand, assertion
from .mixed_fleet import CARGO, SLOTS, Clock, Fleet

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

SECONDS = float(os.environ.get("MIXED_FLEET_S", "20"))
#: Each side goes and comes back once in so long, or in SECONDS if that is shorter.
ROUND_S = 20
BOTH = {"sidekiq", "gokiq"}
SEED = int(os.environ.get("MIXED_FLEET_SEED", "1"))


@pytest.fixture
def fleet(stand: Stand) -> Iterator[Fleet]:
    fleet = Fleet(stand)
    yield fleet
    fleet.close()


@assertion(105, "a mixed fleet: counts add up, no job lost or doubled")
@pytest.mark.timeout(3 * SECONDS + 120)
def test_counts_add_up_by_jid_while_both_come_and_go(stand: Stand, fleet: Fleet) -> None:
    fleet.start_sidekiq()
    fleet.start_gokiq()
    rounds = max(1, round(SECONDS / ROUND_S))
    fleet.push(SECONDS, SEED)
    for _ in range(rounds):
        clock = Clock(SECONDS / rounds)
        see_both_at_work(fleet)
        clock.wait_for(0.5)
        swap(fleet, clock, 0.65)
        roll_back(fleet, clock, 0.85)
    fleet.finish(SECONDS + 30)
    fleet.end_gokiq()
    fleet.end_sidekiq()

    # By jid: pushed = done + dead + discarded, each in one of them, once.
    account = fleet.account()
    assert len(account.pushed) > 20 * SECONDS
    assert account.missing() == set()
    assert account.twice() == set()
    assert account.strays() == set()
    assert account.dead == account.of_kinds("hopeless")
    assert account.discarded == account.of_kinds("discarded", "once")
    assert fleet.unlisted(account.of_kinds("list")) == {}
    assert fleet.left() == 0

    # The counters tell what the jobs tell.
    runs = stand.runs()
    assert all(run.outcome for run in runs)
    assert stand.int("stat:processed") == len(runs)
    assert stand.int("stat:failed") == sum(run.outcome == "fail" for run in runs)

    # Both had their share, of what the other had failed at, too; nothing was damaged on the way.
    shares = fleet.shares()
    assert min(shares[side] for side in BOTH) > 0.2 * len(runs), shares
    assert {("sidekiq", "gokiq"), ("gokiq", "sidekiq")} <= fleet.handed_over()
    assert [values for name, *values in stand.said() if name == "damaged"] == []
    for job, _ in stand.members("dead"):
        assert job["cargo"] == CARGO
        assert job["tags"] == ["hopeless"]
        assert job["last_words"] == "é"
        assert job["retry_count"] == 1
        assert job["pushes"] == 2
        assert job["failed_at"] < job["retried_at"]


def see_both_at_work(fleet: Fleet) -> None:
    """Until each has told of its running jobs at a heartbeat."""
    fleet.wait("both were registered", lambda: fleet.processes() == BOTH)
    # More than one side can take.
    fleet.push_steady(SLOTS + 2)
    fleet.wait("both told of their jobs", lambda: fleet.working() == BOTH)


def swap(fleet: Fleet, clock: Clock, until: float) -> None:
    """Sidekiq goes, gokiq goes on alone, Sidekiq comes back."""
    gokiq_said = fleet.record("gokiq")
    fleet.end_sidekiq()
    fleet.wait("gokiq was alone", lambda: fleet.processes() == {"gokiq"})
    clock.wait_for(until)
    fleet.start_sidekiq()
    fleet.wait("Sidekiq was back", lambda: fleet.processes() == BOTH)
    assert fleet.record("gokiq") == gokiq_said


def roll_back(fleet: Fleet, clock: Clock, until: float) -> None:
    """gokiq is quieted and goes, Sidekiq goes on alone, gokiq comes back."""
    sidekiq_said = fleet.record("sidekiq")
    fleet.quiet("gokiq")
    fleet.end_gokiq()
    assert fleet.claims() == 0
    fleet.wait("Sidekiq was alone", lambda: fleet.processes() == {"sidekiq"})
    clock.wait_for(until)
    fleet.start_gokiq()
    fleet.wait("gokiq was back", lambda: fleet.processes() == BOTH)
    assert fleet.record("sidekiq") == sidekiq_said
