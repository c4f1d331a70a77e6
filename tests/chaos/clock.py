"""gokiq-fast on a host whose clock is wrong; TEST_CLOCK_OFFSET does the same to the app.

python -m tests.chaos.clock SECONDS [ARGUMENT …]
"""

from __future__ import annotations

import sys
import time


def main() -> None:
    """Shift `time.time`, then run gokiq-fast, which has not been imported yet."""
    offset_s, right = float(sys.argv[1]), time.time
    time.time = lambda: right() + offset_s

    from gokiq.commands import main as cli

    cli.main(sys.argv[2:])


if __name__ == "__main__":
    main()
