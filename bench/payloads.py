"""Jobs as they lie in Redis, for the benchmarks of what reads and sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

STAMPS = {"created_at": 1795489135438, "enqueued_at": 1795489135439}
JID = {"jid": "b4a577edbccf1d805744efa9"}
FAILURE = {
    "error_message": "undefined method 'ship' for nil: order 4711 of “Müller & Söhne”",
    "error_class": "NoMethodError",
    "failed_at": 1795489135500,
    "retry_count": 3,
    "retried_at": 1795489140100,
}


def stored(job: Mapping[str, Any]) -> bytes:
    """The job as Ruby writes it."""
    return json.dumps(job, ensure_ascii=False, separators=(",", ":")).encode()


def plain_job(*args: Any) -> dict[str, Any]:
    """A Sidekiq::Job with options of its own."""
    options = {"retry": 5, "queue": "critical", "tags": ["billing", "eu"], "backtrace": 10}
    return {**options, "args": args, "class": "Billing::SendInvoiceJob", **JID, **STAMPS}


def order_lines(count: int) -> list[dict[str, Any]]:
    """So many small hashes, as jobs have them among their arguments."""
    return [
        {
            "sku": f"SH-{n:05d}",
            "quantity": n % 7 + 1,
            "price": "19.90",
            "weight": 0.25,
            "gift": None,
        }
        for n in range(count)
    ]


def active_job(records: int) -> dict[str, Any]:
    """An ActiveJob as Sidekiq's adapter stores it, with so many records among its arguments."""
    serialized: dict[str, Any] = {
        "job_class": "Orders::ShipJob",
        "job_id": "4d0a2c4e-5b8a-4d9e-9d0e-5e0c0c1a7f3b",
        "provider_job_id": None,
        "queue_name": "default",
        "priority": None,
        "arguments": [
            {"_aj_globalid": f"gid://shop/Order/{n}"} for n in range(4711, 4711 + records)
        ],
        "executions": 0,
        "exception_executions": {},
        "locale": "en",
        "timezone": "UTC",
        "enqueued_at": "2026-11-24T08:00:00.000000000Z",
        "scheduled_at": None,
    }
    head = {"retry": True, "queue": "default", "wrapped": "Orders::ShipJob", "args": [serialized]}
    return {**head, "class": "Sidekiq::ActiveJob::Wrapper", **JID, **STAMPS}


#: The job of sidekiqload, of a single argument.
NOOP = stored(
    {"retry": 1, "queue": "default", "class": "LoadWorker", "args": [4711], **JID, **STAMPS}
)
#: That of the sleep workload.
ONE_STRING = stored(
    {"retry": True, "queue": "default", "class": "SleepJob", "args": [100, "x" * 1000]}
    | JID
    | STAMPS
)

#: By what a table of results calls them.
PAYLOADS = {
    "no-op": NOOP,
    "1 KB": stored(plain_job(4711, "user@example.com", order_lines(9))),
    "5 KB": stored(plain_job(4711, "user@example.com", order_lines(63))),
    "1 KB, ActiveJob": stored(active_job(12)),
    "5 KB, ActiveJob": stored(active_job(110)),
    "5 KB, HTML": stored(plain_job('<p class="line">“Müller & Söhne”</p>\n' * 110)),
    "5 KB, failed": stored({**plain_job(4711), **FAILURE, "error_backtrace": "eJzt" * 1120}),
}
