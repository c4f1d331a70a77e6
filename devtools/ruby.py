"""Run Ruby: $GOKIQ_RUBY, what script/setup made, or the `ruby` of PATH."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from devtools.child import Child
from devtools.failure import DevError
from devtools.programs import ROOT, find_program

#: Time that a short piece of Ruby may take, in seconds.
EVAL_TIMEOUT_S = 60.0


def ruby_script(
    script: Path,
    *args: str | Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    takes_input: bool = False,
) -> Child:
    """A Child, not yet started, to run `script` in the checkout. Raises DevError without Ruby."""
    argv = [find_program("ruby"), script, *args]
    return Child(argv, log=log, env=env, cwd=ROOT, takes_input=takes_input, name=script.name)


def ruby_eval(code: str, *, ruby: Path | None = None) -> str:
    """What `ruby -e code` prints, without the blanks around it. Raises DevError when it fails."""
    ruby = ruby or find_program("ruby")
    try:
        done = subprocess.run(  # noqa: S603 - running Ruby is what this is for
            [str(ruby), "-e", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=EVAL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DevError(f"{ruby} does not run: {error}", advice="Run script/setup") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
        raise DevError(f"{ruby} failed: {said}", advice="Run script/setup")
    return done.stdout.strip()


def gem_program(gem: str, name: str | None = None, *, ruby: Path | None = None) -> Path:
    """Path of the program `name` (default: the gem's name) in `gem`, to run as `ruby PATH`."""
    return Path(ruby_eval(f"puts Gem.bin_path({gem!r}, {name or gem!r})", ruby=ruby))
