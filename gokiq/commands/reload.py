"""`gokiq-fast reload`: asks a running gokiq-fast to load new code, and tells how it went."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from gokiq.errors import ConfigError, GokiqError
from gokiq.host import runfile
from gokiq.host.deadline import BOOT_LIMIT_S
from gokiq.host.runfile import Run

#: How often we look for the outcome, seconds.
LOOK_S = 0.1
#: How long the process may take to answer the signal, and beyond its own limit to give up a boot,
#: seconds.
ANSWER_S = 15.0

EPILOG = """\
Asks the gokiq-fast that this user runs on this host to boot the new code beside the old and to
switch when it is ready, and waits for that: exit code 0 when the new code takes the jobs, 1 when
the old code goes on, with the reason. Jobs that run have the shutdown timeout to end meanwhile.

One that it cannot find (another user's, or one with a /tmp of its own, such as PrivateTmp=) takes
the signal USR2 as well: with --pid it is sent, and the outcome is in that process's log.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.description = "Load new code into a running gokiq-fast, without a gap."
    parser.epilog = EPILOG
    parser.add_argument("--pid", metavar="NUM", help="which one, where several run")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0: the new code takes the jobs, or was asked for. Raises GokiqError."""
    pid = _pid(arguments.pid)
    found = runfile.find()
    if pid is not None:
        found = [(folder, run) for folder, run in found if run.pid == pid]
        if not found:
            _ask(pid)
            _say(f"process {pid} was asked to reload; its log tells how that goes")
            return 0
    if not found:
        raise GokiqError("no gokiq-fast of this user runs here; name it with --pid")
    if len(found) > 1:
        which = ", ".join(f"{run.pid} ({run.app})" for _, run in found)
        raise GokiqError(f"several gokiq-fast run here: {which}; name one with --pid")
    [(folder, before)] = found
    _ask(before.pid)
    error = _outcome(folder, before)
    if error:
        raise GokiqError(f"process {before.pid} goes on with the old code: {error}")
    _say(f"process {before.pid} runs the new code")
    return 0


def _ask(pid: int) -> None:
    """Send the signal, to nothing that it would end. Raises GokiqError."""
    try:
        if not _catches(pid):
            raise GokiqError(
                f"process {pid} is no gokiq-fast that can reload; "
                "`pgrep -af gokiq-fast` lists those that run"
            )
        os.kill(pid, signal.SIGUSR2)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise GokiqError(f"there is no process {pid}") from error
    except PermissionError as error:
        raise GokiqError(f"process {pid} belongs to another user: ask as that one") from error


def _catches(pid: int) -> bool:
    """Whether it is a gokiq-fast with a handler for the signal. Raises OSError."""
    proc = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (proc / "status").read_text("utf-8", "replace").splitlines()
    )
    is_caught = int(status["SigCgt"], 16) >> (signal.SIGUSR2 - 1) & 1
    return bool(is_caught) and b"gokiq" in (proc / "cmdline").read_bytes()


def _outcome(folder: Path, before: Run) -> str:
    """Why it failed, empty when it did not. Raises GokiqError when it does not come."""
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < BOOT_LIMIT_S + ANSWER_S:
        now = runfile.read(folder)
        if now is None or not now.is_alive:
            raise GokiqError(f"process {before.pid} has ended meanwhile")
        if now.asked > before.asked:
            number = number or now.asked
            if now.done >= number:
                return now.error
        elif time.monotonic() - began > ANSWER_S:
            break
        time.sleep(LOOK_S)
    raise GokiqError(f"process {before.pid} does not answer; see its log")


def _pid(value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"--pid {value}: must be the number of a process")
    return int(value)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
