"""The address in a Redis URL, as redis-py reads it."""

from __future__ import annotations

import re

from redis.asyncio.connection import SSLConnection, parse_url

from gokiq.app import DEFAULT_PORT, RedisAddress
from gokiq.errors import ConfigError


def address_from_url(url: str) -> RedisAddress:
    """Raises ConfigError, which does not show a password."""
    try:
        options = parse_url(url)
    except ValueError as error:
        shown = re.sub(r"//[^@/]*@", "//…@", url)
        raise ConfigError(
            f"Redis URL {shown}: {error}; give redis://HOST:PORT/DB, rediss://… or unix://PATH"
        ) from error
    return RedisAddress(
        host=options.get("host") or "127.0.0.1",
        port=int(options.get("port") or DEFAULT_PORT),
        db=int(options.get("db") or 0),
        username=options.get("username"),
        password=options.get("password"),
        path=options.get("path"),
        ssl=options.get("connection_class") is SSLConnection,
    )
