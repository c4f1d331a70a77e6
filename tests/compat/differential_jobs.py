"""The jobs of the differential test, by name: every way in which one can end. Same bytes for both
servers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from .harness import Version

#: When the jobs say they were pushed: long ago, so that no mask takes it for a clock.
PUSHED_S = 1_600_000_000.125
#: Ways in which RaisingJob can fail.
WAYS = (
    *("plain", "exit", "exit 3", "abort", "throw", "interrupt", "system exit", "signal"),
    *("memory", "security", "script", "load", "syntax", "stack", "exception", "stop iteration"),
    *("anonymous", "bytes", "latin", "utf-16", "binary", "frozen", "huge", "empty", "lines"),
    *("speechless", "nil message", "symbol message", "no backtrace", "handled", "skip"),
    *("timeout", "cause", "circle", "break"),
)
#: Due jobs of the queue that the servers read.
DUE_HERE = ("due without queue", "retry is due here")
#: What RetryInJob's block can answer.
ANSWERS = (
    *("integer", "float", "text", "text float", "zero", "negative", "nil", "default", "discard"),
    *("kill", "odd", "true", "array", "huge", "discard text", "raise", "raise hard", "duration"),
)

_MALFORMED = (
    b"{ no json",
    b"",
    b"\xff\xfe\x00",
    b'{"class":"PlainJob","args":[1,',
    b'{"class":"PlainJob","args":[NaN]}',
    b'{"class":"PlainJob","args":["\\ud800"]}',
    b"[" * 150 + b"]" * 150,
)


class Jobs:
    """Makes payloads with numbered jids and remembers what they stand for."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self.names: dict[str, str] = {}

    def __call__(self, name: str, job_class: str, /, *args: object, **fields: object) -> bytes:
        """A payload as the client writes it; a field `...` is left out, an unknown one is kept."""
        jid = f"{len(self.names) + 0x1000:024x}"
        self.names[jid] = name
        pushed: object = int(PUSHED_S * 1000) if self._version.is_8 else PUSHED_S
        job: dict[str, object] = {"retry": True, "queue": "default", "args": list(args)}
        job |= {"class": job_class, "jid": jid, "created_at": pushed, "enqueued_at": pushed}
        job = {key: value for key, value in (job | fields).items() if value is not ...}
        return json.dumps(job, separators=(",", ":"), ensure_ascii=False).encode()

    def active(self, name: str, job_class: str, *args: object, **fields: object) -> bytes:
        """The same for an ActiveJob, as its adapter writes it."""
        inner: dict[str, object] = {
            "job_class": job_class,
            "job_id": f"00000000-0000-4000-8000-{len(self.names):012x}",
            "provider_job_id": None,
            "queue_name": "default",
            "priority": None,
            "arguments": list(args),
            "executions": 0,
            "exception_executions": {},
            "locale": "en",
            "timezone": None,
            "enqueued_at": "2020-09-13T12:26:40.125000000Z",
            "scheduled_at": None,
        }
        wrapper = "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"
        return self(name, wrapper, inner, wrapped=job_class, **fields)

    def failed(
        self, name: str, count: int, job_class: str, *args: object, **fields: object
    ) -> bytes:
        """A job that has failed `count` times and is on its way again."""
        pushed: object = int(PUSHED_S * 1000) if self._version.is_8 else PUSHED_S
        fields = {"error_class": "E", "error_message": "e", "failed_at": pushed} | fields
        fields |= {"retry_count": count - 1} | ({"retried_at": pushed} if count > 1 else {})
        return self(name, job_class, *args, **fields)


def queued(jobs: Jobs) -> Iterator[bytes]:
    """What lies in the queue, first to run first; `last` ends it."""
    yield jobs("success", "PlainJob", 1, "two", None, True, {"a": [1.5]})
    yield jobs("args null", "PlainJob", args=None)
    yield jobs("no args", "PlainJob", args=...)
    yield jobs("args object", "PlainJob", args={"a": 1, "b": 2})
    yield jobs("args text", "PlainJob", args="text")
    yield jobs("numbers", "PlainJob", 2**64 + 1, -(2**200), 0.1, 1e20, 1e-7, 1.0, -0.0)
    yield jobs("unicode", "PlainJob", "é\u2028\u007f/<>&\U0001f600", {"ключ": "値"})
    yield jobs("tags", "PlainJob", tags=["a", "b"], bid="B1", unknown={"deep": [1]})
    yield jobs("log level", "PlainJob", log_level="debug")
    yield jobs("nested class", "Deep::NestedJob", 1)
    yield jobs("leading colons", "::PlainJob", 1)
    yield jobs("display class", "PlainJob", display_class="Shown")
    yield jobs("no jid", "PlainJob", jid=...)
    yield jobs("number as jid", "PlainJob", jid=7)
    yield from _MALFORMED
    yield from _unrunnable(jobs)
    yield from _failing(jobs)
    yield from _odd(jobs)
    yield from _middleware(jobs)
    for way in WAYS:
        yield jobs(f"raises {way}", "RaisingJob", way, backtrace=False)
    for answer in ANSWERS:
        yield jobs(f"retry in {answer}", "RetryInJob", answer)
    for way in ("nothing", "mutate", "dead false", "raise", "discard"):
        yield jobs(f"exhausted {way}", "ExhaustedJob", way, retry=0)
    yield jobs("death handler raises", "ExhaustedJob", "x", retry=0, death="raise")
    yield from _active(jobs)
    for count in (3, 2, 0, None):
        yield jobs(f"list of {count}", "ListJob", count)
    yield jobs("profile", "PlainJob", profile="p")
    yield jobs("last", "PlainJob", "last")


def with_fields_of_middleware(jobs: Jobs, version: Version) -> Iterator[bytes]:
    """What the app's own client middleware has added when the jobs were pushed."""
    cattr = {"user": "Ada"} | ({"_aj_symbol_keys": ["user"]} if version.is_8 else {})
    yield jobs("current attributes", "AttributesJob", cattr=cattr)
    yield jobs("locale", "AttributesJob", locale="de")
    yield jobs("attributes, fails", "AttributesJob", "fail", cattr=cattr, locale="de")
    yield jobs("last", "PlainJob", "last")


def _unrunnable(jobs: Jobs) -> Iterator[bytes]:
    for retry in (True, False, 0, None, ...):
        yield jobs(f"unknown class, retry {retry}", "NobodyKnowsJob", retry=retry)
    yield jobs("no class", "x", **{"class": ...})
    yield jobs("class null", "x", **{"class": None})
    yield jobs("class lower case", "plain")
    yield jobs("class is a module", "Deep")
    yield jobs("class is no job", "String")
    yield jobs("no perform", "NoPerformJob")
    yield jobs("too few arguments", "TwoArgumentsJob", 1, backtrace=3)
    yield jobs("too many arguments", "TwoArgumentsJob", 1, 2, 3)
    yield jobs("no instance", "NoNewJob", 1)
    yield jobs("no instance, no retry", "NoNewJob", 1, retry=False)
    yield jobs("unknown wrapped class", "RaisingJob", "plain", wrapped="NobodyKnowsJob")


def _failing(jobs: Jobs) -> Iterator[bytes]:
    options: tuple[object, ...] = (True, False, 0, 1, 2, "3", "", -1, 2.5, [], None, ...)
    for retry in options:
        yield jobs(f"retry {retry!r}", "RaisingJob", "plain", retry=retry)
    yield jobs("retry of the class", "ChildOfJob", retry=...)
    for count in (1, 2, 3, 24, 25, 26):
        yield jobs.failed(f"failed {count} times", count, "RaisingJob", "plain")
    for count in (1, 2, 3):
        yield jobs.failed(f"failed {count} times of 2", count, "RaisingJob", "plain", retry=2)
    yield jobs("retry queue", "RaisingJob", "plain", retry_queue="low")
    for backtrace in (True, 3, 0, "2", False, None):
        yield jobs(f"backtrace {backtrace!r}", "RaisingJob", "plain", backtrace=backtrace)
    for backtrace in (True, 3):
        yield jobs(f"no backtrace, {backtrace}", "RaisingJob", "no backtrace", backtrace=backtrace)
    yield jobs("dead false", "RaisingJob", "plain", retry=0, dead=False)
    yield jobs("dead true", "RaisingJob", "plain", retry=0, dead=True)
    yield jobs("retry for", "RaisingJob", "plain", retry_for=3600)
    yield jobs.failed("retry for over", 1, "RaisingJob", "plain", retry_for=3600)
    yield jobs.failed("retry for, count 50", 50, "RaisingJob", "plain", retry_for=10**9)
    yield jobs("unknown fields", "RaisingJob", "plain", cattr={"a": 1}, bid="B", locale="de", f=1.0)
    yield jobs("arguments kept", "TwoArgumentsJob", 2**64 + 1, 0.1, "é\u2028\u007f/<>&", 1.0, 1e-5)
    yield jobs("tags of a failure", "RaisingJob", "plain", tags=["a"], log_level="debug")
    yield jobs("other queue named", "RaisingJob", "plain", queue="elsewhere")
    yield jobs("no queue named", "RaisingJob", "plain", queue=...)


def _odd(jobs: Jobs) -> Iterator[bytes]:
    """Payloads and fields that no client writes."""
    yield b'{"class":"PlainJob","args":[1],"jid":"twice","jid":"two"}'
    yield b'{"class":"PlainJob","args":[1],"jid":"comment" /* c */}'
    yield b'{"class":"PlainJob","args":[1],"jid":"blanks"\t} \n'
    yield b'\xef\xbb\xbf{"class":"PlainJob","args":[1],"jid":"mark"}'
    yield b'{"class":"RaisingJob","args":["plain"],"jid":"nul\\u0000","retry":true}'
    yield b'{"class":"RaisingJob","args":["plain"],"jid":"e\\u00e9\\/","retry":true, "x" : 1E-7}'
    for depth in (98, 99):
        nested = b"[" * depth + b"]" * depth
        yield b'{"class":"RaisingJob","args":' + nested + b',"jid":"deep%d","retry":true}' % depth
    values: dict[str, tuple[object, ...]] = {
        "jid": (..., None, 7, [1]),
        "retry_count": (None, 1.5),
        "retry_for": (1.5,),
        "backtrace": (-1, 1.5),
        "queue": (None, 7),
        "retry_queue": (7, ""),
        "tags": ("a", 7, None),
        "bid": (7,),
        "wrapped": (7, "RetryInJob"),
        "args": (7,),
        "class": (["PlainJob"], "", "Plain Job", "Kernel", "BasicObject", 7),
        "dead": (None, "false"),
        "log_level": (0, 9, None, "DEBUG"),
        "display_class": (7,),
        "at": (4e9,),
    }
    for name, oddities in values.items():
        for odd in oddities:
            fields: dict[str, object] = {"failed_at": 1} if name == "retry_count" else {}
            fields |= {"retry": 0} if name == "dead" else {}
            yield jobs(f"{name} {odd}", "RaisingJob", "plain", **fields, **{name: odd})


def _middleware(jobs: Jobs) -> Iterator[bytes]:
    for way in ("stop", "raise", "mutate", "handled", "skip", "raise after"):
        yield jobs(f"middleware: {way}", "PlainJob", 1, middleware=way)
    yield jobs("middleware: mutate, fails", "RaisingJob", "plain", middleware="mutate")


def _active(jobs: Jobs) -> Iterator[bytes]:
    for way in ("success", "plain", "retry on", "discard on"):
        yield jobs.active(f"ActiveJob {way}", "GreetJob", way)
    missing = {"_aj_globalid": "gid://differential/Missing/1"}
    yield jobs.active("ActiveJob, cannot be deserialized", "GreetJob", missing)
    for way in ("rules", "kill"):
        yield jobs.active(f"ActiveJob with Sidekiq's {way}", "RuledJob", way)
    yield jobs.active("ActiveJob exhausted", "RuledJob", "rules", retry=0)
    yield jobs.active("ActiveJob of an unknown class", "NobodyKnowsJob", 1)


def due(jobs: Jobs) -> Iterator[tuple[str, bytes, float]]:
    """(set, member, score) of what is to be promoted, to a queue that nobody reads."""
    there = {"queue": "elsewhere", "enqueued_at": ...}
    yield "schedule", jobs("due", "PlainJob", "é", 1.5, **there), 10.0
    yield "schedule", jobs("due, enqueued before", "PlainJob", queue="elsewhere"), 11.0
    yield "schedule", jobs("due without retry", "PlainJob", **there, retry=...), 12.0
    yield "schedule", jobs("due with retry null", "PlainJob", **there, retry=None), 13.0
    yield "schedule", jobs("due without created_at", "PlainJob", **there, created_at=...), 14.0
    yield "schedule", jobs("due without jid", "PlainJob", **there, jid=...), 15.0
    yield "schedule", jobs("due without queue", "PlainJob", queue=..., enqueued_at=...), 16.0
    yield "schedule", jobs("due, at to come", "PlainJob", **there, at=4_000_000_000.5), 17.0
    yield "schedule", jobs("due, at long ago", "PlainJob", **there, at=1_000_000_000.0), 18.0
    yield "schedule", jobs("due, unknown fields", "PlainJob", **there, cattr={"a": 1}, f=1.0), 19.0
    yield (
        "schedule",
        jobs("due, numbers", "PlainJob", 2**64 + 1, 0.1, "é\u2028\u007f/", **there),
        20.0,
    )
    yield "schedule", jobs("due, retry 3", "PlainJob", **there, retry=3, tags=["a"]), 21.0
    yield "schedule", jobs("due, client stops it", "PlainJob", **there, client="stop"), 22.0
    yield "schedule", jobs("due, unknown class", "NobodyKnowsJob", **there), 23.0
    yield "schedule", jobs("not due", "PlainJob", **there), 4_000_000_000.0
    yield "retry", jobs.failed("retry is due", 1, "RaisingJob", "plain", queue="elsewhere"), 10.0
    yield "retry", jobs.failed("retry is not due", 2, "RaisingJob", "plain"), 4_000_000_000.0
    yield "retry", jobs.failed("retry is due here", 2, "RaisingJob", "plain"), 11.0


def lost_from_queue(jobs: Jobs, version: Version) -> Iterator[bytes]:
    """Jobs that Sidekiq cannot handle and does not acknowledge: they are gone."""
    yield from (b"[1,2]", b"2", b"null", b'"text"', b"[]")
    yield b'{"class":"RaisingJob","args":["plain"],"jid":"big","n":1e400,"retry":true}'
    yield b'{"class":"RaisingJob","args":["plain"],"jid":"bad\xff","retry":true}'
    yield jobs("count is a text", "RaisingJob", "plain", retry_count="3")
    yield jobs("never failed", "RaisingJob", "plain", retry_count=1, failed_at=None, retry_for=10)
    yield jobs("retry for text", "RaisingJob", "plain", retry_for="10")
    yield jobs("backtrace is a list", "RaisingJob", "plain", backtrace=[])
    if version.is_8:
        yield jobs("wrong log level", "PlainJob", log_level="loud")


def lost_when_due(jobs: Jobs, *, with_client: bool) -> Iterator[tuple[str, bytes, float]]:
    """Due members that Sidekiq's client cannot read or refuses: they are gone, too. Without client
    middleware in the app gokiq leaves it to the worker to refuse what has no class or arguments.
    """
    yield "schedule", b"{ no job", 1.0
    yield "schedule", b"[1,3]", 2.0
    yield "schedule", b"7", 3.0
    yield "retry", b"{ no job either", 1.0
    if with_client:
        yield "schedule", jobs("without class", "x", **{"class": ...}), 4.0
        yield "schedule", jobs("without args", "PlainJob", args=...), 5.0
        yield "schedule", jobs("args are null", "PlainJob", args=None), 6.0
        yield "retry", jobs("class is a number", "x", **{"class": 7}), 2.0


def old_dead() -> Iterator[tuple[bytes, float]]:
    """(member, age in seconds) of the dead set before: some beyond its life, and many more."""
    for i in range(40):
        yield b'{"class":"PlainJob","args":[],"jid":"old%d"}' % i, 15_552_000.0 + 100 + i
    for i in range(70):
        yield b'{"class":"PlainJob","args":[],"jid":"young%d"}' % i, 1000.0 + i
