"""The window of a queue, against a model of the queue: a list, the oldest last."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gokiq.app.job import UNKNOWN, kind_of
from gokiq.claiming import queue_window as lookahead
from gokiq.claiming.queue_window import FIRST_READ, LOOK, Entry, Lookahead
from gokiq.claiming.tenants import TenantPath, Tenants


def job(n: int, kind: str = "A", account: int = 0, size: int = 0) -> bytes:
    args = [{"account_id": account, "text": "x" * size}]
    return json.dumps({"class": kind, "args": args, "jid": n}).encode()


class Queue:
    """Redis, and the one who claims from it through a window."""

    def __init__(self, window: Lookahead) -> None:
        self.list: list[bytes] = []  # the newest first, as in Redis
        self.window = window
        self.now = 0.0
        self.number = 0
        self.limits: dict[str, int] = {}
        self.used: dict[str, int] = {}
        #: Payloads that Redis does not admit although we thought so.
        self.refused: set[bytes] = set()
        self.read: list[int] = []

    def admits(self, kind: str) -> bool:
        return self.used.get(kind, 0) < self.limits.get(kind, 1_000_000)

    def take(self, kind: str) -> None:
        self.used[kind] = self.used.get(kind, 0) + 1

    def push(self, *payloads: bytes) -> None:
        self.list[:0] = reversed(payloads)

    def claim(self, want: int) -> list[bytes]:
        """A round trip; what is claimed ends at once, but counts for `limits` until the next."""
        self.used = {}
        chosen = self.window.choose(want, self, self.now)
        part = self.window.range(want, self.now)
        taken, gone = set(), set()
        for at, entry in enumerate(chosen):
            if entry.payload not in self.list:
                gone.add(at)
            elif entry.payload not in self.refused:
                taken.add(at)
                self.list.reverse()
                self.list.remove(entry.payload)
                self.list.reverse()
        self.window.result(chosen, taken, gone, self.now)
        if part:
            start, stop = part
            count = len(self.list)
            payloads = self.list[max(count + start, 0) : max(count + stop + 1, 0)]
            self.read.append(len(payloads))
            self.window.seen(start, stop, payloads, self.now)
        return [chosen[at].payload for at in sorted(taken)]

    def drain(self, want: int) -> list[bytes]:
        found = []
        while self.window.is_promising(self):
            found += self.claim(want)
            self.used = {}
        return found


def held(window: Lookahead) -> list[bytes]:
    """What is in the window, the oldest first."""
    entries: list[Entry] = [
        entry for kinds in window._groups.values() for line in kinds.values() for entry in line
    ]
    return [entry.payload for entry in sorted(entries, key=lambda entry: entry.place)]


@pytest.fixture
def queue() -> Queue:
    return Queue(Lookahead())


def test_the_first_claim_reads_and_the_second_finds(queue: Queue) -> None:
    jobs = [job(n) for n in range(5)]
    queue.push(*jobs)

    assert queue.claim(2) == []
    assert queue.window.is_promising()
    assert queue.claim(2) == jobs[:2]


def test_a_queue_is_drained_in_its_order(queue: Queue) -> None:
    jobs = [job(n, random.Random(n).choice("ABC")) for n in range(700)]
    queue.push(*jobs)

    assert queue.drain(9) == jobs


def test_each_job_is_read_about_once(queue: Queue) -> None:
    queue.push(*(job(n) for n in range(5000)))

    queue.drain(10)

    assert sum(queue.read) < 2 * 5000
    assert len(queue.read) < 300


def test_a_window_that_has_enough_reads_nothing(queue: Queue) -> None:
    queue.push(*(job(n) for n in range(5000)))
    queue.claim(10)
    queue.claim(10)
    reads = len(queue.read)

    queue.claim(10)

    assert len(queue.read) == reads


def test_a_queue_of_one_class_that_is_shut_is_looked_at_so_far_and_no_further(queue: Queue) -> None:
    queue.push(*(job(n, "Shut") for n in range(3 * LOOK)))
    queue.limits = {"Shut": 0}

    claims = 0
    while queue.window.is_promising(queue):
        assert queue.claim(10) == []
        claims += 1

    assert claims < 12
    assert queue.window.is_exhausted
    assert queue.window.waiting_kinds == {"Shut": LOOK}


def test_what_is_beyond_the_window_comes_when_there_is_place(queue: Queue) -> None:
    queue.push(*(job(n, "Shut") for n in range(LOOK)), job(LOOK, "Open"))
    queue.limits = {"Shut": 0}
    assert queue.drain(10) == []

    queue.limits = {"Shut": 1}

    assert job(LOOK, "Open") in [*queue.claim(10), *queue.claim(10), *queue.claim(10)]


def test_who_is_told_that_jobs_came_looks_again(queue: Queue) -> None:
    queue.push(job(0, "Shut"))
    queue.limits = {"Shut": 0}
    queue.drain(5)
    queue.push(job(1))
    assert not queue.window.is_promising(queue)

    queue.window.stirred()

    assert queue.drain(5) == [job(1)]


def test_jobs_that_come_while_it_reads_are_looked_for(queue: Queue) -> None:
    queue.push(job(0, "Shut"))
    queue.limits = {"Shut": 0}
    part = queue.window.range(1, 0.0)
    assert part is not None

    queue.window.stirred()
    queue.window.seen(*part, [job(0, "Shut")], 0.0)

    assert queue.window.is_promising(queue)
    queue.push(job(1))
    assert queue.drain(5) == [job(1)]


def test_large_payloads_bound_the_window_by_bytes(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookahead, "LOOK_BYTES", 150 * 1000)
    queue.push(*(job(n, "Shut", size=1000) for n in range(2000)))
    queue.limits = {"Shut": 0}

    queue.drain(10)

    assert FIRST_READ <= len(held(queue.window)) <= 150
    assert queue.window.is_exhausted


def test_a_window_forgets_what_others_have_taken(queue: Queue) -> None:
    jobs = [job(n) for n in range(50)]
    queue.push(*jobs)
    queue.claim(5)
    del queue.list[-20:]

    assert queue.claim(5) == []  # they are gone
    assert queue.claim(5) == []  # read again
    assert queue.claim(5) == jobs[20:25]


def test_jobs_that_came_back_to_the_tail_are_the_next(queue: Queue) -> None:
    queue.push(*(job(n) for n in range(500)))
    queue.claim(60)
    queue.claim(60)
    queue.list.append(job(999))

    found = []
    for _ in range(7):
        found += queue.claim(60)
        assert len(set(held(queue.window))) == len(held(queue.window))

    assert job(999) in found
    assert held(queue.window) == queue.list[::-1][: len(held(queue.window))]


def test_after_a_while_the_whole_window_is_read_again(queue: Queue) -> None:
    queue.push(*(job(n) for n in range(500)))
    queue.claim(5)
    queue.list.append(job(999))
    queue.now = 1.0
    queue.claim(5)

    assert queue.claim(1) == [job(999)]


def test_newer_jobs_that_redis_does_not_admit_are_not_there_twice(queue: Queue) -> None:
    queue.push(*(job(n, "Shut") for n in range(60)), *(job(n) for n in range(60, 500)))
    queue.limits = {"Shut": 0}
    queue.claim(200)
    queue.refused = {job(90), job(199)}

    queue.claim(200)

    assert held(queue.window) == queue.list[::-1][: len(held(queue.window))]
    assert len(held(queue.window)) > 62


def test_what_redis_does_not_admit_stays_in_its_place(queue: Queue) -> None:
    jobs = [job(n) for n in range(300)]
    queue.push(*jobs)
    queue.claim(50)
    queue.refused = {jobs[1], jobs[40]}

    assert queue.claim(50) == [jobs[0], *jobs[2:40], *jobs[41:50]]
    assert held(queue.window)[:3] == [jobs[1], jobs[40], jobs[50]]
    queue.refused.clear()
    assert queue.claim(2) == [jobs[1], jobs[40]]


def test_an_answer_to_a_question_that_was_forgotten_is_ignored(queue: Queue) -> None:
    queue.push(job(0))
    part = queue.window.range(1, 0.0)
    assert part is not None

    queue.window.forget()
    queue.window.seen(*part, [job(0)], 0.0)

    assert held(queue.window) == []


def test_what_was_chosen_before_forgetting_does_not_come_back(queue: Queue) -> None:
    queue.push(job(0), job(1))
    queue.claim(1)
    chosen = queue.window.choose(1, None, 0.0)

    queue.window.forget()
    queue.window.result(chosen, set(), set(), 0.0)

    assert held(queue.window) == []


def test_classes_are_read_as_the_app_names_them() -> None:
    assert kind_of(b'{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"MailJob"}') == "MailJob"
    assert kind_of(b'{"args":[{"class":"No"}],"class":"Yes"}') == "Yes"
    for broken in (b"", b"{", b"[]", b'{"class":1}', b"null", b"\xff"):
        assert kind_of(broken) == UNKNOWN


def test_tenants_take_turns_and_each_keeps_its_order() -> None:
    tenants = Tenants(TenantPath("args.0.account_id"))
    queue = Queue(Lookahead(tenants=tenants))
    queue.push(*(job(n, account=1) for n in range(50)), job(100, account=2), job(101, account=2))
    queue.claim(4)

    found = queue.claim(4)

    assert sorted(found) == sorted([job(0, account=1), job(1, account=1), *map(two, (100, 101))])
    assert found.index(two(100)) < found.index(two(101))


def two(n: int) -> bytes:
    return job(n, account=2)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["push", "back", "steal", "claim", "claim", "pass", "refuse"]),
        st.integers(1, 30),
    ),
    max_size=60,
)


@pytest.mark.parametrize("by_tenant", [False, True])
@given(ACTS, st.integers(0, 1000))
def test_every_job_is_found_once_whatever_others_do(
    by_tenant: bool, acts: list[tuple[str, int]], seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookahead, "FIRST_READ", 3)
        play(by_tenant, acts, random.Random(seed))


def play(by_tenant: bool, acts: list[tuple[str, int]], rng: random.Random) -> None:
    tenants = Tenants(TenantPath("args.0.account_id")) if by_tenant else None
    queue = Queue(Lookahead(tenants=tenants, look=80))
    queue.limits = {"A": 2}
    pushed: set[bytes] = set()
    found: list[bytes] = []
    others = False
    for act, count in acts:
        new = [job(len(pushed) + n, rng.choice("ABC"), rng.randrange(4)) for n in range(count)]
        if act == "push":
            pushed.update(new)
            queue.push(*new)
        elif act == "back":
            pushed.update(new)
            queue.list += new
            others = True
        elif act == "steal":
            found += queue.list[-count:]
            del queue.list[-count:]
            others = True
        elif act == "refuse":
            queue.refused = set(rng.sample(queue.list, min(count, len(queue.list))))
        elif act == "claim":
            queue.window.stirred()
            found += queue.claim(count)
            inside = held(queue.window)
            if not others:  # then we know exactly what is where
                assert inside == queue.list[::-1][: len(inside)]
        else:
            queue.now += count
    queue.refused, queue.limits = set(), {}
    queue.now += 10
    queue.window.stirred()

    found += queue.drain(7)

    assert queue.list == []
    assert sorted(found) == sorted(pushed)
