"""`python -m bench.slow_http DELAY_MS`: an HTTP server on loopback that answers late.

It says on which address it listens, and answers every request with 200 and two bytes.
"""

from __future__ import annotations

import asyncio
import sys

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\nok"
)


class _Late(asyncio.Protocol):
    """One connection, for one request without a body."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer later, when the request is whole."""
        self._request += data
        if self._request.endswith(b"\r\n\r\n"):
            asyncio.get_running_loop().call_later(self._delay_s, self._answer)

    def _answer(self) -> None:
        self._transport.write(_ANSWER)
        self._transport.close()


async def _serve(delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Late(delay_s), "127.0.0.1", 0, backlog=1000)
    host, port = server.sockets[0].getsockname()
    print(f"listening on {host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]) / 1000))
