"""Where we listen for the reports of a sidecar that somebody else started."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from gokiq.workers.vitals import Monitor


def test_the_place_beside_its_socket_is_taken_by_the_first_and_freed(tmp_path: Path) -> None:
    sidecar = str(tmp_path / "s")
    beside = Path(f"{sidecar}.news")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(beside))

    async def scene() -> None:
        first, second = Monitor(str(tmp_path / "1")), Monitor(str(tmp_path / "2"))
        for monitor in (first, second):
            monitor.listen_beside(sidecar)
            monitor.open()
        assert (first.path, second.path) == (str(beside), str(tmp_path / "2"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as root:
            report = {"event": "exited", "pid": 7, "signal": 11, "status": None}
            root.sendto(json.dumps(report).encode(), str(beside))
        assert await first.ending(7, 5.0) == (11, None)
        second.close()
        assert first.path == str(beside)
        first.close()

    asyncio.run(scene())
    assert not beside.exists()


def test_without_a_place_beside_it_we_listen_in_our_own(tmp_path: Path) -> None:
    async def scene() -> None:
        monitor = Monitor(str(tmp_path / "own"))
        monitor.listen_beside(str(tmp_path / ("d" * 107)))
        monitor.open()
        assert (tmp_path / "own").exists()
        monitor.close()

    asyncio.run(scene())
