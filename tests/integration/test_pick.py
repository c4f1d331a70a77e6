"""lua/pick.lua on a real Redis, and a window (gokiq.lookahead) that chooses for it."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable
from importlib.resources import files

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devtools.redis_server import RedisServer
from gokiq.claiming.queue_window import Entry, Lookahead
from gokiq.claiming.tenants import TenantPath, Tenants

#: Gate 1 admits ARGV[3] jobs, gate 2 none.
DRIVER = b"""
local left = tonumber(ARGV[3])
local function admit(gate)
  if gate == 2 or left <= 0 then return false end
  left = left - 1
  return true
end
local taken, gone, refusal = pick(KEYS[1], KEYS[2], tonumber(ARGV[1]), ARGV, 4, (#ARGV - 3) / 2,
  tonumber(ARGV[2]), admit)
return { taken, gone, refusal or '' }
"""
SOURCE = files("gokiq.store").joinpath("lua", "pick.lua").read_bytes() + DRIVER
QUEUE, CLAIMS = "queue:a", "gokiq:claims:me:a"
Pick = Callable[..., tuple[list[int], list[int], bytes]]


@pytest.fixture
def pick(client: redis.Redis) -> Pick:
    """Pick these payloads, or (gate, payload) pairs."""
    script = client.register_script(SOURCE)

    def run(
        candidates: Iterable[object],
        most: int = 1000,
        *,
        number: int = 1,
        admitted: int = 1000,
        claims: str = CLAIMS,
    ) -> tuple[list[int], list[int], bytes]:
        pairs = [one if isinstance(one, tuple) else (0, one) for one in candidates]
        argv = [number, most, admitted, *(part for pair in pairs for part in pair)]
        taken, gone, refusal = script(keys=[QUEUE, claims], args=argv)
        return taken, gone, refusal

    return run


def waiting(client: redis.Redis) -> list[bytes]:
    """The queue, the oldest first."""
    payloads: list[bytes] = client.lrange(QUEUE, 0, -1)  # type: ignore[assignment]
    return payloads[::-1]


def test_takes_what_was_chosen_and_leaves_the_rest_in_order(
    pick: Pick, client: redis.Redis
) -> None:
    client.lpush(QUEUE, *"abcdefg")

    assert pick(["b", "d", "g"], number=7) == ([1, 2, 3], [], b"")

    assert waiting(client) == [b"a", b"c", b"e", b"f"]
    assert client.hgetall(CLAIMS) == {b"7": b"b", b"8": b"d", b"9": b"g"}


def test_takes_the_very_tail_at_once(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, *(str(i) for i in range(1500)))
    client.config_resetstat()

    taken, _, _ = pick(str(i) for i in range(600))

    assert taken == list(range(1, 601))
    assert waiting(client)[0] == b"600"
    assert client.hlen(CLAIMS) == 600
    assert "cmdstat_lpos" not in client.info("commandstats")


def test_after_a_gap_goes_on_one_by_one(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, *"abcdef")

    assert pick(["a", "b", "d", "e"]) == ([1, 2, 3, 4], [], b"")
    assert waiting(client) == [b"c", b"f"]


def test_takes_no_more_than_asked_for(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, *"abcdef")

    assert pick(["a", "b", "c", "d"], 0) == ([], [], b"")
    assert pick(["a", "b", "c", "d"], 2) == ([1, 2], [], b"")
    assert waiting(client) == [b"c", b"d", b"e", b"f"]
    client.rpush(QUEUE, "b", "a")
    assert pick(["a", "b", "d", "e"], 3) == ([1, 2, 3], [], b"")
    assert pick(["c", "e"], 0) == ([], [], b"")
    assert waiting(client) == [b"c", b"e", b"f"]


def test_says_what_somebody_else_has_taken(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, *"bd")

    assert pick(["a", "b", "c", "d"], number=5) == ([2, 4], [1, 3], b"")
    assert client.hgetall(CLAIMS) == {b"5": b"b", b"6": b"d"}
    assert pick(["a"]) == ([], [1], b"")


@pytest.mark.parametrize(
    "payload", ["same", "123", "-5", "0123", "1e5", "", "\x00\xff", "x" * 9000]
)
def test_each_copy_of_a_payload_is_taken_once(
    pick: Pick, client: redis.Redis, payload: str
) -> None:
    client.lpush(QUEUE, payload, "between", payload)

    assert pick(["between", payload, payload, payload]) == ([1, 2, 3], [4], b"")
    assert client.llen(QUEUE) == 0
    assert sorted(client.hvals(CLAIMS)) == sorted([payload.encode(), b"between", payload.encode()])


def test_of_identical_payloads_the_oldest_goes_first(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, "first", "same", "between", "same", "last")

    assert pick(["same"]) == ([1], [], b"")
    assert waiting(client) == [b"first", b"between", b"same", b"last"]


def test_a_gate_that_closes_half_way_leaves_its_jobs(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, *"abcdef")

    taken, gone, _ = pick([(1, "a"), (1, "b"), (1, "c"), (0, "d"), (2, "e"), (0, "f")], admitted=2)

    assert (taken, gone) == ([1, 2, 4, 6], [])
    assert waiting(client) == [b"c", b"e"]


def test_a_gate_counts_only_jobs_that_are_there(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, "x", "b")

    taken, gone, _ = pick([(1, "a"), (1, "b")], admitted=1)

    assert (taken, gone) == ([2], [1])


def test_looks_for_a_job_near_the_tail_only(pick: Pick, client: redis.Redis) -> None:
    """Through a million jobs it would block Redis for tens of milliseconds."""
    client.lpush(QUEUE, *(str(i) for i in range(5000)))

    assert pick(["4999", "2000", "1999"]) == ([3], [1, 2], b"")
    assert b"4999" in client.lrange(QUEUE, 0, 0)


def test_what_is_no_list_is_said(pick: Pick, client: redis.Redis) -> None:
    client.set(QUEUE, "text")

    taken, gone, refusal = pick(["a"])

    assert (taken, gone) == ([], [])
    assert refusal.startswith(b"queue:a: ")
    assert b"WRONGTYPE" in refusal


def test_a_full_redis_leaves_the_jobs_in_their_queue(pick: Pick, client: redis.Redis) -> None:
    client.lpush(QUEUE, *"abc")
    pick([])  # loads the script
    client.config_set("maxmemory", 1)
    try:
        tail = pick(["a", "b"])
        middle = pick(["b", "c"])
    finally:
        client.config_set("maxmemory", 0)

    for taken, gone, refusal in (tail, middle):
        assert (taken, gone) == ([], [])
        assert b"OOM" in refusal
    assert waiting(client) == [b"a", b"b", b"c"]


# with a window


class Claimer:
    """Claims as the dispatcher does, each job held until `release`."""

    def __init__(self, client: redis.Redis, window: Lookahead, name: str = "me") -> None:
        self.client = client
        self.window = window
        self.script = client.register_script(SOURCE)
        self.claims = f"gokiq:claims:{name}:a"
        self.number = 1
        self.now = 0.0
        self.running: dict[int, Entry] = {}
        #: Classes that are limited.
        self.limits: dict[str, int] = {}

    def admits(self, kind: str) -> bool:
        limit = self.limits.get(kind)
        return limit is None or self.used[kind] < limit

    def take(self, kind: str) -> None:
        self.used[kind] = self.used.get(kind, 0) + 1

    def claim(self, want: int) -> list[Entry]:
        """One round trip."""
        self.used = dict.fromkeys(self.limits, 0)
        for entry in self.running.values():
            self.take(entry.kind)
        chosen = self.window.choose(want, self, self.now)
        part = self.window.range(want, self.now)
        argv: list[bytes | int] = [self.number, want, 1000]
        for entry in chosen:
            argv += (0, entry.payload)
        with self.client.pipeline(transaction=False) as pipe:
            self.script(keys=[QUEUE, self.claims], args=argv, client=pipe)
            if part:
                pipe.lrange(QUEUE, *part)
            (taken, gone, _), *read = pipe.execute()
        for ordinal in taken:
            self.running[self.number] = chosen[ordinal - 1]
            if self.window.tenants:
                self.window.tenants.started(self.number, chosen[ordinal - 1].tenant, self.now)
            self.number += 1
        self.window.result(chosen, {o - 1 for o in taken}, {o - 1 for o in gone}, self.now)
        if part:
            self.window.seen(*part, read[0], self.now)
        return [chosen[ordinal - 1] for ordinal in taken]

    def release(self, numbers: Iterable[int] | None = None) -> None:
        for number in list(self.running) if numbers is None else numbers:
            del self.running[number]
            self.client.hdel(self.claims, number)
            if self.window.tenants:
                self.window.tenants.ended([number], self.now)

    def claim_all(self, want: int) -> list[bytes]:
        """Claim, and end what was claimed, until there is no more to find."""
        found = []
        while self.window.is_promising(self):
            found += [entry.payload for entry in self.claim(want)]
            self.release()
        return found

    used: dict[str, int] = {}  # noqa: RUF012


def job(n: int, kind: str = "Job", account: int = 0) -> bytes:
    document = {"class": kind, "args": [{"account_id": account}], "jid": f"{n:024x}"}
    return json.dumps(document, separators=(",", ":")).encode()


def test_a_window_drains_a_queue_in_order(client: redis.Redis) -> None:
    jobs = [job(n) for n in range(3000)]
    client.lpush(QUEUE, *jobs)

    found = Claimer(client, Lookahead()).claim_all(50)

    assert found == jobs


def test_jobs_behind_a_limited_class_are_found(client: redis.Redis) -> None:
    client.lpush(QUEUE, *(job(n, "Slow") for n in range(400)), *(job(n) for n in range(400, 500)))
    claimer = Claimer(client, Lookahead())
    claimer.limits = {"Slow": 2}

    kinds = [entry.kind for _ in range(12) for entry in claimer.claim(100)]

    assert kinds.count("Slow") == 2
    assert kinds.count("Job") == 100


def test_a_window_without_admitted_jobs_says_so_and_reads_no_more(client: redis.Redis) -> None:
    client.lpush(QUEUE, *(job(n, "Slow") for n in range(2000)))
    claimer = Claimer(client, Lookahead())
    claimer.limits = {"Slow": 1}
    for _ in range(12):
        claimer.claim(10)

    assert len(claimer.running) == 1
    assert claimer.window.is_exhausted
    claimer.used = {"Slow": 1}
    assert not claimer.window.is_promising(claimer)
    assert sum(claimer.window.waiting_kinds.values()) == 1000
    claimer.release()
    assert [entry.payload for entry in claimer.claim(10)] == [job(1, "Slow")]


def test_broken_payloads_are_claimed_like_others(client: redis.Redis) -> None:
    broken = [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"{}", b"123", b'{"class":5}']
    client.lpush(QUEUE, *broken)

    window = Lookahead(tenants=Tenants(TenantPath("args.0.account_id")))
    assert sorted(Claimer(client, window).claim_all(3)) == sorted(broken)


def test_jobs_that_came_back_to_the_tail_are_seen(client: redis.Redis) -> None:
    client.lpush(QUEUE, *(job(n) for n in range(500)))
    claimer = Claimer(client, Lookahead())
    claimer.claim(5)
    claimer.claim(5)
    client.rpush(QUEUE, job(999))
    claimer.now = 2.0
    claimer.claim(5)

    assert claimer.claim(1)[0].payload == job(999)


def test_tenants_share_the_slots_of_a_queue(client: redis.Redis) -> None:
    """One tenant has 600 jobs in front of the others' 40."""
    client.lpush(QUEUE, *(job(n, account=1) for n in range(600)))
    client.lpush(QUEUE, *(job(n, account=2 + n % 4) for n in range(600, 640)))
    claimer = Claimer(client, Lookahead(tenants=Tenants(TenantPath("args.0.account_id"))))
    for _ in range(4):
        claimer.claim(1)

    while len(claimer.running) < 20:
        claimer.claim(20 - len(claimer.running))

    tenants = [entry.tenant for entry in claimer.running.values()]
    assert sorted(tenants.count(str(n)) for n in range(1, 6)) == [4, 4, 4, 4, 4]


def test_claimers_at_once_take_each_job_once(server: RedisServer, client: redis.Redis) -> None:
    jobs = [job(n, f"Kind{n % 7}", n % 11) for n in range(4000)]
    client.lpush(QUEUE, *jobs)
    found: list[list[bytes]] = []

    def work(name: str) -> None:
        own = redis.Redis(unix_socket_path=str(server.socket))
        claimer = Claimer(own, Lookahead(tenants=Tenants(TenantPath("args.0.account_id"))), name)
        # Until another's claim has left the window empty twice in a row.
        mine: list[bytes] = []
        while own.llen(QUEUE):
            claimer.window.stirred()
            mine += claimer.claim_all(20)
        found.append(mine)
        own.close()

    threads = [threading.Thread(target=work, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(one for mine in found for one in mine) == sorted(jobs)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["push", "give back", "steal", "claim", "end", "pass"]),
            st.integers(1, 40),
        ),
        max_size=40,
    ),
    st.integers(0, 1000),
)
def test_nothing_is_lost_or_taken_twice_whatever_others_do(
    client: redis.Redis, acts: list[tuple[str, int]], seed: int
) -> None:
    client.flushall()
    rng = random.Random(seed)
    claimer = Claimer(client, Lookahead(look=50))
    claimer.limits = {"A": 3}
    pushed: set[bytes] = set()
    stolen: list[bytes] = []
    ours: list[bytes] = []
    for act, count in [*acts, ("pass", 2), *[("claim", 50), ("end", 50)] * 40]:
        if act in ("push", "give back"):
            new = [job(len(pushed) + n, rng.choice("AB")) for n in range(count)]
            pushed.update(new)
            (client.lpush if act == "push" else client.rpush)(QUEUE, *new)
        elif act == "steal":
            lost: list[bytes] | None = client.rpop(QUEUE, count)  # type: ignore[assignment]
            stolen += lost or []
        elif act == "claim":
            claimer.window.stirred()
            ours += [entry.payload for entry in claimer.claim(count)]
            assert sum(entry.kind == "A" for entry in claimer.running.values()) <= 3
            assert len(client.hvals(claimer.claims)) == len(claimer.running)
        elif act == "end":
            claimer.release(list(claimer.running)[:count])
        else:
            claimer.now += count

    assert client.llen(QUEUE) == 0 or len(pushed) > 100
    left = client.lrange(QUEUE, 0, -1)
    assert sorted([*stolen, *ours, *left]) == sorted(pushed)
