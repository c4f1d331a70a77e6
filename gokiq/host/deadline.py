"""Waiting with a deadline, and how long the last things may take."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable
from typing import Any

#: After the drain deadline: time for `ensure` blocks to run and for outcomes to arrive, as Sidekiq
#: gives them, seconds.
ENSURE_S = 3.0
#: Time to write the last outcomes, to see the workers go, to leave the registers, and for the end
#: of the root, seconds each.
FAREWELL_S = 1.0
#: All of it together once the timeout and ENSURE_S are over, and what of that is kept for leaving
#: the registers and for the root, seconds. With the default timeout of 25 s we are gone in 29.2 s:
#: Kubernetes and Heroku kill after 30.
LAST_S = 1.2
SIGN_OFF_S = 0.3
ROOT_S = 0.2
#: Apps that are slow to boot exist; this only bounds a root that hangs, seconds.
BOOT_LIMIT_S = 600.0


class Ending:
    """When each of the last steps has to be over, monotonic seconds."""

    def __init__(self, timeout_s: float | None = None) -> None:
        """Begins now; None: no jobs have time to end, and nothing is known of an end by which all
        must be over.
        """
        now = time.monotonic()
        #: The workers report all jobs.
        self.reported = now + (timeout_s or 0.0) + ENSURE_S
        self._over = self.reported + LAST_S if timeout_s is not None else math.inf

    @property
    def settled(self) -> float:
        """Redis has taken what did not end."""
        return self._soon(self._over - SIGN_OFF_S - 2 * ROOT_S)

    @property
    def emptied(self) -> float:
        """The workers have gone."""
        return self._soon(self._over - SIGN_OFF_S - ROOT_S)

    @property
    def signed_off(self) -> float:
        """We have left the registers."""
        return self._soon(self._over - ROOT_S)

    @property
    def over(self) -> float:
        """The root has gone."""
        return self._soon(self._over)

    def _soon(self, latest: float) -> float:
        return min(time.monotonic() + FAREWELL_S, latest)


async def within(waiting: Awaitable[Any], deadline: float) -> bool:
    """Await it until `deadline` (monotonic seconds); False when it took longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await waiting
        return True
    return False
