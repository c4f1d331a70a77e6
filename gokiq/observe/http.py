"""A small HTTP server for probes and scrapers: `answer` turns a request into a response, the server
moves bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from gokiq.errors import BootError
from gokiq.host.address import Address

#: Longest request head, bytes; longer ones get no page.
REQUEST_BYTES = 8192
#: Time that a request has to come, and its answer to be taken, seconds.
REQUEST_S = 5.0
#: Connections at once; more are closed as they come.
MOST_CONNECTIONS = 64

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


#: Path -> what makes its page, at once and without I/O.
Pages = Mapping[str, Callable[[], Page]]


def answer(head: bytes, pages: Pages) -> bytes:
    """The whole response to a request's head; the connection is to be closed after it."""
    line = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(line) != 3 or not line[2].startswith("HTTP/1."):
        return _response(Page(b"This is HTTP/1.1.\n", HTTPStatus.BAD_REQUEST))
    method, target, _ = line
    if method not in ("GET", "HEAD"):
        page = Page(b"GET and HEAD only.\n", HTTPStatus.METHOD_NOT_ALLOWED)
        return _response(page, "Allow: GET, HEAD\r\n")
    make = pages.get(target.partition("?")[0])
    if make is None:
        known = f"There are {', '.join(pages)}.\n".encode()
        return _response(Page(known, HTTPStatus.NOT_FOUND), has_body=method == "GET")
    return _response(make(), has_body=method == "GET")


def _response(page: Page, more: str = "", *, has_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\n"
        f"Content-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode("latin-1") + (page.body if has_body else b"")


class HealthServer:
    """Listens from `open` to `close`; one request for each connection."""

    def __init__(self, address: Address, pages: Pages) -> None:
        self._address = address
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._connections = 0

    async def open(self) -> None:
        """Raises BootError when the address cannot be had."""
        address = self._address
        try:
            if address.path:
                await self._refuse_a_live_socket(address.path)
                self._server = await asyncio.start_unix_server(
                    self._serve, address.path, limit=REQUEST_BYTES
                )
            else:
                self._server = await asyncio.start_server(
                    self._serve, address.host, address.port, limit=REQUEST_BYTES
                )
        except OSError as error:
            # asyncio's own words repeat the address.
            number = error.errno or 0
            plain = os.strerror(number) if number > 0 else error.strerror
            raise BootError(
                f"cannot listen on {address} for probes: {plain or error}; "
                "give --health another address"
            ) from error

    async def close(self) -> None:
        """Take no more requests."""
        if self._server is not None:
            self._server.close()
            self._server = None
            if self._address.path:
                with contextlib.suppress(OSError):
                    os.unlink(self._address.path)

    async def _refuse_a_live_socket(self, path: str) -> None:
        """asyncio replaces a socket's file even when somebody listens there."""
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return
        writer.close()
        raise OSError(errno.EADDRINUSE, "in use")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                async with asyncio.timeout(REQUEST_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(answer(head, self._pages))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            writer.transport.abort()  # whoever asks like that gets no answer
        finally:
            self._connections -= 1
            writer.close()
