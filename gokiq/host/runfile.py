"""What a gokiq-fast keeps in its private folder for `gokiq-fast reload`: who it is, and how its
reloads went.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from gokiq.host.identity import start_ticks

#: The sidecar's root removes it with the folder when we were killed (launch.rb).
NAME = "run.json"
#: How the private folders' names begin.
PREFIX = "gokiq-"
#: What may be in one that is removed.
_OURS = {NAME, f"{NAME}.new", "leader", "monitor.sock", "sidecar.sock"} | {
    f"sidecar-{number}.sock" for number in range(1, 1000)
}
#: A folder without a record is left by a dead process when it is that old, seconds.
UNKNOWN_S = 3600.0


@dataclass(frozen=True, slots=True)
class Run:
    """One process. Reloads are numbered as they are asked for; `done` is the last one that has an
    outcome, and `error` is why it failed, empty when it did not.
    """

    pid: int
    start_ticks: int
    app: str
    asked: int = 0
    done: int = 0
    error: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether that process is still there."""
        return start_ticks(self.pid) == self.start_ticks


def hold(folder: Path) -> int:
    """Lock a private folder while its process lives, so that what clears old files away leaves it
    alone: systemd-tmpfiles passes over folders that are locked (tmpfiles.d(5), "Age"). Returns the
    descriptor, to be closed at the end.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def sweep() -> None:
    """Remove the folders of processes that were killed together with their sidecars."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == os.getuid() and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its process lives: BlockingIOError
        if not {path.name for path in folder.iterdir()} <= _OURS:
            return False
        run = read(folder)
        # One of an older version holds no lock, and has no record before its app has booted.
        return not run.is_alive if run else time.time() - folder.stat().st_mtime > UNKNOWN_S
    finally:
        os.close(descriptor)


def write(folder: Path, run: Run) -> None:
    """Readers see the old or the new text, never a part. Raises OSError."""
    new = folder / f"{NAME}.new"
    new.write_text(json.dumps(asdict(run)), "utf-8")
    new.replace(folder / NAME)


def read(folder: Path) -> Run | None:
    """None when there is none that we could trust."""
    try:
        if folder.stat().st_uid != os.getuid():
            return None
        return Run(**json.loads((folder / NAME).read_text("utf-8")))
    except (OSError, TypeError, ValueError):
        return None


def find() -> list[tuple[Path, Run]]:
    """Those of our user that run on this host, with their folders."""
    folders = sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    found = [(folder, run) for folder in folders if (run := read(folder)) is not None]
    return [(folder, run) for folder, run in found if run.is_alive]
