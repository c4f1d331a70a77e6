"""What a gokiq-fast keeps in its private folder for `gokiq-fast reload`: who it is, and how its
reloads went.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from gokiq.identity import start_ticks

#: The sidecar's root removes it with the folder when we were killed (launch.rb).
NAME = "run.json"
#: How the private folders' names begin.
PREFIX = "gokiq-"


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
