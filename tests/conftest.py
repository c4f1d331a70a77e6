"""What holds for every test: tests of live processes may be run twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: Folders whose tests start servers, workers and browsers, on machines where others do the same.
LIVE = {"acceptance", "chaos", "compat", "integration"}

#: What a shell takes from programs that it starts in the background, or under nohup; those that our
#: tests start would inherit it, and not hear what the tests send.
USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


def pytest_configure() -> None:
    """The servers under test hear their signals, however the tests were started."""
    for name, handler in USUAL.items():
        if signal.getsignal(name) is signal.SIG_IGN:
            signal.signal(name, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A live test that fails is run once more. The summary lists it as RERUN, also when it passes
    then: it is to be mended, not to be lived with.
    """
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.relative_to(HERE).parts[0] in LIVE:
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))
