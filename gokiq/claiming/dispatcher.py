"""The loop: valve, claim, send, settle. One task owns every claim between Redis and the workers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set

from gokiq.app.info import AppInfo
from gokiq.app.job import named
from gokiq.claiming.plan import Turns
from gokiq.claiming.reconcile import Reconciler
from gokiq.claiming.slots import Valve
from gokiq.claiming.takers import Ended, Takers
from gokiq.claiming.windows import Choice, Windows
from gokiq.core import (
    DEAD,
    DISCARDED,
    INTERNAL,
    MAX_BODY_BYTES,
    REFUSED,
    SHUTDOWN,
    Job,
    Outcome,
    backoff_s,
    make_jobs,
)
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.limits.counting import Gate, Need
from gokiq.limits.guards import Section
from gokiq.limits.target import Rules, Target
from gokiq.log import get_logger
from gokiq.store.broker import LEASE_S, Broker, Settlement, Taken, Wish

log = get_logger("dispatcher")

#: While at least half of the slots are busy, outcomes gather before they are settled, so that Redis
#: gets a hundred jobs a call instead of one: until this part of the jobs that are out has ended,
GATHERED_PART = 4
#: or at most for this part of the time that a job runs, for a slot is idle meanwhile,
LINGER_PART = 100
#: within these bounds, seconds.
LINGER_S = (0.001, 0.005)
#: Jobs that run for less, seconds, keep their workers computing: no slot of theirs is missed,
SHORT_S = 0.001
#: and their outcomes may gather for so long, seconds.
SHORT_LINGER_S = 0.002
#: Largest payload that a BATCH frame can carry: its limit less one entry's header.
MAX_PAYLOAD_BYTES = MAX_BODY_BYTES - 16
#: A claim whose reply is read so late, seconds, may have been adopted while we were paused: Redis
#: is asked again before its jobs run.
STALE_S = LEASE_S / 2
#: Pause after Redis refused a write (memory full, no permission), seconds.
REFUSAL_PAUSE_S = 1.0
#: The same refusal is logged again after this long, seconds.
COMPLAINT_S = 60.0


class Dispatcher:
    """Claims what the valve admits, hands it to the fleet, settles what comes back."""

    def __init__(
        self, broker: Broker, valve: Valve, app: AppInfo, fleet: Takers, rng: random.Random
    ) -> None:
        self._broker = broker
        self._valve = valve
        self._fleet = fleet
        self._rng = rng
        #: Limits beside the slots.
        self.gate = Gate(rng)
        self._turns = Turns(app, rng)
        self._windows = Windows()
        self._route(app)
        self._pending = Settlement()
        self._unsent: list[Job] = []
        self._held: dict[int, Job] = {}
        self._wake = asyncio.Event()
        self._gathered = asyncio.Event()
        self._enough = 0
        self._run_s = 0.0
        self._must_reconcile = False
        self._must_audit = False
        #: Compares what Redis holds for us with what we know.
        self.reconciler = Reconciler(broker, self)
        #: Whether jobs may have come since the last call was sent.
        self._was_poked = False
        self._pause_until = 0.0
        self._settle_from = 0.0
        self._failures = 0
        self._is_quiet = False
        self._is_draining = False
        self._released = asyncio.Event()
        #: Jobs that went back to their queues, by route.
        self._pushed_back: Counter[int] = Counter()
        #: Set while a queue was found empty and slots are free: the waker watches Redis then.
        self.starving = asyncio.Event()
        #: Set when Redis said that our lease is gone: whoever renews it should do so now.
        self.lease_lost = asyncio.Event()
        #: Outcomes that came too late: their claim had been adopted.
        self.dropped = 0
        #: Jobs that ended, and those of them that failed, as Sidekiq counts.
        self.processed = 0
        self.failed = 0
        #: Why Redis takes nothing from us now; empty while it does.
        self.fault = ""
        self._fault_since = 0.0
        self._outage_s = 0.0
        self._complaint = ""
        self._complain_from = 0.0
        #: Jobs that were settled, by route.
        self.settled_by_route: Counter[int] = Counter()
        #: Sees newly claimed jobs before they are sent; keeps those that must not run now.
        self.screen: Callable[[list[Job]], list[Job]] = lambda jobs: jobs

    def _route(self, app: AppInfo) -> None:
        self._routes = app.routes
        self._queue_of = [route.queue for route in app.routes]
        self._capsule_of = [route.capsule for route in app.routes]
        self._stray_routes = set(range(len(app.routes))) - app.live_routes
        self._hungry = {capsule.name: True for capsule in app.capsules}

    def _look_ahead(self) -> None:
        """Have windows where jobs are chosen by what they are."""
        live = [route for capsule in self._hungry for route in self._turns.routes(capsule)]
        tenants = self._turns.tenants
        self._windows.open(live if self.gate.looks_ahead else tenants, tenants)

    # what others tell us

    def limit(self, rules: Rules, needs: Mapping[Target, Need], *, is_first: bool = False) -> None:
        """Claim by these limits from now on; jobs that are out stay out."""
        ended = self._pending.numbers()
        self.gate.obey(rules, needs, self._routes, self._out(), ended=ended, is_first=is_first)
        self._look_ahead()
        self.poke()

    def _out(self) -> list[Job]:
        """Jobs that are claimed."""
        ended = [job for jobs in self._pending.well.values() for job in jobs]
        return [*self.running(), *self._unsent, *self._held.values(), *ended]

    def reloaded(self, app: AppInfo, rules: Rules, needs: Mapping[Target, Need]) -> None:
        """Claim by the capsules of this app, and these limits, from now on; its routes begin with
        those known before. Jobs of a queue that it does not read are settled, and go back if they
        were not sent.
        """
        former, self._turns = self._turns, Turns(app, self._rng)
        self._turns.follow(former)
        self._route(app)
        ended = self._pending.numbers()
        self.gate.obey(rules, needs, self._routes, self._out(), ended=ended)
        self._look_ahead()
        self._valve.resize({c.name: c.concurrency for c in app.capsules})
        unsent, self._unsent = self._unsent, []
        self._send(unsent)
        self.poke()

    def poke(self) -> None:
        """There may be jobs in the queues; look."""
        for capsule in self._hungry:
            self._hungry[capsule] = True
        self._was_poked = True
        self.gate.poke()
        self._windows.stirred()
        self._wake.set()

    def quiet(self) -> None:
        """Claim nothing from now on; outcomes are settled as before."""
        self._is_quiet = True
        self.starving.clear()
        self._wake.set()

    def room_changed(self) -> None:
        """A worker came, left, or changed its credit."""
        self._wake.set()

    def finished(self, ended: Ended) -> None:
        """Jobs ended in a worker."""
        if self.gate.is_active:
            self.gate.finished(ended.well, ended.special)
        for route, jobs in ended.well.items():
            self._pending.add_well(route, jobs)
            self.processed += len(jobs)
            self._run_s += (jobs[-1].elapsed_us / 1e6 - self._run_s) / 8
        for job, outcome in ended.special:
            self._pending.add(job.route, outcome)
            if outcome.status in (SHUTDOWN, REFUSED):
                self._pushed_back[job.route] += 1
            counts = outcome.counts
            self.processed += counts & 1
            if counts > 1:
                self.failed += 1
            if outcome.status == INTERNAL:
                _report(job, outcome)
        self._wake.set()
        if self._pending.size >= self._enough:
            self._gathered.set()

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Jobs that nobody runs any more go back to the tail of their queues, as they came."""
        for job in jobs:
            self._held.pop(job.number, None)
            self._pending.add(job.route, Outcome(job.number, REFUSED))
            self._pushed_back[job.route] += 1
        self._wake.set()

    def pushed_back(self) -> Counter[str]:
        """Jobs that have gone back to their queues since `drain`, by queue."""
        found: Counter[str] = Counter()
        for route, count in self._pushed_back.items():
            found[self._queue_of[route]] += count
        return found

    def hold(self, jobs: Iterable[Job]) -> None:
        """Jobs that are out nowhere and still ours: somebody decides about them."""
        for job in jobs:
            self._held[job.number] = job

    def unhold(self, job: Job) -> None:
        """A held job is out at a worker again."""
        self._held.pop(job.number, None)

    def park(self, job: Job) -> None:
        """A held job will not run soon: its slot is free for others meanwhile."""
        self._free(job.route, 1)
        self._turns.changed(job.route, -1)
        self._wake.set()

    def unpark(self, job: Job) -> None:
        """A parked job goes on; it is no longer held."""
        self._held.pop(job.number, None)
        self._take(job.route, 1)

    def run_anyway(self, jobs: Iterable[Job]) -> None:
        """Jobs that were held run like any other."""
        self._send(jobs)

    def bury(self, job: Job, payload: bytes | None, now: float) -> None:
        """A held job goes to the dead set as `payload`, at epoch seconds `now`; None drops it. It
        counts as one that ran and failed.
        """
        self._held.pop(job.number, None)
        status = DISCARDED if payload is None else DEAD
        outcome = Outcome(job.number, status, counts=3, score=now, payload=payload or b"")
        self.processed += 1
        self.failed += 1
        self._pending.add(job.route, outcome)
        self._wake.set()

    def drain(self) -> None:
        """The workers take no more jobs: what is claimed and not sent goes back, now and later."""
        self._is_draining = True
        self._pushed_back.clear()
        self._give_back_unsent()

    def _give_back_unsent(self) -> None:
        unsent, self._unsent = self._unsent, []
        self.give_back(unsent)

    @property
    def is_sated(self) -> bool:
        """True while there is more work in the queues than slots for it, or none is wanted: no
        wake-up needed.
        """
        return self._is_quiet or (
            not self.starving.is_set() and all(map(self._is_hungry, self._hungry))
        )

    @property
    def in_flight(self) -> int:
        """Jobs claimed and not yet settled."""
        return self._valve.taken

    @property
    def waiting(self) -> int:
        """Outcomes that wait for Redis; each has a claim, so the slots bound them."""
        return self._pending.size

    @property
    def outage_s(self) -> float:
        """How long there was a `fault`, over our life, seconds."""
        since = time.monotonic() - self._fault_since if self.fault else 0.0
        return self._outage_s + since

    def why_not_more(self, route: int) -> str:
        """What keeps this route's queue from running one job more, in a word or two; empty when
        nothing does.
        """
        capsule = self._capsule_of[route]
        if self._is_quiet:
            return "quiet"
        if self.fault:
            return "redis"
        if not self._fleet.ready_count:
            return "no worker"
        kinds = self._windows.waiting_kinds(route)
        why = self.gate.why(route, kinds) if self.gate.is_active else ""
        free = self._valve.free(capsule)
        if not why and (free == 0 or self._fleet.room <= len(self._unsent)):
            return "database pool" if free and self._fleet.holds_back else "slots"
        if not why and self._turns.caps(capsule, free).get(route, 1) == 0:
            return "reserve"
        return why

    def claimed_by_route(self) -> Counter[int]:
        """Jobs that are claimed, by route."""
        return Counter(job.route for job in self._out())

    def running(self) -> list[Job]:
        """Jobs out at the workers, in no order."""
        return [job for worker in self._fleet.workers for job in worker.open.values()]

    # the loop

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wait()
            try:
                await self._turn()
            except ConnectionLost as error:
                await self._outage(error)
            except ReplyError as error:
                self._complain(
                    str(error),
                    f"Redis refused to settle or claim, trying again every {REFUSAL_PAUSE_S:g} s",
                )
                self._note(str(error))
                # The script may have come half-way: claims that it took, outcomes that it wrote.
                self._must_reconcile = True
                await asyncio.sleep(REFUSAL_PAUSE_S)

    async def settled(self) -> None:
        """Wait until no outcome is pending and nothing is in flight; only meaningful once quiet."""
        while self._valve.taken:
            self._released.clear()
            await self._released.wait()

    async def _wait(self) -> None:
        while not (self._may_settle() or self._may_claim() or self._may_send()):
            self._wake.clear()
            self._note_starving()
            delay = max(self._pause_until, self._settle_from) - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            else:
                await self._woken()
        if self._pending.size and 2 * self._valve.taken >= self._valve.limit > 16:
            await self._gather()

    async def _woken(self) -> None:
        """Wait for news, or until a limit admits more by itself."""
        retry_at = self.gate.retry_at if self.gate.is_active else None
        if retry_at is None or self._is_quiet:
            await self._wake.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(retry_at - time.monotonic(), 0.0)):
                await self._wake.wait()

    async def _gather(self) -> None:
        """Wait for more outcomes to settle in one call."""
        self._enough = self._valve.taken // GATHERED_PART
        if self._pending.size >= self._enough:
            return
        self._gathered.clear()
        linger = asyncio.get_running_loop().call_later(linger_s(self._run_s), self._gathered.set)
        try:
            await self._gathered.wait()
        finally:
            linger.cancel()

    def _note_starving(self) -> None:
        is_short = (
            not self._is_quiet
            and self._fleet.room > 0
            and any(
                self._valve.free(capsule) and self._is_short(capsule) for capsule in self._hungry
            )
        )
        if is_short:
            self.starving.set()
        else:
            self.starving.clear()

    @property
    def _is_guarded(self) -> bool:
        """Whether there is more to a claim than slots and Sidekiq's order."""
        return self.gate.is_active or self._turns.is_active

    def _is_short(self, capsule: str) -> bool:
        """Whether a new job of a queue that was found empty could be claimed at once."""
        if not self._is_guarded:
            return not self._hungry[capsule]
        kinds = self.gate.kinds({})
        return any(
            cap > 0
            and (
                self._windows.is_watching(route, kinds)
                if self._windows.has(route)
                else self.gate.is_dry(route)
            )
            for route, cap in self._caps(capsule, {}, self._valve.free(capsule)).items()
        )

    def _is_hungry(self, capsule: str) -> bool:
        """Whether a claim may find jobs that it may take."""
        if not self._is_guarded:
            return self._hungry[capsule]
        free = self._valve.free(capsule)
        return any(cap > 0 for cap in self._open_caps(capsule, {}, free).values())

    def _caps(self, capsule: str, coming: Mapping[Target, int], free: int) -> dict[int, int]:
        """Jobs that may be claimed by each route of a capsule that has `free` slots."""
        caps = dict.fromkeys(self._turns.routes(capsule), free)
        for some in (self.gate.caps(coming), self._turns.caps(capsule, free)):
            for route in caps.keys() & some.keys():
                caps[route] = min(caps[route], some[route])
        return caps

    def _open_caps(self, capsule: str, coming: Mapping[Target, int], free: int) -> dict[int, int]:
        """As `_caps`; 0 also where a claim would find nothing."""
        caps = self._caps(capsule, coming, free)
        kinds = self.gate.kinds(coming)
        for route in caps:
            if not (
                self._windows.is_promising(route, kinds)
                if self._windows.has(route)
                else not self.gate.is_dry(route)
            ):
                caps[route] = 0
        return caps

    def _may_settle(self) -> bool:
        return (
            self._must_reconcile
            or self._must_audit
            or (
                (self._pending.size > 0 or self.gate.has_news)
                and time.monotonic() >= self._settle_from
            )
        )

    def _may_claim(self) -> bool:
        return (
            not self._is_quiet
            and not self._must_reconcile
            and time.monotonic() >= self._pause_until
            and self._fleet.room > len(self._unsent)
            and any(
                self._valve.free(capsule) and self._is_hungry(capsule) for capsule in self._hungry
            )
        )

    def _may_send(self) -> bool:
        return bool(self._unsent) and self._fleet.room > 0

    async def _turn(self) -> None:
        if self._must_reconcile:
            await self._reconcile()
        elif self._must_audit:
            await self.reconciler.audit()
        self._must_audit = False
        self._send(())
        settlement, self._pending = self._pending, Settlement()
        ended = settlement.by_route()
        coming = self.gate.coming(settlement.numbers()) if self._is_guarded else None
        for route, count in ended.items():
            self._turns.changed(route, -count)
        wishes, capsules = self._wishes(ended, coming)
        if not settlement.size and not wishes and not self.gate.has_news:
            self._pending = settlement
            await asyncio.sleep(0)  # what we have seen before may have changed meanwhile
            return
        choice = section = None
        if coming is not None:
            choice = self._windows.choose(wishes, self.gate.kinds(coming), time.monotonic())
            section = self.gate.section(choice.steps, coming)
            wishes = choice.wishes
        self._was_poked = False
        asked_at = time.monotonic()
        try:
            taken = await self._broker.settle_claim(
                settlement, wishes, section, choice.reads if choice else ()
            )
        except BaseException:
            self._put_back(settlement)
            for route, count in ended.items():
                self._turns.changed(route, count)
            self._windows.forget()
            raise
        self._failures = 0
        if taken.refusal:
            self._note(taken.refusal)
        elif wishes or settlement.special:  # releasing claims passes when memory is full, too
            self._note("")
        self._release(settlement, ended, taken)
        if time.monotonic() - asked_at > STALE_S:
            self._must_reconcile = True
            self._windows.forget()
            return
        self._receive(taken, wishes, capsules)
        if choice is not None and section is not None:
            self._heed(choice, section, taken, capsules)

    def _heed(self, choice: Choice, section: Section, taken: Taken, capsules: list[str]) -> None:
        """What the guards said, what became of the jobs that were chosen, and which queues had less
        than would have been admitted.
        """
        self.gate.answered(section, taken.left)
        self._windows.answered(choice, taken, time.monotonic())
        if not taken.lease_held or taken.refusal:
            return
        counts = iter(taken.counts)
        steps: list[tuple[int, int, int]] = []
        found: dict[str, list[tuple[Wish, list[int]]]] = {}
        for at, (capsule, (want, plan)) in enumerate(zip(capsules, choice.wishes, strict=True)):
            of_steps = [next(counts) for _ in plan]
            # One that was cut has asked for no more than it got.
            left = sum(of_steps) if at in taken.cut else want
            found.setdefault(capsule, []).append(((left, plan), of_steps))
            for (route, most), count in zip(plan, of_steps, strict=True):
                steps.append((route, min(left, most), count))
                left -= count
        if not self._was_poked:
            self.gate.found(section, taken.left, steps)
        for capsule, answers in found.items():
            self._turns.found(capsule, answers)

    def _wishes(
        self, ended: dict[int, int], coming_of: Mapping[Target, int] | None
    ) -> tuple[list[Wish], list[str]]:
        """How many jobs each capsule may claim once `ended` (route -> outcomes in the same call) is
        settled, and whose each wish is; `coming_of` is the same by target, where claims are
        guarded.
        """
        if self._is_quiet or time.monotonic() < self._pause_until:
            return [], []
        coming: Counter[str] = Counter()
        for route, count in ended.items():
            coming[self._capsule_of[route]] += count
        free = {capsule: self._valve.free(capsule, coming[capsule]) for capsule in self._hungry}
        wants: dict[str, int] = {}
        caps: dict[str, dict[int, int] | None] = {}
        for capsule, is_hungry in self._hungry.items():
            if coming_of is not None:
                caps[capsule] = open_ = self._open_caps(capsule, coming_of, free[capsule])
                wants[capsule] = min(free[capsule], sum(open_.values()))
            elif is_hungry:
                caps[capsule], wants[capsule] = None, free[capsule]
        room = max(self._fleet.room - len(self._unsent), 0)
        wishes: list[Wish] = []
        capsules: list[str] = []
        for capsule, share in self._valve.share(room, wants, coming).items():
            if not share:
                continue
            for wanted, plan in self._turns.wishes(capsule, share, free[capsule], caps[capsule]):
                if plan:
                    wishes.append((min(wanted, sum(most for _, most in plan)), plan))
                    capsules.append(capsule)
        return wishes, capsules

    def _put_back(self, settlement: Settlement) -> None:
        """The call failed: its outcomes go in front of what has ended since."""
        newer, self._pending = self._pending, settlement
        for route, jobs in newer.well.items():
            settlement.add_well(route, jobs)
        for route, outcome in newer.special:
            settlement.add(route, outcome)

    def _release(self, settlement: Settlement, ended: dict[int, int], taken: Taken) -> None:
        for route, count in ended.items():
            self._free(route, count)
            self.settled_by_route[route] += count
        if self._is_guarded:
            settled = settlement.numbers() - taken.unwritten
            self.gate.settled(settled)
            self._turns.settled(settled)
        if taken.unwritten:
            for route, outcome in settlement.special:
                if outcome.number in taken.unwritten:
                    self._take(route, 1)
                    self._pending.add(route, outcome)
            self._settle_from = time.monotonic() + REFUSAL_PAUSE_S
        if taken.refusal:
            self._pause_until = time.monotonic() + REFUSAL_PAUSE_S
            waiting = len(taken.unwritten)
            self._complain(
                taken.refusal, f"Redis refuses writes, {waiting} outcomes wait and fetching pauses"
            )
        if taken.dropped:
            self.dropped += taken.dropped
            log.warning(
                "%d outcomes dropped: their claims were adopted while we had no lease, "
                "those jobs run again",
                taken.dropped,
            )

    def _receive(self, taken: Taken, wishes: list[Wish], capsules: list[str]) -> None:
        if not taken.lease_held:
            self._pause_until = time.monotonic() + 0.05
            self.lease_lost.set()
            return
        found = dict.fromkeys(capsules, 0)
        now = time.monotonic()
        number = taken.first_number
        claimed: list[Job] = []
        for route, payloads in taken.claims:
            jobs, giants = make_jobs(number, route, payloads, now, MAX_PAYLOAD_BYTES)
            claimed += jobs
            for giant in giants:
                self._bury_giant(giant)
            number += len(payloads)
            found[self._capsule_of[route]] += len(payloads)
            self._take(route, len(payloads))
        for at, (capsule, (want, _)) in enumerate(zip(capsules, wishes, strict=True)):
            if capsule in self._hungry:  # it may have gone since
                may_have_more = found[capsule] >= want or at in taken.cut
                self._hungry[capsule] = may_have_more or self._was_poked
        if claimed:
            if self.gate.is_active:
                self.gate.claimed(claimed)
            self._send(self.screen(claimed))

    def _send(self, jobs: Iterable[Job]) -> None:
        self._unsent += self._without_strays(jobs) if self._stray_routes else jobs
        if self._is_draining:
            self._give_back_unsent()
        elif self._unsent and self._fleet.room > 0:
            self._unsent = self._fleet.assign(self._unsent)

    def _without_strays(self, jobs: Iterable[Job]) -> list[Job]:
        """Jobs of queues that the app no longer reads are for others."""
        jobs = list(jobs)
        self.give_back(job for job in jobs if job.route in self._stray_routes)
        return [job for job in jobs if job.route not in self._stray_routes]

    def _bury_giant(self, job: Job) -> None:
        """A payload that no frame can carry goes to the dead set as it is, uncounted."""
        queue = self._queue_of[job.route]
        log.error(
            "A job of %d bytes in queue %s goes to the dead set: at most %d can be run; "
            "pass a reference to the data",
            len(job.payload),
            queue,
            MAX_PAYLOAD_BYTES,
        )
        self._pending.add(job.route, Outcome(job.number, DEAD))

    # outages

    async def _outage(self, error: ConnectionLost) -> None:
        """Redis is gone: keep the outcomes, claim nothing, try with jitter, then reconcile."""
        log.error("%s; outcomes wait, fetching pauses", error)
        self._note(str(error))
        began = time.monotonic()
        self._must_reconcile = True
        while self._must_reconcile:
            # Counted until a call has settled: a replica answers all that reconciling asks.
            await asyncio.sleep(backoff_s(self._failures, self._rng.random()))
            self._failures += 1
            try:
                await self._reconcile()
            except (ConnectionLost, ReplyError) as again:
                self._note(str(again))
                log.debug("Redis is still away: %s", again)
        log.info("Redis is back after %.1f s", time.monotonic() - began)
        self.poke()

    async def _reconcile(self) -> None:
        """Compare what Redis holds for us with what we know, after replies may have been lost."""
        await self.reconciler.after_loss()
        self._must_reconcile = False
        self._note("")

    def audit(self) -> None:
        """Compare them although nothing was lost, as soon as no call is under way."""
        self._must_audit = True
        self._wake.set()

    def known(self) -> set[int]:
        """Numbers of all claims that we know of."""
        known = {job.number for job in self.running()} | {job.number for job in self._unsent}
        return known | self._pending.numbers() | self._held.keys()

    def keep(self, held: Set[int]) -> None:
        """Redis holds only these claims for us. Outcomes of the others were settled by a call whose
        reply was lost, or somebody has adopted them: those that were not sent run elsewhere.
        """
        for route, count in self._pending.keep(held).items():
            self._drop(route, count)
        unsent, self._unsent = self._unsent, []
        for job in unsent:
            if job.number in held:
                self._unsent.append(job)
            else:
                self._drop(job.route, 1)
        out = held | self.known()  # what runs here counts, whoever has its claim
        self.gate.keep(out)
        self._turns.keep(out)

    def _drop(self, route: int, slots: int) -> None:
        self._free(route, slots)
        self._turns.changed(route, -slots)

    def found(self, claims: list[tuple[int, int, bytes]]) -> None:
        """Claims of ours that we had not heard of (number, route, payload) run now."""
        now = time.monotonic()
        found: list[Job] = []
        for number, of_queue, payload in claims:
            route = self._freest(of_queue)
            self._take(route, 1)
            jobs, giants = make_jobs(number, route, [payload], now, MAX_PAYLOAD_BYTES)
            found += jobs
            for giant in giants:
                self._bury_giant(giant)
        if self.gate.is_active:
            self.gate.claimed(found)
        self._turns.found_again(found)
        self._send(self.screen(found))

    def _freest(self, route: int) -> int:
        """Of the routes of the same queue that of the capsule with most free slots: which one had
        claimed from it was said in the lost reply.
        """
        queue = self._queue_of[route]
        same = [other for other, name in enumerate(self._queue_of) if name == queue]
        return max(same, key=lambda other: self._valve.free(self._capsule_of[other]))

    def _complain(self, refusal: str, what: str) -> None:
        """Log it, but the same refusal only now and then."""
        now = time.monotonic()
        if refusal != self._complaint or now >= self._complain_from:
            self._complaint, self._complain_from = refusal, now + COMPLAINT_S
            log.error("%s: %s", what, refusal)

    def _note(self, fault: str) -> None:
        if self.fault:
            self._outage_s = self.outage_s
        self.fault, self._fault_since = fault, time.monotonic()

    def _free(self, route: int, slots: int) -> None:
        self._valve.release(self._capsule_of[route], slots)
        self._released.set()

    def _take(self, route: int, slots: int) -> None:
        self._valve.take(self._capsule_of[route], slots)
        self._turns.changed(route, slots)


def linger_s(run_s: float) -> float:
    """How long outcomes of jobs that run so long may gather, seconds."""
    if run_s < SHORT_S:
        return SHORT_LINGER_S
    least, most = LINGER_S
    return min(max(run_s / LINGER_PART, least), most)


def _report(job: Job, outcome: Outcome) -> None:
    name = named(job.payload)
    log.error(
        "%s goes to the dead set as it came, the worker could not judge it: %s: %s",
        name,
        outcome.error_class or "unknown error",
        outcome.error_message,
    )
