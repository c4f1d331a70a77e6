"""A private Redis on a Unix socket, without a TCP port, that is gone when its block is left."""

from __future__ import annotations

import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import redis

from devtools.child import Child, uninterrupted
from devtools.failure import DevError
from devtools.programs import find_program

#: Time that Redis may take to answer after its start, in seconds; it may have data to load.
START_TIMEOUT_S = 20.0


class RedisServer:
    """A redis-server with its data in a temporary folder.

    Nothing is written to disk on its own, unless `appendonly`. `settings` are directives of
    redis.conf. Leaving the block ends the server and removes the folder.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        # Short on purpose: the path of a Unix socket holds about 100 bytes.
        self.folder = Path(tempfile.gettempdir(), f"gokiq-redis-{secrets.token_hex(4)}")
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._appendonly = appendonly
        self._child = Child(
            [find_program("redis-server"), *self._arguments(settings or {})],
            log=log or self.folder / "redis.log",
            cwd=self.folder,
        )
        self._client: redis.Redis | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._child.log

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._child.is_running

    @property
    def client(self) -> redis.Redis:
        """A client named "devtools" in CLIENT LIST, made at first use; its replies are bytes."""
        if self._client is None:
            self._client = self.connect("devtools")
        return self._client

    def connect(self, name: str) -> redis.Redis:
        """Another client, with that name in CLIENT LIST."""
        return redis.Redis(unix_socket_path=str(self.socket), client_name=name)

    def info(self, section: str | None = None) -> dict[str, Any]:
        """INFO, as a dict."""
        return dict(self.client.info(section) if section else self.client.info())

    def start(self) -> Self:
        """Start it, with the data of an earlier run, and wait until it answers. Raises DevError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._child.start()
        self._child.wait_until(self._answers, timeout_s=START_TIMEOUT_S, what="it answered PING")
        return self

    def stop(self) -> None:
        """End it cleanly; `start` brings its data back."""
        if not self._child.is_running:
            return
        if not self._appendonly:
            self.client.save()
        self._disconnect()
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL: `start` brings back what the append-only file has, nothing without one."""
        self._disconnect()
        self._child.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._child.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, forget its data and remove its folder."""
        with uninterrupted():
            self._disconnect()
            if self._child.is_running:
                self.resume()
            self._child.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _arguments(self, settings: Mapping[str, str]) -> list[str]:
        directives = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "daemonize": "no",
            **settings,
        }
        return [part for key, value in directives.items() for part in (f"--{key}", value)]

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.BusyLoadingError:
            return False
        except redis.ConnectionError:
            self._disconnect()
            return False
        except redis.RedisError as error:
            raise DevError(f"Redis answers PING with {error}", log=self.log) from error

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
