"""What the tests of a process's life share: its record in Redis, and waiting for what it says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from devtools.child import POLL_S
from devtools.gokiq import Server
from devtools.procstat import Process

from .harness import Stand


def wait_identity(stand: Stand, server: Server) -> str:
    """The name of the one process in `processes`, once it is there."""
    stand.wait(server, lambda: stand.client.scard("processes") == 1, "it had registered")
    return stand.identity()


def wait_quiet(stand: Stand, server: Server, identity: str, timeout_s: float = 0) -> None:
    """Wait until its record says that it takes no more jobs."""
    stand.wait(
        server,
        lambda: stand.client.hget(identity, "quiet") == b"true",
        "its record said that it was quiet",
        timeout_s,
    )


def wait_said(stand: Stand, server: Server, *start: object) -> list[Any]:
    """The first note that begins with these values, once it is there."""
    what = f"the app had noted {list(start)}"
    stand.wait(server, lambda: said(stand, *start), what)
    return said(stand, *start)[0]


def said(stand: Stand, *start: object) -> list[list[Any]]:
    """The notes that begin with these values, in order."""
    return [note for note in stand.said() if note[: len(start)] == list(start)]


def wait_gone(processes: Sequence[Process], timeout_s: float = 30) -> None:
    """Wait until none of them lives; for processes whose parent may have gone before them."""
    deadline = time.monotonic() + timeout_s
    while alive := [process for process in processes if process.is_alive]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(POLL_S)
