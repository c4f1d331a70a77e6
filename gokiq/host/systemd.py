"""What we tell systemd: ready, stopping, alive, and one line of status (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping

from gokiq.errors import ConfigError
from gokiq.log import get_logger

log = get_logger("systemd")

#: Variables that are for us alone: whoever inherits them would answer in our place.
OWN_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Datagrams to $NOTIFY_SOCKET; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        #: Seconds within which systemd wants a sign of life, None without a watchdog.
        self.watchdog_s = _watchdog_s(environ)

    def ready(self) -> None:
        """Jobs are being processed."""
        self._send("READY=1")

    def reloading(self) -> None:
        """New code is being loaded; `ready` follows, however it ends (Type=notify-reload)."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={usec}")

    def stopping(self) -> None:
        """We are on our way out."""
        self._send("STOPPING=1")

    def status(self, line: str) -> None:
        """What `systemctl status` shows."""
        self._send(f"STATUS={line}")

    async def run(self) -> None:
        """Two signs of life in each period of the watchdog, as long as the loop turns. Runs until
        cancelled.
        """
        if self.watchdog_s is None:
            return
        log.info("Pinging systemd's watchdog every %.1f s", self.watchdog_s / 2)
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # systemd may be busy or gone; it is no reason for us to wait or to stop.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(message.encode(), self._address)


def _address(name: str) -> str:
    if name and name[0] not in "/@":
        raise ConfigError(f"NOTIFY_SOCKET {name}: must be an absolute path or begin with @")
    return "\0" + name[1:] if name.startswith("@") else name


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    text = environ.get("WATCHDOG_USEC", "")
    if not text or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    usec = int(text) if text.isdecimal() else 0
    if usec < 1:
        raise ConfigError(f"WATCHDOG_USEC {text}: must be a number of microseconds")
    return usec / 1e6
