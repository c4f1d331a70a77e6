"""Sidekiq's API and Web UI see a process as they see their own (checklist 1 to 12)."""

from __future__ import annotations

import time

import pytest

from .harness import IDENTITY, Stand, assertion

pytestmark = pytest.mark.acceptance


@assertion(1, "registered within two seconds of its start, as host:pid:nonce")
@assertion(10, "rss in kB, round trip in µs")
def test_the_record_is_there_at_once(stand: Stand) -> None:
    with stand.gokiq("-c", "7") as server:
        server.wait_ready()
        began = time.monotonic()
        stand.wait(server, lambda: stand.client.scard("processes"), "it had registered")
        assert time.monotonic() - began < 2
        assert IDENTITY.fullmatch(stand.identity().encode())
        assert int(stand.client.hget(stand.identity(), "rss") or 0) > 1000
        assert int(stand.client.hget(stand.identity(), "rtt_us") or 0) > 0
