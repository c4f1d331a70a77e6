"""The title under which `ps` shows us, in the form of Sidekiq's."""

from __future__ import annotations

import os

# A title that grew over the environment would destroy /proc/PID/environ.
os.environ["SPT_NOENV"] = "1"
from setproctitle import setproctitle

from gokiq import __version__


def show(tag: str, status: str) -> None:
    """Set the title, such as `gokiq-fast 0.1.0 shop [3 of 500 busy] stopping`; as much of it as
    the command line had room for.
    """
    setproctitle(" ".join(filter(None, ("gokiq-fast", __version__, tag, status))))
