"""The shop of examples/rails_app: under gokiq-fast its jobs leave what they leave under Sidekiq."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from devtools.redis_server import RedisServer
from examples.rails_app.shop import JOBS_TIMEOUT_S, Shop

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

#: Orders 1 to 60; every twelfth asks for more than there is.
PAID = [number for number in range(1, 61) if number % 12]
#: The payment service is down for their first attempt.
PAID_LATE = [number for number in PAID if number % 3 == 0]
GERMANS = range(2, 21, 2)

#: Asks the app itself for the pages, as a web server would.
VISIT = """
require "rack/mock"
Sidekiq.default_configuration.logger.level = Logger::WARN
browser = Rack::MockRequest.new(Rails.application)
%w[sidekiq sidekiq/busy sidekiq/retries sidekiq/morgue sidekiq/metrics].each do |page|
  puts "#{page} #{browser.get("/#{page}", "HTTP_HOST" => "localhost").status}"
end
"""

_JOB_LINE = re.compile(r"jid=(\w+) class=(\w+)(?: elapsed=\S+)?: (start|done|fail)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Day:
    """What one run of the shop has left."""

    dump: str
    log: str
    #: Page of the Web UI and status, a line each.
    pages: str
    #: Payloads that were seen in the set `schedule`, by jid.
    scheduled: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rows(self, table: str) -> list[str]:
        """Its rows as one text each, without quotes."""
        part = self.dump.split(f"\n{table}:", 1)[1].split("\n")[1:]
        rows = []
        for line in part:
            if not line.startswith("  "):
                break
            rows.append(line.strip().replace('"', ""))
        return rows

    def job_lines(self, job_class: str, what: str) -> list[str]:
        """Jids of that class's job lines."""
        return [
            jid
            for jid, its_class, its_what in _JOB_LINE.findall(_COLOUR.sub("", self.log))
            if (its_class, its_what) == (job_class, what)
        ]


def spend_day(server_name: str, folder: Path) -> Day:
    folder.mkdir()
    with RedisServer() as redis:
        shop = Shop(redis, folder)
        shop.open()
        scheduled: dict[str, dict[str, Any]] = {}

        def is_done() -> bool:
            for member in redis.client.zrange("schedule", 0, -1):
                job = json.loads(member)
                scheduled[job["jid"]] = job
            return shop.is_done()

        with shop.server(server_name) as server:
            server.wait_ready()
            server.wait_until(is_done, timeout_s=JOBS_TIMEOUT_S, what="all jobs were done")
            server.stop()
        pages = shop.task("runner", VISIT)
        return Day("\n" + shop.dump(), server.log.read_text(), pages, scheduled)


@pytest.fixture(scope="module")
def sidekiq(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return spend_day("sidekiq", tmp_path_factory.mktemp("shop") / "sidekiq")


@pytest.fixture(scope="module")
def gokiq(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return spend_day("gokiq-fast", tmp_path_factory.mktemp("shop") / "gokiq")


def test_the_database_is_the_same(sidekiq: Day, gokiq: Day) -> None:
    assert gokiq.dump == sidekiq.dump


def test_a_transaction_that_raises_leaves_nothing(gokiq: Day) -> None:
    ordered = {int(row.split()[0]) for row in gokiq.rows("orders")}

    assert ordered == set(PAID)
    assert sorted(gokiq.rows("refusals")) == sorted(f"{n} out of stock" for n in range(12, 61, 12))
    assert [row for row in gokiq.rows("attempts") if "hopeless" in row] == []


def test_retry_on_pushes_a_new_job_and_counts_a_success(sidekiq: Day, gokiq: Day) -> None:
    for day in (sidekiq, gokiq):
        attempts = {int(row.split()[0]): int(row.split()[-1]) for row in day.rows("payments")}
        ran = day.job_lines("ChargeJob", "done")
        late = [job["args"][0] for job in day.scheduled.values()]

        assert attempts == {number: 2 if number in PAID_LATE else 1 for number in PAID}
        assert day.job_lines("ChargeJob", "fail") == []
        assert len(set(ran)) == len(ran) == len(PAID) + len(PAID_LATE)
        assert set(day.scheduled) < set(ran)
        assert {(job["job_class"], job["executions"]) for job in late} == {("ChargeJob", 1)}


def test_failures_are_those_of_plain_jobs(sidekiq: Day, gokiq: Day) -> None:
    """Four reminders fail once, the hopeless job ends in the dead set."""
    for day in (sidekiq, gokiq):
        counters = dict(row.split() for row in day.rows("sidekiq"))

        assert (counters["failed"], counters["dead_size"], counters["retry_size"]) == (
            "5",
            "1",
            "0",
        )
        assert len(day.job_lines("ReminderJob", "fail")) == 4


def test_mail_is_written_in_the_language_of_each_customer(gokiq: Day) -> None:
    letters = gokiq.rows("letters")
    receipts = [row for row in letters if row.startswith("customer-")]
    german = [row for row in receipts if "Danke, Customer" in row]

    assert len(receipts) == len(PAID)
    assert {1 + n % 20 for n in PAID} & set(GERMANS) == {
        int(re.findall(r"customer-(\d+)@", row)[0]) for row in german
    }
    assert [row for row in german if "Your order" in row] == []


def test_the_locale_is_that_of_the_push(gokiq: Day) -> None:
    reminders = [row for row in gokiq.rows("letters") if not row.startswith("customer-")]

    assert sorted(row.split()[1] for row in reminders if row.endswith(" de")) == sorted(
        str(customer) for customer in GERMANS
    )
    assert len(reminders) == 20


def test_current_attributes_reach_the_jobs_of_jobs(gokiq: Day) -> None:
    placed = [row for row in gokiq.rows("audits") if " placed " in row]

    assert sorted(placed) == sorted(f"clerk {n % 4} placed {n}" for n in PAID)


def test_an_iterable_job_went_over_every_record(gokiq: Day) -> None:
    slugs = [row.split()[-1] for row in gokiq.rows("products")]

    assert sorted(slugs) == sorted(f"thing-no-{n}" for n in range(1, 11))
    assert "nil slugs all" in gokiq.rows("audits")


def test_the_web_ui_is_mounted_in_the_app(gokiq: Day) -> None:
    pages = dict(line.split() for line in gokiq.pages.splitlines())

    assert len(pages) == 5
    assert set(pages.values()) == {"200"}
