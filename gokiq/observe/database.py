"""Whether the database has a connection for every job that may want one. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gokiq.app.info import Database

#: Key of the register of owners: connections that an owner's workers may open.
CONNECTIONS = "database_connections"


def connections(database: Database | None, workers: int) -> int:
    """That all our workers may open together; 0 when that is not known."""
    return database.connections * workers if database is not None else 0


def warning(database: Database | None, workers: int, owners: Iterable[Mapping[str, Any]]) -> str:
    """One line when we and the other `owners`, as they are registered, may open more connections
    than the database has; empty otherwise.
    """
    if database is None:
        return ""
    ours = connections(database, workers)
    others = [n for one in owners if type(n := one.get(CONNECTIONS)) is int and n > 0]
    total = ours + sum(others)
    if total <= database.max_connections:
        return ""
    beside = f" and {sum(others)} by {len(others)} other gokiq processes" if others else ""
    fair = max(database.max_connections // ((len(others) + 1) * workers), 1)
    return (
        f"The database has {database.max_connections} connections; {ours} may be opened here "
        f"({workers} workers with {database.connections} each){beside}: set pool in database.yml "
        f"to {fair}, lower --workers, or limit the jobs that use it (gokiq: cluster)"
    )
