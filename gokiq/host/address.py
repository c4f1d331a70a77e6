"""Where a server listens."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gokiq.errors import ConfigError

#: Where a port alone leads.
LOOPBACK = "127.0.0.1"
#: Longest path of a Unix socket, bytes (unix(7): 108 with the final NUL).
PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and port, or the path of a Unix socket."""

    host: str = LOOPBACK
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(name: str, text: str) -> Address:
    """`HOST:PORT`, `PORT` of the loopback, or `unix:PATH`, which `name` was set to. Raises
    ConfigError.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not 0 < len(os.fsencode(path)) <= PATH_BYTES:
            raise ConfigError(f"{name} {text}: the path must have 1 to {PATH_BYTES} bytes")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdecimal() and 0 < int(port) < 65_536
    if not is_port or (colon and not host):
        raise ConfigError(
            f"{name} {text}: must be HOST:PORT, PORT (of {LOOPBACK}) or unix:PATH; "
            "0.0.0.0:PORT is every address of this host"
        )
    return Address(host or LOOPBACK, int(port))
