"""What jobs talk to beside Redis: a slow HTTP server, a PostgreSQL."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from devtools.child import Child

#: Time that a service may take to listen, in seconds.
START_TIMEOUT_S = 20.0
#: How long the HTTP server takes to answer, in milliseconds.
HTTP_DELAY_MS = 50

_LISTENING = re.compile(r"listening on (\S+)")


@contextmanager
def serving(name: str, logs: Path) -> Iterator[Mapping[str, str]]:
    """The service of that name, and the variables that tell jobs where it is; "" is none.

    Raises DevError when it does not start.
    """
    if not name:
        yield {}
        return
    with _SERVICES[name](logs) as env:
        yield env


@contextmanager
def listening(module: str, *args: str, log: Path) -> Iterator[tuple[Child, str]]:
    """`python -m MODULE ARGS`, and the address that it says that it listens on."""
    log.unlink(missing_ok=True)
    with Child([sys.executable, "-m", module, *args], log=log, name=module) as child:
        child.wait_until(
            lambda: _LISTENING.search(log.read_text(encoding="utf-8")) is not None,
            timeout_s=START_TIMEOUT_S,
            what="it listened",
        )
        found = _LISTENING.search(log.read_text(encoding="utf-8"))
        assert found is not None
        yield child, found.group(1)


@contextmanager
def _http(logs: Path) -> Iterator[Mapping[str, str]]:
    args = ("bench.slow_http", str(HTTP_DELAY_MS))
    with listening(*args, log=logs / "slow_http.log") as (_, address):
        yield {"BENCH_HTTP_URL": f"http://{address}/"}


@contextmanager
def _postgres(_logs: Path) -> Iterator[Mapping[str, str]]:
    # Not at the top: only this row needs it.
    from devtools.postgres import PostgresServer

    with PostgresServer() as server:
        yield {"BENCH_POSTGRES_URL": server.url}


_SERVICES: Mapping[str, Callable[[Path], AbstractContextManager[Mapping[str, str]]]] = {
    "http": _http,
    "postgres": _postgres,
}
