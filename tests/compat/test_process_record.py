"""Sidekiq's API and Web UI see a process as they see their own (checklist 1 to 12)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.gokiq import Server

from .harness import IDENTITY, Stand, assertion
from .life import wait_identity

pytestmark = pytest.mark.acceptance

#: Both capsules of capsules.rb together.
TOTAL = 8
ARGS = ("-c", "7", "-g", "shop", "-q", "critical,3", "-q", "default")


@pytest.fixture(scope="module")
def server(shared: Stand) -> Iterator[Server]:
    with shared.gokiq(*ARGS, app="capsules.rb") as server:
        server.wait_ready()
        wait_identity(shared, server)
        yield server


def info(stand: Stand) -> dict[str, Any]:
    """The frozen part of the record."""
    found: dict[str, Any] = json.loads(stand.client.hget(stand.identity(), "info") or b"")
    return found


@assertion(1, "registered within two seconds of its start, as host:pid:nonce")
def test_the_record_is_there_at_once(stand: Stand) -> None:
    with stand.gokiq() as server:
        server.wait_ready()
        began = time.monotonic()
        identity = wait_identity(stand, server)

    assert time.monotonic() - began < 2
    assert IDENTITY.fullmatch(identity.encode())


@pytest.mark.usefixtures("server")
class TestRecord:
    """What one running process has written, two capsules and a tag configured."""

    @assertion(3, "all fields of the record; concurrency is one of them")
    def test_it_has_every_field(self, shared: Stand) -> None:
        fields = set(shared.client.hkeys(shared.identity()))

        # Sidekiq 7 has its concurrency in `info` alone; one more field does not disturb it.
        assert fields >= {b"info", b"busy", b"beat", b"rtt_us", b"quiet", b"rss", b"concurrency"}

    @assertion(4, "quiet is the word false")
    def test_it_says_that_it_is_not_quiet(self, shared: Stand) -> None:
        assert shared.client.hget(shared.identity(), "quiet") == b"false"

    @assertion(5, "info has all that the Busy page shows, in the types that it expects")
    def test_info_tells_who_it_is(self, shared: Stand, server: Server) -> None:
        found = info(shared)

        assert shared.identity().startswith(f"{found['hostname']}:{found['pid']}:")
        assert found["pid"] == server.pid
        assert isinstance(found["started_at"], float)
        assert abs(found["started_at"] - time.time()) < 600
        assert found["tag"] == "shop"
        assert found["queues"] == ["critical", "default", "solo"]
        assert found["labels"] == ["blue"]
        assert found["identity"] == shared.identity()
        assert found["version"] == shared.ask("Sidekiq::VERSION")
        assert found["embedded"] is False

    @assertion(6, "each capsule has its concurrency, mode and weights")
    def test_info_tells_the_capsules(self, shared: Stand) -> None:
        # Sidekiq 7 does not write it; its readers do not mind.
        assert info(shared)["capsules"] == {
            "default": {
                "concurrency": TOTAL - 1,
                "mode": "weighted",
                "weights": {"critical": 3, "default": 0},
            },
            "single": {"concurrency": 1, "mode": "strict", "weights": {"solo": 0, "default": 0}},
        }

    @assertion(7, "weights are one object for each capsule")
    def test_info_tells_the_weights(self, shared: Stand) -> None:
        assert info(shared)["weights"] == [
            {"critical": 3, "default": 0},
            {"solo": 0, "default": 0},
        ]

    @assertion(8, "the API adds up the capsules' concurrency")
    def test_the_api_counts_all_slots(self, shared: Stand) -> None:
        assert shared.ask("Sidekiq::ProcessSet.new.total_concurrency") == TOTAL

    @assertion(9, "the API finds the process: not stopping, not embedded")
    def test_the_api_finds_it(self, shared: Stand) -> None:
        found = shared.ask(
            f'p = Sidekiq::ProcessSet["{shared.identity()}"];'
            " [p.identity, p.stopping?, p.embedded?, p.tag, p.queues, p.labels, p.version]"
        )

        assert found[0] == shared.identity()
        assert found[1:3] == [False, False]
        assert found[3:6] == ["shop", ["critical", "default", "solo"], ["blue"]]
        assert found[6] == shared.ask("Sidekiq::VERSION")

    @assertion(10, "rss in kB, round trip in µs")
    def test_it_measures_itself(self, shared: Stand) -> None:
        rss = int(shared.client.hget(shared.identity(), "rss") or 0)
        rtt = int(shared.client.hget(shared.identity(), "rtt_us") or 0)

        assert 1000 < rss < 4_000_000
        assert 0 < rtt < 5_000_000

    @assertion(2, "the record is renewed every ten seconds and lives for sixty")
    @pytest.mark.slow
    def test_it_is_renewed_in_time(self, shared: Stand, server: Server) -> None:
        def beat() -> float:
            assert 1 <= shared.client.ttl(shared.identity()) <= 60
            return float(shared.client.hget(shared.identity(), "beat") or 0)

        def next_beat(after: float) -> float:
            shared.wait(server, lambda: beat() > after, "the next heartbeat had come")
            return beat()

        first = next_beat(beat())
        second = next_beat(first)

        # Two seconds for a machine that is busy.
        assert 5 < second - first < 12


@assertion(11, "$DYNO is host and hostname")
def test_on_heroku_the_dyno_is_the_host(stand: Stand) -> None:
    with stand.gokiq(env={"DYNO": "web.1"}) as server:
        identity = wait_identity(stand, server)
        hostname = info(stand)["hostname"]

    assert identity.startswith("web.1:")
    assert hostname == "web.1"


RAILS_APP = """\
require "rails"
require "sidekiq/rails"

class ShopApp < Rails::Application
  config.root = File.expand_path("..", __dir__)
  config.eager_load = false
  config.secret_key_base = "only for tests"
  config.logger = Logger.new($stdout, level: Logger::WARN)
  config.active_support.isolation_level = :fiber
  config.enable_reloading = false if Rails.gem_version >= Gem::Version.new("7.1")
end
"""
RAILS_BOOT = 'require_relative "application"\nRails.application.initialize!\n'


@assertion(12, "the tag is the Rails root's name, the app's name under Capistrano, or that of -g")
@pytest.mark.parametrize(
    ("place", "args", "tag"),
    [
        ("shop", (), "shop"),
        ("market/releases/20260131", (), "market"),
        ("shop", ("-g", "x"), "x"),
    ],
    ids=["Rails root", "Capistrano", "-g"],
)
def test_the_tag(stand: Stand, tmp_path: Path, place: str, args: tuple[str, ...], tag: str) -> None:
    root = tmp_path / place
    (root / "config").mkdir(parents=True)
    (root / "config" / "application.rb").write_text(RAILS_APP)
    (root / "config" / "environment.rb").write_text(RAILS_BOOT)
    with stand.gokiq(*args, app=str(root)) as server:
        wait_identity(stand, server)
        found = info(stand)["tag"]

    assert found == tag
