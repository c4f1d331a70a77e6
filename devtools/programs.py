"""Where the programs that development needs are: an environment variable, .dev/bin, PATH."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from devtools.failure import DevError

#: The checkout.
ROOT = Path(__file__).resolve().parent.parent

#: Programs that have a variable of their own to name another one.
VARIABLES = {"ruby": "GOKIQ_RUBY", "chromium-headless-shell": "GOKIQ_BROWSER"}


def find_program(name: str) -> Path:
    """Where `name` is: its variable, else .dev/bin, else PATH. Raises DevError when nowhere."""
    variable = VARIABLES.get(name)
    asked = os.environ.get(variable, "") if variable else ""
    ours = ROOT / ".dev" / "bin" / name
    if asked:
        found = shutil.which(asked)
    elif os.access(ours, os.X_OK):
        found = str(ours)
    else:
        found = shutil.which(name)
    if found is None:
        missing = f"{variable}={asked} is no program" if asked else f"{name} was not found"
        raise DevError(missing, advice="Run script/setup, which brings a private one")
    return Path(found)
