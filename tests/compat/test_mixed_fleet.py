"""A real Sidekiq and gokiq-fast work on one Redis, come and go, and no job notices.

MIXED_FLEET_S is the time that jobs are pushed for, MIXED_FLEET_SEED chooses another stream.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .harness import Stand, assertion
from .mixed_fleet import Clock, Fleet

pytestmark = pytest.mark.acceptance

SECONDS = float(os.environ.get("MIXED_FLEET_S", "20"))
BOTH = {"sidekiq", "gokiq"}
#: What mixed.rb loads on every job.
CARGO = {"deep": [1, None, 2**70, "é\u2028", {"f": 0.1}]}
SEED = int(os.environ.get("MIXED_FLEET_SEED", "1"))


@pytest.fixture
def fleet(stand: Stand) -> Iterator[Fleet]:
    fleet = Fleet(stand)
    yield fleet
    fleet.close()


@assertion(105, "a mixed fleet: counts add up, no job lost or doubled")
@pytest.mark.timeout(SECONDS + 120)
def test_counts_add_up_by_jid_while_both_come_and_go(stand: Stand, fleet: Fleet) -> None:
    fleet.start_sidekiq()
    fleet.start_gokiq()
    clock = Clock(SECONDS)
    fleet.push(SECONDS, SEED)

    # Both, until each has told of its running jobs at a heartbeat.
    fleet.wait("both were registered", lambda: fleet.processes() == BOTH)
    fleet.wait("both told of their jobs", lambda: fleet.working() == BOTH)
    gokiq_said = fleet.record("gokiq")
    clock.wait_for(0.5)

    # Sidekiq goes, gokiq goes on alone: the swap.
    fleet.end(fleet.sidekiq)
    fleet.wait("gokiq was alone", lambda: fleet.processes() == {"gokiq"})
    clock.wait_for(0.65)
    fleet.start_sidekiq()
    fleet.wait("Sidekiq was back", lambda: fleet.processes() == BOTH)
    assert fleet.record("gokiq") == gokiq_said
    sidekiq_said = fleet.record("sidekiq")

    # gokiq is quieted and goes, Sidekiq goes on alone: the rollback.
    fleet.quiet("gokiq")
    fleet.end(fleet.gokiq)
    assert fleet.claims() == 0
    fleet.wait("Sidekiq was alone", lambda: fleet.processes() == {"sidekiq"})
    clock.wait_for(0.85)
    fleet.start_gokiq()
    fleet.wait("gokiq was back", lambda: fleet.processes() == BOTH)
    assert fleet.record("sidekiq") == sidekiq_said

    fleet.finish(SECONDS + 30)
    fleet.end(fleet.gokiq)
    fleet.end(fleet.sidekiq)

    # By jid: pushed = done + dead + discarded, each in one of them, once.
    account = fleet.account()
    assert len(account.pushed) > 20 * SECONDS
    assert account.missing() == set()
    assert account.twice() == set()
    assert account.strays() == set()
    assert account.dead == account.of_kinds("hopeless")
    assert account.discarded == account.of_kinds("discarded", "once")
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
