"""Sidekiq's own Web UI in a real browser, beside gokiq-fast: every tab, and every button that
changes something. Pictures of the pages are left in tmp/web/.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devtools.browser import Browser, Fault
from devtools.child import Child
from devtools.gokiq import Server
from devtools.programs import ROOT
from devtools.redis_server import RedisServer
from tests.compat.harness import V7, V8, Stand, Version, assertion

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

HERE = Path(__file__).parent
#: A heartbeat is due every ten seconds; the rest is for a machine that is busy.
BEAT_S = 30.0
FAR = time.time() + 3600
#: The place where class SleepJob waits, as a line of a backtrace.
ASLEEP = re.compile(r"app\.rb:\d+:in .*perform")
TABS = ["/", "/busy", "/queues", "/queues/other", "/retries", "/scheduled", "/morgue"]
TABS += ["/metrics", "/metrics/FailingJob"]


@pytest.fixture(
    params=[V8, pytest.param(V7, marks=pytest.mark.slow)], ids=lambda version: version.name
)
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@pytest.fixture
def stand(version: Version, tmp_path: Path) -> Iterator[Stand]:
    with RedisServer() as redis:
        stand = Stand(version, redis, tmp_path)
        yield stand
        stand.close()


class Web:
    """The Web UI of the stand's Sidekiq, opened in a browser."""

    def __init__(self, stand: Stand, browser: Browser, assets: Path) -> None:
        self._version = stand.version
        self.browser = browser
        self._assets = assets

    def open(self, path: str, name: str = "") -> str:
        """Open a page, look for faults, take its picture, and return its text."""
        assert self.browser.visit(path) == 200, path
        return self.look(name or path.strip("/").replace("/", "-") or "dashboard")

    def look(self, name: str) -> str:
        """Judge the page that is open."""
        self.browser.screenshot(ROOT / "tmp" / "web" / f"{self._version.name}-{name}.png")
        text = self.browser.text()
        assert self.faults() == [], name
        assert not re.search(r"Internal Server Error|Puma caught this error", text), text
        return text

    def faults(self) -> list[Fault]:
        """What went wrong, without scripts and styles that the gem, as installed, has not got:
        Debian's package leaves some out.
        """
        return [fault for fault in self.browser.faults if not self._is_unpackaged(fault)]

    def _is_unpackaged(self, fault: Fault) -> bool:
        asset = urlsplit(fault.url).path.lstrip("/")
        return (
            asset.startswith(("javascripts/", "stylesheets/"))
            and fault.what in ("GET answered with 404", "GET failed: net::ERR_ABORTED")
            and not (self._assets / asset).exists()
        )

    def summary(self) -> dict[str, int]:
        """The bar of numbers that is on every page."""
        names = ["Processed", "Failed", "Busy", "Enqueued", "Retries", "Scheduled", "Dead"]
        page = self.browser.page
        return {name: int(page.locator(f"#txt{name}").inner_text()) for name in names}

    def cards(self) -> dict[str, str]:
        """The numbers at the head of the Busy page, by their names."""
        cards = self.browser.page.locator("h3 + p")
        return {card.inner_text(): card.locator("xpath=../h3").inner_text() for card in cards.all()}

    def press_on(self, path: str, jid_or_text: str, button: str) -> None:
        """Tick the row of a list and press the button below it."""
        self.open(path)
        self.browser.row(jid_or_text).get_by_role("checkbox").check()
        self.browser.press(button)


@contextmanager
def serving(stand: Stand) -> Iterator[Web]:
    """The Web UI in a process of its own, and a browser on it."""
    log = stand.folder / "web.log"
    env = {"REDIS_URL": stand.redis.url}
    argv = [stand.version.ruby, HERE / "web_ui.rb"]
    with Child(argv, log=log, env=env, cwd=ROOT, name="web_ui.rb") as child:
        child.wait_until(lambda: '{"port"' in log.read_text(), timeout_s=45, what="it served")
        [line] = [line for line in log.read_text().splitlines() if line.startswith('{"port"')]
        told = json.loads(line)
        with Browser(f"http://127.0.0.1:{told['port']}") as browser:
            yield Web(stand, browser, Path(told["assets"]))


def push(
    stand: Stand, job_class: str, *args: object, queue: str = "default", **more: object
) -> str:
    """Push one job; returns its jid."""
    job = stand.payload(job_class, *args, queue=queue, **more)
    stand.push(job, queue=queue)
    return str(json.loads(job)["jid"])


def schedule(stand: Stand, job_class: str, *args: object, at: float = FAR) -> str:
    """Put one job into the scheduled set; returns its jid."""
    job = stand.payload(job_class, *args, enqueued_at=None)
    stand.client.zadd("schedule", {job: at})
    return str(json.loads(job)["jid"])


def jids(stand: Stand, key: str) -> set[str]:
    """The jids of a queue or of a sorted set."""
    client = stand.client
    members = client.lrange(key, 0, -1) if key.startswith("queue:") else client.zrange(key, 0, -1)
    return {json.loads(member)["jid"] for member in members}


def wait_ended(stand: Stand, server: Server, count: int) -> None:
    """Wait until that many runs have ended, well or not."""
    stand.wait(server, lambda: stand.int("stat:processed") == count, f"{count} runs had ended")


def postpone(stand: Stand) -> None:
    """No retry is due during the test."""
    for i, member in enumerate(stand.client.zrange("retry", 0, -1)):
        stand.client.zadd("retry", {member: FAR + i})


@assertion(99, "every tab of the Web UI opens while gokiq runs, and shows the right numbers")
@assertion(64, "the Dead page opens with a job that is no JSON")
def test_every_tab_opens_and_shows_the_right_numbers(stand: Stand) -> None:
    for _ in range(3):
        push(stand, "SleepJob", 0.05)
    failing = push(stand, "FailingJob", "so sorry")
    dying = push(stand, "FailingJob", "the end", retry=0)
    stand.push(b"{bad")
    waiting = [push(stand, "JournalJob", i, queue="other") for i in range(4)]
    later = [schedule(stand, "JournalJob", i) for i in range(2)]
    with (
        stand.gokiq("-c", "7", "-g", "shop", "-q", "default", "-t", "1") as server,
        serving(stand) as web,
    ):
        stand.wait(server, lambda: stand.client.zcard("dead") == 2, "two had died")
        stand.wait(server, lambda: stand.client.zcard("retry") == 1, "one was to be retried")
        wait_ended(stand, server, 5)
        postpone(stand)
        running = push(stand, "SleepJob", 600)
        identity = stand.identity()
        stand.wait(
            server, lambda: stand.client.exists(f"{identity}:work"), "its work showed", BEAT_S
        )
        stand.wait(server, lambda: stand.client.keys("j|*"), "metrics were written", BEAT_S)

        numbers = {
            "Processed": 5,
            "Failed": 2,
            "Busy": 1,
            "Enqueued": 4,
            "Retries": 1,
            "Scheduled": 2,
            "Dead": 2,
        }
        pages = {}
        for path in TABS + (["/profiles"] if stand.version.is_8 else []):
            pages[path] = web.open(path)
            assert web.summary() == numbers, path

        web.browser.visit("/busy")
        cards = web.cards()
        assert {name: cards[name] for name in ("Processes", "Threads", "Busy", "Utilization")} == {
            "Processes": "1",
            "Threads": "7",
            "Busy": "1",
            "Utilization": "14%",
        }
        assert re.fullmatch(r"[1-9][\d,.]* [MG]B", cards["RSS"])
        hostname, pid, _ = identity.split(":")
        process = web.browser.row(f"{hostname}:{pid} shop").inner_text()
        assert "default" in process
        assert re.search(r"\b7\s+1\b", process), process
        job = web.browser.row(running).inner_text().split("\t")
        assert [part.strip() for part in job[:1] + job[3:6]] == [
            identity,
            "default",
            "SleepJob",
            "600",
        ]

        assert [
            line for line in pages["/queues"].splitlines() if re.match(r"(default|other)\t", line)
        ][-1].startswith("other\t4")
        assert pages["/queues/other"].count("JournalJob") == len(waiting)
        assert "ArgumentError: so sorry" in pages["/retries"]
        assert pages["/scheduled"].count("JournalJob") == len(later)
        assert "ArgumentError: the end" in pages["/morgue"]
        assert "{bad" in pages["/morgue"]

        web.open("/metrics", "metrics-again")
        rows = {
            cells[0]: cells[1:3]
            for row in web.browser.page.locator("tr:has(td)").all()
            if (cells := [cell.strip() for cell in row.inner_text().split("\t")])
        }
        assert rows == {"SleepJob": ["3", "0"], "FailingJob": ["0", "2"]}
        assert web.browser.page.locator("canvas").count() == 1
        web.browser.follow(web.browser.page.get_by_role("link", name="SleepJob"))
        web.look("metrics-followed")
        assert web.browser.page.locator("canvas").count() == 2

        details = {"retries": failing, "scheduled": later[0], "morgue": dying}
        for path, jid in details.items():
            web.browser.visit(f"/{path}")
            text = {"retries": "so sorry", "scheduled": "JournalJob", "morgue": "the end"}[path]
            link = web.browser.row(text).first.locator(f"a[href*='/{path}/']").first
            assert web.browser.follow(link) == 200
            assert jid in web.look(f"{path}-detail")

        for needle, is_there in (("so sorry", True), ("nothing like it", False)):
            web.browser.visit("/retries")
            box = web.browser.page.get_by_role("searchbox")
            box.fill(needle)
            with web.browser.page.expect_navigation():
                box.press("Enter")
            web.look(f"retries-filter-{is_there}")
            assert (web.browser.row("FailingJob").count() == 1) is is_there


@assertion(102, "Quiet and Stop of the Web UI, and dump_threads of the API, act on gokiq")
def test_quiet_and_stop_are_pressed(stand: Stand) -> None:
    running = push(stand, "SleepJob", 600)
    with stand.gokiq("-t", "1") as server, serving(stand) as web:
        stand.wait(server, stand.runs, "the job had started")
        identity = stand.identity()
        stand.ask(f'Sidekiq::ProcessSet["{identity}"].dump_threads')
        stand.wait(
            server, lambda: ASLEEP.search(server.log.read_text()), "threads in the log", BEAT_S
        )
        web.open("/busy", "before-quiet")
        web.browser.press("Quiet")
        assert web.look("after-quiet")
        stand.wait(
            server, lambda: stand.client.hget(identity, "quiet") == b"true", "it was quiet", BEAT_S
        )
        web.open("/busy", "quiet")
        assert "quiet" in web.browser.row("Stop").last.inner_text()
        assert web.browser.page.get_by_role("button", name="Quiet", exact=True).count() == 0
        waiting = push(stand, "JournalJob")

        web.browser.press("Stop")
        assert server.wait(BEAT_S) == 0
        assert jids(stand, "queue:default") == {running, waiting}
        web.open("/busy", "stopped")
        assert web.cards()["Processes"] == "0"


@assertion(101, "Delete on a queued job that gokiq wrote removes exactly it")
def test_jobs_of_a_queue_are_deleted(stand: Stand) -> None:
    running = push(stand, "SleepJob", 600, odd="é <&> \"'")
    with stand.gokiq("-t", "1") as server:
        stand.wait(server, stand.runs, "the job had started")
        server.stop(BEAT_S)
    [given_back] = stand.client.lrange("queue:default", 0, -1)
    others = {push(stand, "SleepJob", 600, odd="é <&> \"'") for _ in range(2)}
    assert jids(stand, "queue:default") == {running} | others
    kept = push(stand, "JournalJob", queue="other")
    with serving(stand) as web:
        web.open("/queues/default", "queue-before-delete")
        row = web.browser.page.locator(f"tr[title='{running}']")
        web.browser.press("Delete", within=row)
        assert jids(stand, "queue:default") == others
        assert given_back not in stand.client.lrange("queue:default", 0, -1)

        web.open("/queues")
        web.browser.press("Delete", within=web.browser.row("default"))
        assert not stand.client.exists("queue:default")
        assert stand.client.smembers("queues") == {b"other"}
        assert jids(stand, "queue:other") == {kept}
        web.look("queue-cleared")


@assertion(100, "a job that fails again after Retry of the Web UI has the same retry_count")
@assertion(101, "Delete on a retry that gokiq wrote removes exactly it")
def test_retries_are_retried_killed_and_deleted(stand: Stand) -> None:
    first = push(stand, "FailingJob", "first")
    third = push(stand, "FailingJob", "third", retry_count=1, failed_at=1, error_class="E")
    doomed = push(stand, "FailingJob", "doomed")
    unwanted = push(stand, "FailingJob", "unwanted")
    with stand.gokiq() as server, serving(stand) as web:
        stand.wait(server, lambda: stand.client.zcard("retry") == 4, "all had failed")
        postpone(stand)
        counts = {job["jid"]: job["retry_count"] for job, _ in stand.members("retry")}
        assert counts[first] == 0
        assert counts[third] == 2

        for runs, (text, jid) in enumerate({"first": first, "third": third}.items(), start=5):
            web.press_on("/retries", text, "Retry Now")
            wait_ended(stand, server, runs)
            stand.wait(server, lambda jid=jid: jid in jids(stand, "retry"), "it was back")  # type: ignore[misc]
            postpone(stand)
        assert {job["jid"]: job["retry_count"] for job, _ in stand.members("retry")} == counts

        web.press_on("/retries", "doomed", "Kill")
        assert jids(stand, "dead") == {doomed}
        assert jids(stand, "retry") == {first, third, unwanted}

        web.press_on("/retries", "unwanted", "Delete")
        assert jids(stand, "retry") == {first, third}
        web.look("retries-at-the-end")
        assert web.summary()["Retries"] == 2

        web.browser.follow(web.browser.row("first").locator("a[href*='/retries/']").first)
        web.browser.press("Retry Now")
        wait_ended(stand, server, 7)
        stand.wait(server, lambda: first in jids(stand, "retry"), "it was back")
        assert stand.int("stat:failed") == 7


def test_scheduled_jobs_are_queued_and_deleted(stand: Stand) -> None:
    now, unwanted, kept = (
        schedule(stand, "JournalJob", text) for text in ("now", "unwanted", "kept")
    )
    with stand.gokiq() as server, serving(stand) as web:
        web.press_on("/scheduled", "now", "Add to queue")
        wait_ended(stand, server, 1)
        assert [run.jid for run in stand.runs()] == [now]
        assert jids(stand, "schedule") == {unwanted, kept}

        web.press_on("/scheduled", "unwanted", "Delete")
        assert jids(stand, "schedule") == {kept}
        web.look("scheduled-at-the-end")


def test_dead_jobs_are_retried_and_deleted(stand: Stand) -> None:
    again, _, kept = (
        push(stand, "FailingJob", text, retry=0) for text in ("again", "unwanted", "kept")
    )
    with stand.gokiq() as server, serving(stand) as web:
        stand.wait(server, lambda: stand.client.zcard("dead") == 3, "all had died")
        web.press_on("/morgue", "unwanted", "Delete")
        assert jids(stand, "dead") == {again, kept}

        web.press_on("/morgue", "again", "Retry Now")
        wait_ended(stand, server, 4)
        stand.wait(server, lambda: jids(stand, "dead") == {again, kept}, "it had died again")
        assert [run.jid for run in stand.runs()].count(again) == 2
        web.open("/morgue", "dead-at-the-end")
