"""`python -m bench.far_redis UPSTREAM LISTEN DELAY_US`: puts a Redis further away.

Forwards a Unix socket to another one; what comes back arrives later, in order. Only for peers that
read what they are sent, as Redis and its clients do: nothing is buffered but what is being delayed.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque
from contextlib import suppress

#: Bytes read at once.
CHUNK_BYTES = 1 << 20


class FarRedis:
    """One thread and `select`, whose timeouts are exact to microseconds; epoll's are not."""

    def __init__(self, upstream: str, listen: str, delay_s: float) -> None:
        self._upstream = upstream
        self._delay_s = delay_s
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(listen)
        self._listener.listen(100)
        #: Where to what a socket receives is sent.
        self._peer: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._late: deque[tuple[float, socket.socket, bytes]] = deque()

    def serve(self) -> None:
        """Forward until a signal ends the process."""
        while True:
            wait = max(0.0, self._late[0][0] - time.monotonic()) if self._late else None
            ready, _, _ = select.select([self._listener, *self._peer], [], [], wait)
            for source in ready:
                if source is self._listener:
                    self._accept()
                elif source in self._peer:
                    self._forward(source)
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, target, data = self._late.popleft()
                self._send(target, data)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._upstream)
        self._peer[client], self._peer[server] = server, client
        self._servers.add(server)

    def _forward(self, source: socket.socket) -> None:
        try:
            data = source.recv(CHUNK_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._close(source)
        elif source in self._servers and self._delay_s:
            self._late.append((time.monotonic() + self._delay_s, self._peer[source], data))
        else:
            self._send(self._peer[source], data)

    def _send(self, target: socket.socket, data: bytes) -> None:
        if target in self._peer:
            with suppress(ConnectionError):
                target.sendall(data)

    def _close(self, end: socket.socket) -> None:
        for one in (end, self._peer[end]):
            del self._peer[one]
            self._servers.discard(one)
            one.close()


def main(argv: list[str]) -> None:
    """Listen, say so, forward."""
    upstream, listen, delay_us = argv
    far = FarRedis(upstream, listen, int(delay_us) / 1e6)
    print(f"listening on {listen}", flush=True)
    far.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
