"""`python -m examples.demo`: the demo, which Ctrl-C ends cleanly at any time."""

from __future__ import annotations

import signal
import sys
from types import FrameType

#: A shell's exit code for a program that a signal ended, less the signal's number.
EXIT_SIGNAL = 128


class Stopped(KeyboardInterrupt):
    """A signal asked the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def main() -> int:
    """Run the demo and return its exit code."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        # Imported late: from here on even a Ctrl-C during the imports is one line.
        from examples.demo import program

        return program.main()
    except Stopped as stopped:
        print("demo: stopped; nothing is left running", file=sys.stderr)
        return EXIT_SIGNAL + stopped.number


def _stop(number: int, _frame: FrameType | None) -> None:
    # Once is enough: what follows is the clean-up, which nothing should cut short.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


if __name__ == "__main__":
    sys.exit(main())
