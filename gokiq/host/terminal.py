"""Whether we were started from a terminal, and still have it."""

from __future__ import annotations

import os


def is_there() -> bool:
    """False without a controlling terminal, and once it was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
