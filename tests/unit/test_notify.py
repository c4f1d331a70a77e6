"""What systemd is told, and what is made of its variables."""

from __future__ import annotations

import os

import pytest

from gokiq.errors import ConfigError
from gokiq.host.systemd import Notifier


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({})

    notifier.ready()
    notifier.status("idle")
    assert notifier.watchdog_s is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
    ids=["for whoever reads it", "for us", "for another process", "empty"],
)
def test_watchdog(environ: dict[str, str], expected: float | None) -> None:
    assert Notifier(environ).watchdog_s == expected


@pytest.mark.parametrize(
    "environ",
    [{"NOTIFY_SOCKET": "notify"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}],
)
def test_what_cannot_be_used_is_named(environ: dict[str, str]) -> None:
    [(name, value)] = environ.items()
    with pytest.raises(ConfigError, match=f"{name} {value}: must be"):
        Notifier(environ)
