"""One Redis connection that answers requests in order; redis-py connects, redis_stream.py talks,
errors are translated here.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from typing import Any

import redis.asyncio as aioredis
from redis import exceptions as rex
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.sentinel import Sentinel

from gokiq.app.info import RedisAddress
from gokiq.core import Arg, pack_command
from gokiq.errors import ConfigError, ConnectionLost, ReplyError
from gokiq.store.stream import RedisStream

#: Longest silence while a reply is waited for, seconds: no byte has come, none of ours has gone. A
#: reply that is later counts as lost; reconciliation finds what it did.
REPLY_TIMEOUT_S = 5.0
#: Longest wait for a connection to open, seconds.
CONNECT_TIMEOUT_S = 5.0
#: Error codes after which the same server may answer well later or another one must be found:
#: reconnect, do not give up.
_PASSING = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "NOREPLICAS", "TRYAGAIN", "BUSY ")


class RedisLink:
    """A connection that opens when first used, and again after it was lost. Several tasks may share
    it.

    Raises ConnectionLost when Redis cannot be reached, is not a master now, or did not answer in
    time: what was sent may or may not have been executed. Raises ReplyError when Redis refused the
    command.
    """

    def __init__(self, address: RedisAddress, *, name: str) -> None:
        #: What it carries.
        self.name = name.removeprefix("gokiq-")
        self._opened = 0
        self._pool = _pool(address, name)
        self._address = address
        self._connection: AbstractConnection | None = None
        self._stream: RedisStream | None = None
        self._lock = asyncio.Lock()

    async def call(self, *args: Arg) -> Any:
        """Send one command and return its reply: bytes, int, None, list or dict, as hiredis parses
        RESP3.
        """
        return (await self.send(pack_command(args), 1))[0]

    async def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Send several commands in one write; the first error is raised once all have answered."""
        if not commands:
            return []  # to nothing there is no reply
        return await self.send(b"".join(map(pack_command, commands)), len(commands))

    async def send(self, packed: bytes, replies: int) -> list[Any]:
        """Send RESP bytes that hold `replies` commands and return their replies in order. Of no
        command there is none to wait for.
        """
        if not replies:
            return []
        async with self._lock:
            try:
                stream = self._stream or await self._open()
                return await stream.ask(packed, replies, REPLY_TIMEOUT_S)
            except (rex.RedisError, OSError) as error:
                raise await self._translated(error) from error
            except asyncio.CancelledError:
                await self.close()  # a reply still under way must not answer the next request
                raise

    async def next_push(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` seconds for push messages (client tracking); those that came since
        the last wait count.
        """
        stream = None
        try:
            async with self._lock:  # somebody else may be opening it
                stream = self._stream or await self._open()
            await stream.next_push(timeout_s)
        except (rex.RedisError, OSError) as error:
            if self._stream is not stream:
                # Somebody who calls has noticed before us, and has opened another one.
                raise self._loss(str(error)) from error
            raise await self._translated(error) from error

    async def check_refusal(self, text: str) -> None:
        """Raise ConnectionLost when a refusal that came within a reply says that this server takes
        no writes now.
        """
        if text.lstrip("-").startswith(_PASSING):
            raise await self._lost(text.strip())

    @property
    def where(self) -> str:
        """The address, without secrets."""
        return str(self._address)

    @property
    def is_open(self) -> bool:
        """True while a connection is there."""
        return self._connection is not None

    @property
    def reconnects(self) -> int:
        """How often a connection was opened after the first."""
        return max(0, self._opened - 1)

    async def close(self) -> None:
        """Close the connection; the next call opens a new one. What we have given up must not reach
        Redis later: nothing more is sent.
        """
        connection, self._connection = self._connection, None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _open(self) -> RedisStream:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        # Not redis-py's socket_timeout: on Python 3.11 its wait_for may swallow a cancellation.
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            await connection.connect()  # type: ignore[no-untyped-call]
        assert connection._writer is not None
        transport = connection._writer.transport
        assert isinstance(transport, asyncio.Transport)
        self._stream = RedisStream(transport, connection._parser.parse_error)
        # It is kept, for it closes the transport when it is forgotten.
        self._connection = connection
        self._opened += 1
        return self._stream

    async def _translated(self, error: Exception) -> Exception:
        text = str(error)
        if turned_away := self._turned_away(error):
            await self.close()
            return turned_away
        if isinstance(error, rex.ResponseError) and not _is_passing(error, text):
            if isinstance(error, rex.NoScriptError):
                return ReplyError("NOSCRIPT " + text)
            return ReplyError(text)
        return await self._lost(_cause(error) or f"no reply within {REPLY_TIMEOUT_S:g} s")

    async def _lost(self, cause: str) -> ConnectionLost:
        await self.close()
        return self._loss(cause)

    def _loss(self, cause: str) -> ConnectionLost:
        return ConnectionLost(f"Redis at {self._address} does not answer: {cause}")

    def _turned_away(self, error: Exception) -> ConnectionLost | None:
        """What a server says that is there and does not let us in. It may let us in later, so this
        counts as a lost connection.
        """
        where, address = f"Redis at {self._address}", self._address
        is_refused = isinstance(error, rex.ConnectionError)
        if is_refused and isinstance(error.__context__ or error, rex.AuthenticationError):
            if address.password is None:
                return ConnectionLost(
                    f"{where} wants a password, and none is given", "the password"
                )
            name = (
                f"the password of user {address.username}" if address.username else "the password"
            )
            return ConnectionLost(f"{where} refuses {name}: {error}", "user and password")
        if "DB index is out of range" in str(error):
            return ConnectionLost(f"{where} has no database {address.db}", "the database's number")
        return None


def _cause(error: Exception) -> str:
    """The reason alone: redis-py says the address again, and asyncio a third time."""
    cause = error.__context__ if isinstance(error, rex.ConnectionError) else None
    if isinstance(cause, ssl.SSLError) or not isinstance(cause, OSError) or not cause.errno:
        return str(error)
    return (os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)).lower()


def _is_passing(error: Exception, text: str) -> bool:
    if isinstance(error, rex.ReadOnlyError | rex.BusyLoadingError | rex.MasterDownError):
        return True
    return text.startswith(_PASSING)


def _pool(address: RedisAddress, name: str) -> ConnectionPool:
    common: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "protocol": 3,
        "client_name": name,
        "retry": None,
    }
    if address.sentinels:
        return _sentinel_pool(address, common)
    if address.path:
        return ConnectionPool(
            connection_class=aioredis.UnixDomainSocketConnection, path=address.path, **common
        )
    common |= {"host": address.host, "port": address.port, "socket_keepalive": True}
    if address.ssl:
        return ConnectionPool(connection_class=aioredis.SSLConnection, **_tls(address), **common)
    return ConnectionPool(**common)


def _sentinel_pool(address: RedisAddress, common: dict[str, Any]) -> ConnectionPool:
    if not address.master_name:
        raise ConfigError(
            "Redis: sentinels are set but no master name; "
            "set `name:` in Sidekiq's redis configuration"
        )
    tls = _tls(address) if address.ssl else {}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(address.sentinels),
        sentinel_kwargs={
            "socket_timeout": REPLY_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "username": address.sentinel_username,
            "password": address.sentinel_password,
            "ssl": address.sentinel_ssl,
            **(tls if address.sentinel_ssl else {}),
        },
    )
    pool: ConnectionPool = sentinel.master_for(
        address.master_name, ssl=address.ssl, **tls, **common
    ).connection_pool
    return pool


def _tls(address: RedisAddress) -> dict[str, Any]:
    own = {
        "ssl_certfile": address.tls_cert_file or _in_memory(address.tls_cert_pem),
        "ssl_keyfile": address.tls_key_file or _in_memory(address.tls_key_pem),
    }
    if not address.tls_verify:
        return {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False, **own}
    return {
        "ssl_ca_certs": address.tls_ca_file,
        "ssl_ca_path": address.tls_ca_path,
        "ssl_check_hostname": address.tls_verify_hostname,
        **own,
    }


def _in_memory(pem: str | None) -> str | None:
    """A file of that text, for `ssl` reads nothing else: on no disk, and as long as we live."""
    if pem is None:
        return None
    descriptor = os.memfd_create("gokiq-pem")
    os.write(descriptor, pem.encode())
    return f"/proc/self/fd/{descriptor}"
