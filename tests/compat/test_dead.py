"""The dead set: what comes there as it is, and how large it grows (checklist 62 to 64)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devtools.gokiq import Server

from .harness import Stand, assertion

pytestmark = pytest.mark.acceptance

#: Sidekiq's defaults: it trims to one less than it says.
MOST = 10_000 - 1
LIFE_S = 180 * 24 * 3600
#: Nothing that the json gem takes for JSON.
MALFORMED = (
    b"{bad",
    b"",
    b"\xff\xfe\x00",
    b'{"class":"JournalJob","args":[1,',
    b'{"class":"JournalJob","args":[NaN],"jid":"nan"}',
    b"[" * 150 + b"]" * 150,
)


@pytest.fixture(scope="module")
def server(shared: Stand) -> Iterator[Server]:
    with shared.gokiq("-c", "2", app="failing.rb") as server:
        server.wait_ready()
        yield server


@assertion(62, "what is no JSON goes to the dead set as it is, now")
def test_malformed_jobs_are_dead(shared: Stand, server: Server) -> None:
    shared.client.delete("dead")
    shared.push(*MALFORMED)
    count = len(MALFORMED)
    shared.wait(server, lambda: shared.client.zcard("dead") == count, "all had come to dead")

    found: list[tuple[bytes, float]] = shared.client.zrange("dead", 0, -1, withscores=True)
    assert {member for member, _ in found} == set(MALFORMED)
    assert all(abs(score - time.time()) < 30 for _, score in found)
    assert shared.client.llen("queue:default") == 0
    shared.wait(server, lambda: len(_told(shared)) == count, "the error handler had been told")
    assert {tuple(keys) for keys in _told(shared)} == {("context", "jobstr")}


def _told(stand: Stand) -> list[Any]:
    notes = (note for note in stand.said() if note[0] == "error")
    return [note[4] for note in notes if note[3] == "Invalid JSON for job"]


@assertion(64, "Sidekiq's Web UI shows them")
def test_the_web_page_shows_malformed_jobs(shared: Stand, server: Server) -> None:
    shared.push(b"{bad <again>")
    shared.wait(
        server, lambda: shared.client.zscore("dead", b"{bad <again>"), "it had come to dead"
    )
    status, body = shared.ask(
        """
        require "rack/mock_request"
        require "rack/session"
        require "sidekiq/web"
        app = Rack::Session::Cookie.new(Sidekiq::Web.new, secret: "x" * 64)
        page = Rack::MockRequest.new(app).get("/morgue", "HTTP_HOST" => "127.0.0.1")
        [page.status, page.body.dup.force_encoding(Encoding::UTF_8).scrub]
        """
    )
    assert status == 200
    assert "{bad &lt;again&gt;" in body
    assert shared.ask('Sidekiq::DeadSet.new.count { |job| job.value == "{bad <again>" }') == 1


@assertion(63, "it has at most 9,999 jobs, none of them older than 180 days")
def test_the_dead_set_is_trimmed(shared: Stand, server: Server) -> None:
    now = time.time()
    # A margin of a day: whole seconds are not what this is about.
    old = {f'{{"jid":"old{i}"}}': now - LIFE_S - 86_400 - i for i in range(50)}
    young = {f'{{"jid":"young{i}"}}': now - LIFE_S + 86_400 - i for i in range(MOST + 20)}
    shared.client.delete("dead")
    shared.client.zadd("dead", {**old, **young})
    job = shared.payload("RaisingJob", retry=0)
    shared.push(job)

    def last() -> bytes:
        [member] = shared.client.zrange("dead", -1, -1)
        assert isinstance(member, bytes)
        return member

    shared.wait(server, lambda: json.loads(job)["jid"].encode() in last(), "it had died")
    assert shared.client.zcard("dead") == MOST
    kept = {json.loads(member)["jid"] for member in shared.client.zrange("dead", 0, -1)}
    assert not kept & {f"old{i}" for i in range(50)}
    # The oldest make room.
    assert {f"young{i}" for i in range(MOST - 1)} <= kept
    assert shared.ask("Sidekiq::DeadSet.new.size") == MOST
