"""One target under libFuzzer, in a process of its own: python -m tests.fuzz.fuzzer TARGET …

What follows the name goes to libFuzzer: folders of inputs, the first of which it adds to, and
options. Needs atheris and extensions that tell where they have been (script/fuzz).
"""

from __future__ import annotations

import os
import sys

import atheris  # type: ignore[import-untyped]
import atheris.core_with_libfuzzer  # type: ignore[import-untyped]

# For coverage.c in the extensions, which are imported next.
os.environ["GOKIQ_LIBFUZZER"] = atheris.core_with_libfuzzer.__file__
OURS = [
    f"gokiq.{name}"
    for name in ("_core_py", "_payload_py", "app.info", "workers.vitals", "sidekiq.promotion")
]
with atheris.instrument_imports(include=[*OURS, "tests.fuzz.shape"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    _, name, *arguments = sys.argv
    # libFuzzer runs its first argument, through a shell, when it needs another process to merge.
    command = f"{sys.executable} -m tests.fuzz.fuzzer {name}"
    atheris.Setup([command, *arguments], TARGETS[name])
    atheris.Fuzz()


main()
