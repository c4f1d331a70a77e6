"""How many jobs a database or service bears at once, learned from how long they take. Pure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from gokiq.limits.latency_curve import Curve

#: Jobs may become so many times slower than unloaded before the limit shrinks.
TOLERANCE = 1.8
#: Standard error that a window's mean of log latency should have; at the start and in probes, where
#: few jobs run, a larger one.
PRECISION, COARSE = 0.07, 0.15
#: A window ends early when it is so many standard errors above the tolerance.
ALARM = 4.0
#: The first measurement at the minimum goes on until the error is so small; after the shorter time,
#: seconds, the coarse one will do, after the longer one any.
FLOOR_PRECISION, FLOOR_S, LONGEST_FLOOR_S = 0.05, 1.0, 10.0
#: A probe has at most so many jobs.
LONGEST_PROBE = 64
#: A window has at least so many jobs, and at most so many for the sake of precision.
FEWEST, MOST = 8, 400
#: Growth a window at the start.
START_GROWTH = 1.5
#: Largest step of a later window, of the limit's logarithm: upwards near the unloaded latency,
#: upwards else, and for latency downwards.
NEAR_STEP, STEP, CUT = 0.2, 0.12, 0.7
#: Cut for an error of overload, at most once a round.
ERROR_CUT = 0.7
#: Shares of the limit at which errors began: from the one on it grows slowly, at the other they are
#: forgotten.
NEAR, FORGIVEN = 0.9, 1.2
#: More jobs at once pay until latency grows by this power of their number; by 1, throughput stands.
WORTH = 0.75
#: One window in so many is taken at so much less than the limit, to see what more jobs cost.
DITHER_EVERY, DITHER = 3, 0.15
#: Weight that the windows of the start keep when it is over: few jobs at once are another world.
LEFT = 0.1
#: Jobs are near the unloaded latency below this share of what the tolerance allows; at it the
#: start ends.
START_SHARE = 0.3
#: Unloaded latency is believed to have risen with this time constant, seconds.
PATIENCE_S = 30.0
#: Probing takes at most one part in so many of the time.
PROBE_SHARE = 50
#: Below this load nothing is held back that a probe could set free.
WORTH_PROBING = 1.15
#: Jobs of one class that its mean remembers.
MEMORY = 200
#: Classes beyond so many share one mean.
MOST_CLASSES = 500


class Profile:
    """One class: mean of log seconds, less the load; and this window's jobs."""

    __slots__ = ("known", "mean", "seen", "total")

    def __init__(self) -> None:
        self.mean = 0.0
        self.known = 0
        self.seen = 0
        self.total = 0.0


class AdaptiveLimit:
    """Grows while jobs take about as long as unloaded, shrinks when they take `tolerance` times
    that, fail by overload, or wait for connections.

    Latencies are compared within a class only, as logarithms, so that classes a hundred times
    apart and jobs of any spread can share a limit. A window is as long as its noise demands.
    The load is the mean, over a window's jobs, of log(seconds) less the mean of their class.
    Times are seconds of `clock`.
    """

    def __init__(
        self,
        minimum: int = 1,
        maximum: int = 1000,
        *,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= minimum <= maximum:
            raise ValueError(f"limits from {minimum} to {maximum}: give 1 <= minimum <= maximum")
        if tolerance <= 1:
            raise ValueError(f"a tolerance of {tolerance:g} forbids any job: give more than 1")
        self._minimum, self._maximum = minimum, maximum
        self._target = math.log(tolerance)
        self._clock = clock
        self._classes: dict[str, Profile] = {}
        self._variance = 0.25  # of log latency within a class; a guess until it is measured
        self._judged = FEWEST  # jobs that this is measured by
        self._base = 0.0  # load of the unloaded, in the units of the classes' means
        self._has_base = False
        self._load = 0.0  # above the base
        self._typical_s = 0.0
        self._anchored_at = self._started_at = clock()
        self._base_jobs = 0
        self._curve = Curve()
        self._windows = 0
        self._refused_at = math.inf
        self._back_to = self._exact = float(minimum)
        self._limit = minimum
        self._skip = self._grace = 0  # jobs that began under another limit, or before a cut
        self._count = self._strangers = self._busiest = self._wanted = 0
        self._sum = self._squares = self._waits = 0.0
        self.phase = "start"
        self._open_window(skip=0)

    @property
    def limit(self) -> int:
        """Jobs that may run at once now."""
        return self._limit

    @property
    def load(self) -> float:
        """How many times slower than unloaded jobs were in the last window."""
        return math.exp(self._load)

    # what happened

    def observe(self, job_class: str, elapsed_s: float, in_flight: int) -> None:
        """A job ended well; `in_flight` were out with it, itself included."""
        self._busiest = max(self._busiest, in_flight)
        self._grace -= 1
        if self._skip > 0:
            self._skip -= 1
            return
        log_s = math.log(max(elapsed_s, 1e-6))
        self._typical_s += (elapsed_s - self._typical_s) / (MEMORY if self._typical_s else 1)
        profile = self._profile(job_class)
        profile.seen += 1
        profile.total += log_s
        if profile.known:
            off = log_s - profile.mean
            self._count += 1
            self._sum += off
            self._squares += off * off
        else:
            self._strangers += 1
        if self._count + self._strangers >= self._wanted or self._is_alarming():
            self._close_window()

    def overload(self, in_flight: int) -> None:
        """A job ended in a timeout or an error that says overload."""
        self._grace -= 1
        if self._grace >= 0:
            return
        exact = self._back_to if self.phase == "probe" else self._exact
        self.phase, self._refused_at = "cruise", exact
        self._set(exact * ERROR_CUT)
        self._grace = in_flight
        self._open_window(skip=in_flight)

    def waited(self, seconds: float) -> None:
        """A job waited so long for a connection of its pool."""
        self._waits += seconds

    def restart(self) -> None:
        """Start slowly from the minimum; what is known of the classes stays."""
        self.phase, self._started_at = "start", self._clock()
        self._set(float(self._minimum))
        self._open_window(skip=0)

    # windows

    def _is_alarming(self) -> bool:
        """Far above the tolerance, beyond doubt, before the window is full."""
        if not self._count or self._count % FEWEST or not self._has_base:
            return False
        over = self._sum / self._count - self._base - self._target
        return over > ALARM * math.sqrt(self._variance / self._count)

    def _profile(self, job_class: str) -> Profile:
        profile = self._classes.get(job_class)
        if profile is None:
            if len(self._classes) >= MOST_CLASSES:
                job_class = ""
            profile = self._classes.setdefault(job_class, Profile())
        return profile

    def _open_window(self, skip: int) -> None:
        """Begin to measure after `skip` more jobs, which began under another limit."""
        self._skip = skip
        self._count = self._strangers = self._busiest = 0
        self._sum = self._squares = self._waits = 0.0
        self._began_at = self._clock()
        for profile in self._classes.values():
            profile.seen, profile.total = 0, 0.0
        if self.phase == "probe":
            self._wanted = self._probe_jobs
            return
        precision = COARSE if self.phase == "start" else PRECISION
        wanted = min(MOST, max(FEWEST, self._variance / precision**2))
        self._wanted = max(math.ceil(wanted), self._limit)

    def _close_window(self) -> None:
        mean = self._sum / self._count if self._count else self._base + self._load
        self._learn(mean)
        if not self._has_base:
            self._base, self._has_base = mean, True
        if self._count:
            self._load = mean - self._base
        error = math.sqrt(self._variance / max(1, self._count))
        self._anchor(error)
        before = self._limit
        self._steer(error)
        self._open_window(skip=self._busiest if self._limit != before else 0)

    def _learn(self, mean: float) -> None:
        """Classes keep their mean apart from the load, which is the same for all of them."""
        if self._count > 1:
            variance = max(0.0, self._squares / self._count - mean * mean)
            self._variance += (
                (variance - self._variance) * self._count / (self._count + self._judged)
            )
            self._judged = min(MEMORY, self._judged + self._count)
        for profile in self._classes.values():
            if profile.seen:
                off = profile.total / profile.seen - mean - profile.mean
                profile.mean += off * profile.seen / (profile.known + profile.seen)
                profile.known = min(MEMORY, profile.known + profile.seen)

    def _anchor(self, error: float) -> None:
        """Unloaded jobs take less at once, and more only as seen at the minimum, in time."""
        if self._limit == self._minimum and not self._is_base_known(FLOOR_PRECISION):
            self._base_jobs += self._count + self._strangers
            move = self._load * self._count / self._base_jobs
            self._anchored_at = self._clock()
        elif self._load < -2 * error:
            move = self._load + error
        elif self._limit == self._minimum:
            now = self._clock()
            move = self._load * -math.expm1((self._anchored_at - now) / PATIENCE_S)
            self._anchored_at = now
        else:
            return
        self._base += move
        self._load -= move

    def _steer(self, error: float) -> None:
        if self.phase == "cruise" and not self._count:
            return
        is_used = self._busiest >= 0.8 * self._limit
        exact = self._exact
        if self.phase != "probe" and is_used and self._count:
            self._curve.add(math.log(self._limit), self._base + self._load, self._count)
        slope = self._curve.slope(self._variance)
        over = self._load - self._target
        if self._limit < exact:
            over += slope * math.log(exact / self._limit)
        if self.phase == "cruise" and is_used:
            usual = self._curve.at(math.log(exact), slope) - self._base - self._target
            if abs(usual - over) < 3 * error:
                over = usual
        if self.phase == "probe":
            self.phase = "cruise"
            exact = self._back_to
        elif self.phase == "start" and self._load < START_SHARE * self._target + error:
            if is_used and (self._limit > self._minimum or self._may_leave_minimum()):
                exact = max(exact * START_GROWTH, exact + 1)
        else:
            if self.phase == "start":
                self._curve.fade(LEFT)
            self.phase = "cruise"
            cap = -over if over > 2 * error else -over / 2
            is_near = self._load < START_SHARE * self._target
            step = min((NEAR_STEP if is_near else STEP) * (1 - slope / WORTH), cap)
            if step < 0 or is_used:
                exact = self._carefully(exact, exact * math.exp(max(-CUT, step)))
        waiting = self._waits / max(1e-9, self._clock() - self._began_at)
        if waiting >= 0.5:
            exact = min(exact, self._exact - waiting)
        self._set(exact)
        if self._is_probe_due():
            self.phase, self._back_to = "probe", self._exact
            self._set(float(self._minimum))

    def _carefully(self, exact: float, wish: float) -> float:
        """Up to where errors began in big steps, from there on one by one, as AIMD does."""
        if exact > FORGIVEN * self._refused_at:
            self._refused_at = math.inf
        return min(wish, max(exact + 1, NEAR * self._refused_at))

    def _is_base_known(self, error: float) -> bool:
        return self._base_jobs * error**2 >= self._variance

    def _may_leave_minimum(self) -> bool:
        passed_s = self._clock() - self._started_at
        return (
            self._is_base_known(FLOOR_PRECISION)
            or (passed_s >= FLOOR_S and self._is_base_known(COARSE))
            or passed_s >= LONGEST_FLOOR_S
        )

    @property
    def _probe_jobs(self) -> int:
        wanted = self._variance / FLOOR_PRECISION**2
        return math.ceil(min(LONGEST_PROBE, max(FEWEST, wanted)))

    def _is_probe_due(self) -> bool:
        cost_s = self._typical_s * (1 + self._probe_jobs / self._minimum)
        return (
            self.phase == "cruise"
            and self._limit > self._minimum
            and self.load > WORTH_PROBING
            and self._clock() - self._anchored_at > max(PATIENCE_S, PROBE_SHARE * cost_s)
        )

    def _set(self, exact: float) -> None:
        self._exact = min(float(self._maximum), max(float(self._minimum), exact))
        limit = self._exact
        if self.phase == "cruise":
            self._windows += 1
            if self._windows % DITHER_EVERY == 0 and limit > 2:
                limit = min(limit - 1, limit * (1 - DITHER))
        self._limit = max(self._minimum, math.floor(limit + 0.5))
