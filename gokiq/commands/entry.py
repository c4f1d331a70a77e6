"""Where the console script begins: Ctrl-C ends us without a traceback while modules are loaded."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Entry point of the console script."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gokiq.commands import main as cli  # takes a while

    if is_default and sys.argv[1:2] and sys.argv[1] in cli.COMMANDS:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()
