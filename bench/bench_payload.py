"""Payload reading: the compiled code, its plain twin and the json module.

python bench/bench_payload.py --fast -o payload.json; every answer is checked before it is timed.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pyperf

from gokiq import _payload, _payload_py

NAMES = ("jid", "class", "wrapped")
STAMPS = {"created_at": 1795489135438, "enqueued_at": 1795489135439}
JID = {"jid": "b4a577edbccf1d805744efa9"}
FAILURE = {
    "error_message": "undefined method 'ship' for nil: order 4711 of “Müller & Söhne”",
    "error_class": "NoMethodError",
    "failed_at": 1795489135500,
    "retry_count": 3,
    "retried_at": 1795489140100,
}


def plain_job() -> dict[str, Any]:
    """A Sidekiq::Job with a handful of arguments."""
    options = {"retry": 5, "queue": "critical", "tags": ["billing", "eu"], "backtrace": 10}
    args = [4711, "user@example.com", {"locale": "de", "notify": True, "amount": "129.90"}]
    return {**options, "args": args, "class": "Billing::SendInvoiceJob", **JID, **STAMPS}


def active_job(records: int) -> dict[str, Any]:
    """An ActiveJob as Sidekiq's adapter stores it, with so many records among its arguments."""
    serialized = {
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


def stored(job: dict[str, Any]) -> bytes:
    """The job as Ruby writes it."""
    return json.dumps(job, ensure_ascii=False, separators=(",", ":")).encode()


PAYLOADS = {
    "300 B, plain": stored(plain_job()),
    "1 KB, ActiveJob": stored(active_job(12)),
    "5 KB, ActiveJob": stored(active_job(110)),
    "5 KB, failed with backtrace": stored(
        {**plain_job(), **FAILURE, "error_backtrace": "eJzt" * 1120}
    ),
}
EDITS = {"queue": b'"low"', "enqueued_at": b"1795489200000", "retried_at": b"1795489200000"}


def decode(payload: bytes) -> list[Any]:
    """The way without a scanner."""
    job = json.loads(payload)
    return [job.get(name) for name in NAMES]


def recode(payload: bytes) -> bytes:
    """The way without splicing; it would change the spelling of floats."""
    edits = {name: json.loads(raw) for name, raw in EDITS.items()}
    return stored({**json.loads(payload), **edits})


def dump(payload: bytes) -> bytes:
    """The way without `quote_bytes`."""
    return json.dumps(payload.decode(), ensure_ascii=False).encode()


def check(module: ModuleType, payload: bytes) -> None:
    """Compare each answer with that of the json module."""
    assert [module.text(raw) for raw in module.scan(payload, NAMES)] == decode(payload)
    assert json.loads(module.splice(payload, EDITS)) == json.loads(recode(payload))
    assert module.quote_bytes(payload) == dump(payload)


def main() -> None:
    """Check that all agree, then time each."""
    runner = pyperf.Runner()
    for label, module in (("cython", _payload), ("pure", _payload_py)):
        for name, payload in PAYLOADS.items():
            check(module, payload)
            runner.bench_func(f"scan, {name}: {label}", module.scan, payload, NAMES)
            runner.bench_func(f"splice, {name}: {label}", module.splice, payload, EDITS)
            runner.bench_func(f"quote_bytes, {name}: {label}", module.quote_bytes, payload)
    for name, payload in PAYLOADS.items():
        runner.bench_func(f"scan, {name}: json.loads alone", json.loads, payload)
        runner.bench_func(f"splice, {name}: json", recode, payload)
        runner.bench_func(f"quote_bytes, {name}: json", dump, payload)


if __name__ == "__main__":
    main()
