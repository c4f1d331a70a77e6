"""The address in a Redis URL, as redis-py reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from redis.asyncio.connection import SSLConnection, parse_url

from gokiq.app.info import DEFAULT_PORT, RedisAddress
from gokiq.errors import ConfigError


def find_url(flag: str | None, environ: Mapping[str, str]) -> str:
    """As Sidekiq finds it: the variable that REDIS_PROVIDER names, REDIS_URL, this host. Raises
    ConfigError.
    """
    if flag:
        return flag
    provider = environ.get("REDIS_PROVIDER")
    if provider and not environ.get(provider):
        raise ConfigError(f"REDIS_PROVIDER {provider}: there is no variable of that name")
    return environ.get(provider or "REDIS_URL") or "redis://127.0.0.1:6379/0"


def origin(flag: str | None, environ: Mapping[str, str]) -> str:
    """Where an operator has given, or can give, the URL that `find_url` returns."""
    if flag:
        return "--redis"
    provider = environ.get("REDIS_PROVIDER") or "REDIS_URL"
    return provider if environ.get(provider) else f"the address (--redis or {provider})"


def address_from_url(url: str) -> RedisAddress:
    """Raises ConfigError, which does not show a password."""
    scheme, mark, rest = url.partition("://")
    secret, at, place = rest.rpartition("@") if mark else url.rpartition("@")
    shown = f"{scheme}://…@{place}" if mark and at else f"…@{place}" if at else url
    if mark and scheme != "unix" and re.search("[/?#]", secret):
        raise ConfigError(f"Redis URL {shown}: write / ? # of the password as %2F %3F %23")
    try:
        options = parse_url(url)
    except ValueError as error:
        raise ConfigError(
            # What cannot be read may be a part of the password.
            f"Redis URL {shown}: {'it cannot be read' if at else error}; "
            "give redis://HOST:PORT/DB, rediss://… or unix://PATH"
        ) from None
    return RedisAddress(
        host=options.get("host") or "127.0.0.1",
        port=int(options.get("port") or DEFAULT_PORT),
        db=int(options.get("db") or 0),
        username=options.get("username"),
        password=options.get("password"),
        path=options.get("path"),
        ssl=options.get("connection_class") is SSLConnection,
    )
