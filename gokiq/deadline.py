"""Waiting with a deadline, and how long the last things may take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from typing import Any

#: After the drain deadline: time for `ensure` blocks to run and for outcomes to arrive, as Sidekiq
#: gives them, seconds.
ENSURE_S = 3.0
#: Time to write the last outcomes and to leave the registers, seconds.
FAREWELL_S = 1.0
#: Apps that are slow to boot exist; this only bounds a root that hangs, seconds.
BOOT_LIMIT_S = 600.0


async def within(waiting: Awaitable[Any], deadline: float) -> bool:
    """Await it until `deadline` (monotonic seconds); False when it took longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await waiting
        return True
    return False
