"""What the tests of a process's life share: its record in Redis, and waiting for what it says."""

from __future__ import annotations

from typing import Any

from devtools.gokiq import Server

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
