"""gokiq-fast leaves in Redis what Sidekiq leaves there, and the app's handlers and the log are told
the same: the same bytes run under both, one job at a time, each on a Redis of its own.

What may differ is in this file: `OURS`, `LATE_DEFAULTS`, `SAVED`, and the test of
what Sidekiq loses. Keys of ours (`gokiq:`) are left out.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from devtools.gokiq import Server
from devtools.redis_server import RedisServer

from . import differential_jobs as cases
from .differential_dump import Dump, Masks, count_metrics, dump
from .harness import PATIENCE_S, Stand, Version

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

#: Of the process record, what gokiq publishes for readers of every version: Sidekiq moved the
#: concurrency from `info` to a field in 8.1.2, and has `capsules` since 8.0.9.
OURS = {"concurrency", "capsules"}
#: A due job without `retry` gets it at its end; Sidekiq writes the whole job anew, defaults first.
LATE_DEFAULTS = "due without retry"

#: What we log of a job that Sidekiq loses.
SAVED = "goes to the dead set as it came"

_CLOCK = re.compile(r"(?<!\")<(ms|seconds|seconds, float)>")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOG_CLOCK = re.compile(r"\d{4}-\d\d-\d\dT\S+Z ?|pid=\d+ tid=\S+?(?=:? )|elapsed=[\d.]+")


@dataclass(slots=True)
class Left:
    """What one server left, with the names of the jobs in place of their jids."""

    #: When the queue was done, and what handlers were told up to then.
    dead: Any = None
    notes: list[str] = field(default_factory=list)
    #: When all that was due had gone, and after the end.
    running: Dump = field(default_factory=dict)
    notes_of_due: list[str] = field(default_factory=list)
    ended: Dump = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """What happens to both: `queue` runs; then `due` and `lost` are pushed; with or without client
    middleware in the app.
    """

    version: Version
    with_client: bool
    jobs: cases.Jobs
    queue: list[bytes]
    due: list[tuple[str, bytes, float]]
    lost: list[bytes]
    lost_due: list[tuple[str, bytes, float]]
    end: bytes
    started_s: float = field(default_factory=time.time)

    def named(self, text: str) -> str:
        for jid, name in self.jobs.names.items():
            text = text.replace(jid, f"«{name}»")
        return text

    def mask(self, value: object) -> str:
        masks = Masks(self.started_s, set(self.jobs.names))
        return self.named(masks.text(json.dumps(value, ensure_ascii=False)))

    def dump(self, side: Side) -> Dump:
        found = dump(side.client, Masks(self.started_s, set(self.jobs.names)))
        return dict(json.loads(self.named(json.dumps(found))))


class Side:
    """One server on its own Redis."""

    def __init__(self, name: str, plan: Plan, redis: RedisServer, folder: Path) -> None:
        self.name = name
        self.client = redis.client
        self.left = Left()
        self._plan = plan
        self._notes = folder / f"notes-{name}"
        env = {"TEST_NOTES": str(self._notes)}
        if plan.with_client:
            env["DIFFERENTIAL_CLIENT"] = "1"
        if name == "terse":
            # Nothing of Sidekiq is changed and no line is seen: layers are left out.
            env |= {"DIFFERENTIAL_LEVEL": "WARN", "DIFFERENTIAL_FATE": "below"}
        lane = ("--lane", "thread") if name == "threads" else ()
        stand = Stand(plan.version, redis, folder)
        start = stand.sidekiq if name == "sidekiq" else stand.gokiq
        self.server: Server = start(
            *("-c", "1", "-q", "default", *lane), app="differential.rb", name=name, env=env
        )

    def prepare(self) -> None:
        self.client.sadd("queues", "default")
        self.client.lpush("queue:default", *self._plan.queue)
        for member, age_s in cases.old_dead():
            self.client.zadd("dead", {member: self._plan.started_s - age_s})

    def finish_queue(self) -> None:
        """Until the last job has run; then push what is due and what Sidekiq loses."""
        self._wait("the last job had run", lambda: self._has_performed("last"))
        self._wait("the queue was empty", self._is_idle)
        self.left.dead = self._plan.dump(self)["dead"]
        self.left.notes = [self._plan.mask(note) for note in self.notes()]
        for key, member, score in (*self._plan.lost_due, *self._plan.due):
            self.client.zadd(key, {member: score})
        self.client.lpush("queue:default", *self._plan.lost, self._plan.end)

    def finish_due(self) -> None:
        """Until all that is due has gone where it goes."""
        self._wait("the end was reached", lambda: self._has_performed("end"))
        self._wait("nothing was due", self._has_promoted)
        self._wait("the queue was empty", self._is_idle)
        self.left.running = self._plan.dump(self)
        mine = [self._plan.mask(note) for note in self.notes()[len(self.left.notes) :]]
        self.left.notes_of_due = [note for note in mine if "«due" in note or "«retry is" in note]

    def wait_for_metrics(self) -> None:
        """Until a heartbeat has written them; Sidekiq 7 forgets at its end what no beat wrote."""
        self._wait("the metrics were written", self._has_metrics)

    def end(self) -> None:
        assert self.server.wait(PATIENCE_S) == 0
        self.left.ended = self._plan.dump(self)
        self.left.log = [
            _LOG_CLOCK.sub("", self._plan.named(_COLOUR.sub("", line))).strip()
            for line in self.server.log.read_text(errors="replace").splitlines()
            if " class=" in line and SAVED not in line
        ]

    def notes(self) -> list[Any]:
        if not self._notes.exists():
            return []
        lines = self._notes.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        self.server.wait_until(lambda: bool(condition()), timeout_s=PATIENCE_S, what=what)

    def _has_performed(self, argument: str) -> bool:
        shown = f'["{argument}"]'
        return any(note[0] == "performed" and note[2] == shown for note in self.notes())

    def _is_idle(self) -> bool:
        return not self.client.exists("queue:default", *self.client.keys("gokiq:claims:*"))

    def _has_promoted(self) -> bool:
        late = [self.client.zcount(key, "-inf", 1000) for key in ("retry", "schedule")]
        ran = {str(note[1]) for note in self.notes() if note[0] == "middleware"}
        names = self._plan.jobs.names
        here = {jid for jid, name in names.items() if name in cases.DUE_HERE}
        return not any(late) and here <= ran

    def _has_metrics(self) -> bool:
        """Everything that reached the middleware is in a minute's hash."""
        ran = [note for note in self.notes() if note[0] == "middleware"]
        return count_metrics(self.client) == len(ran)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of our sides beside Sidekiq's."""

    name: str
    plan: Plan
    sidekiq: Left
    gokiq: Left


@pytest.fixture(scope="module")
def outcomes(version: Version, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Without client middleware in the app (in fibers, in threads, and at the level WARN, where we
    leave Sidekiq's job logger out), and with it. All servers run side by side.
    """
    fleets = [
        (_plan(version, with_client=False), ("sidekiq", "fibers", "threads", "terse")),
        (_plan(version, with_client=True), ("sidekiq", "fibers")),
    ]
    with ExitStack() as stack:
        sides: list[tuple[Plan, list[Side]]] = []
        for plan, names in fleets:
            folder = tmp_path_factory.mktemp("differential")
            redises = [stack.enter_context(RedisServer()) for _ in names]
            pairs = zip(names, redises, strict=True)
            sides.append((plan, [Side(name, plan, redis, folder) for name, redis in pairs]))
        every = [side for _, its in sides for side in its]
        for side in every:
            side.prepare()
            stack.enter_context(side.server)
        for side in every:
            side.finish_queue()
        for side in every:
            side.finish_due()
        if not version.is_8:
            for side in every:
                side.wait_for_metrics()
        for side in every:
            side.server.send_signal(signal.SIGTERM)
        for side in every:
            side.end()
        return [
            Outcome(ours.name, plan, sidekiq.left, ours.left)
            for plan, (sidekiq, *all_of_ours) in sides
            for ours in all_of_ours
        ]


def _plan(version: Version, *, with_client: bool) -> Plan:
    jobs = cases.Jobs(version)
    queue = cases.with_fields_of_middleware(jobs, version) if with_client else cases.queued(jobs)
    return Plan(
        version=version,
        with_client=with_client,
        jobs=jobs,
        queue=list(queue),
        due=list(cases.due(jobs)),
        lost=list(cases.lost_from_queue(jobs, version)),
        lost_due=list(cases.lost_when_due(jobs, with_client=with_client)),
        end=jobs("end", "PlainJob", "end"),
    )


def test_jobs_of_a_queue_end_as_under_sidekiq(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert_same(outcome.sidekiq.running["retry"], outcome.gokiq.running["retry"])
        assert_same(outcome.sidekiq.dead, outcome.gokiq.dead)


def test_handlers_and_middleware_are_told_what_sidekiq_tells_them(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert_same(outcome.sidekiq.notes, outcome.gokiq.notes)


def test_due_jobs_pass_the_client_and_go_where_sidekiq_sends_them(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        # A promoted job runs while the next is promoted: each by itself is in order.
        assert_same(sorted(outcome.sidekiq.notes_of_due), sorted(outcome.gokiq.notes_of_due))
        assert_same(outcome.sidekiq.running["schedule"], outcome.gokiq.running["schedule"])
        ours, theirs = (
            _in_order(left.running["queue:elsewhere"], outcome.plan)
            for left in (outcome.gokiq, outcome.sidekiq)
        )
        assert_same(theirs, ours)


def test_all_other_keys_are_as_sidekiq_leaves_them(outcomes: list[Outcome]) -> None:
    """Registration, counters, metrics, queues: while it runs, and after its end."""
    for outcome in outcomes:
        for when in ("running", "ended"):
            theirs, ours = (
                _others(getattr(left, when), when) for left in (outcome.sidekiq, outcome.gokiq)
            )
            _explain_record(theirs, ours)
            assert_same(theirs, ours)


def test_what_sidekiq_loses_is_in_the_dead_set(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        masks = Masks(outcome.plan.started_s, set(outcome.plan.jobs.names))
        lost = [*outcome.plan.lost, *(member for _, member, _ in outcome.plan.lost_due)]
        expected = sorted(
            outcome.plan.named(masks.text(member.decode("utf-8", "backslashreplace")))
            for member in lost
        )

        assert _deaths(outcome.sidekiq) == []
        assert _deaths(outcome.gokiq) == expected


def test_the_log_has_sidekiqs_lines_about_jobs(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.name == "terse":
            continue
        lost = [name for name in outcome.plan.jobs.names.values() if _is_lost(name)]
        theirs, ours = (
            sorted(
                outcome.plan.mask(line)
                for line in left.log
                # The first use of a Redis pool, which another job may make.
                if "connecting to Redis" not in line and not any(f"«{n}»" in line for n in lost)
            )
            for left in (outcome.sidekiq, outcome.gokiq)
        )
        assert_same(theirs, ours)


def assert_same(theirs: object, ours: object) -> None:
    """Equal; the message is the difference, line by line."""
    had, has = (
        json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True).split("\n")
        for value in (theirs, ours)
    )
    lines = difflib.unified_diff(had, has, "sidekiq", "gokiq", n=2)
    difference = "\n".join(line.rstrip() for line in lines)
    assert not difference, difference


def _in_order(found: Any, plan: Plan) -> list[object]:
    """The jobs of a queue as bytes, but for the one whose `retry` we write last."""
    return sorted(
        json.dumps(json.loads(_CLOCK.sub('"clock"', job)), sort_keys=True)
        if LATE_DEFAULTS in job and not plan.with_client
        else job
        for job in found["content"]
    )


def _others(found: Dump, when: str) -> Dump:
    """All but what the other tests look at. Sidekiq counts and measures at its heartbeat: while it
    runs it lags behind.
    """
    seen = {"retry", "schedule", "dead", "queue:elsewhere"}
    lagging = ("stat:", "j|", "histogram ", "<identity>:work") if when == "running" else ("\n",)
    return {
        key: copy.deepcopy(value)
        for key, value in found.items()
        if key not in seen and not key.startswith(lagging)
    }


def _explain_record(theirs: Dump, ours: Dump) -> None:
    """Take out of the process record what only we have, and what Sidekiq does not tell any more."""
    mine, its = ours["<identity>"]["content"], theirs["<identity>"]["content"]
    its["info"], mine["info"] = (json.loads(_CLOCK.sub('"clock"', r["info"])) for r in (its, mine))
    for record, other in ((mine, its), (mine["info"], its["info"])):
        for name in OURS - set(other):
            record.pop(name, None)
    # The last heartbeat may have met a job.
    its.pop("busy"), mine.pop("busy")
    if "processes" not in ours:
        # The last heartbeat may have come before it was quiet, or after.
        its.pop("quiet"), mine.pop("quiet")


def _deaths(left: Left) -> list[str]:
    """What has come to the dead set since the queue was done."""
    before = [member for member, _ in left.dead["content"]]
    return sorted(m for m, _ in left.running["dead"]["content"] if m not in before)


def _is_lost(name: str) -> bool:
    return name in {"wrong log level", "without class", "class is a number"}
