"""The work set of a process that runs more jobs than a page can show."""

from __future__ import annotations

import json
import signal

import pytest

from .harness import Stand
from .life import wait_identity, wait_quiet

pytestmark = pytest.mark.acceptance

RUNNING = 1500
#: As many as the work set shows.
SHOWN = 1000


def test_the_work_set_shows_the_oldest_and_busy_is_exact(stand: Stand) -> None:
    jobs = [stand.payload("SleepJob", 600) for _ in range(RUNNING)]
    stand.push(*jobs)
    with stand.gokiq("-c", "2000", "-t", "1") as server:
        stand.wait(server, lambda: len(stand.runs()) == RUNNING, "all had started")
        identity = wait_identity(stand, server)
        # A beat comes with it, now.
        server.send_signal(signal.SIGTSTP)
        wait_quiet(stand, server, identity)

        assert stand.client.hget(identity, "busy") == str(RUNNING).encode()
        assert stand.client.hlen(f"{identity}:work") == SHOWN
        work = [json.loads(entry) for entry in stand.client.hvals(f"{identity}:work")]
        assert sorted(entry["payload"] for entry in work) == sorted(
            job.decode() for job in jobs[:SHOWN]
        )
        assert {type(entry["run_at"]) for entry in work} == {int}
        assert stand.ask("Sidekiq::WorkSet.new.size") == RUNNING
        assert stand.ask("Sidekiq::WorkSet.new.count") == SHOWN
        jid = json.loads(jobs[0])["jid"]
        if stand.version.is_8:
            assert stand.ask(f'Sidekiq::WorkSet.new.find_work("{jid}").job.jid') == jid
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0

    assert sorted(stand.client.lrange("queue:default", 0, -1)) == sorted(jobs)
    assert not stand.client.exists(f"{identity}:work")
