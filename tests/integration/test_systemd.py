"""Datagrams to systemd's socket, wherever it is."""

from __future__ import annotations

import asyncio
import secrets
import socket
from pathlib import Path

import pytest

from gokiq.host.systemd import Notifier


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_status_stopping(tmp_path: Path, kind: str) -> None:
    name = f"{tmp_path}/notify" if kind == "path" else f"@gokiq-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready()
        notifier.status("[1 of 5 busy]")
        notifier.stopping()

        assert [systemd.recv(100) for _ in range(3)] == [
            b"READY=1",
            b"STATUS=[1 of 5 busy]",
            b"STOPPING=1",
        ]


def test_signs_of_life_come_twice_a_period(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{tmp_path}/notify")
        notifier = Notifier({"NOTIFY_SOCKET": f"{tmp_path}/notify", "WATCHDOG_USEC": "100000"})

        async def main() -> None:
            alive = asyncio.create_task(notifier.run())
            began = asyncio.get_running_loop().time()
            systemd.setblocking(False)
            for _ in range(4):
                assert await asyncio.get_running_loop().sock_recv(systemd, 100) == b"WATCHDOG=1"
            assert asyncio.get_running_loop().time() - began >= 0.14
            alive.cancel()

        asyncio.run(asyncio.wait_for(main(), 10))


def test_a_socket_that_nobody_reads_is_no_reason_to_stop() -> None:
    Notifier({"NOTIFY_SOCKET": "@gokiq-nobody-listens-here"}).ready()
