"""`python -m examples.rails_app`: the shop's jobs under Sidekiq, then under gokiq-fast, and whether
both left the same in the database.
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devtools.failure import DevError, short_path
from devtools.programs import ROOT
from devtools.redis_server import RedisServer
from examples.rails_app.shop import Shop

#: Exit code when the two differ, or when one could not run.
EXIT_FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run both and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.rails_app", description=__doc__)
    parser.add_argument(
        "--out",
        default=str(ROOT / "tmp" / "rails_app"),
        metavar="DIR",
        help="where databases, dumps and logs go (tmp/rails_app/)",
    )
    folder = Path(parser.parse_args(argv).out).resolve()
    try:
        dumps = [run(name, folder / name) for name in ("sidekiq", "gokiq-fast")]
    except (DevError, OSError) as error:
        print(f"rails_app: {error}", file=sys.stderr)
        return EXIT_FAILED
    return compare(*dumps, folder)


def run(name: str, folder: Path) -> str:
    """The tables after all jobs have run under that server."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    with RedisServer(log=folder / "redis.log") as redis:
        shop = Shop(redis, folder)
        shop.open()
        shop.serve(name)
        dump = shop.dump()
    (folder / "tables").write_text(dump, encoding="utf-8")
    print(f"{name}: {len(dump.splitlines())} lines of tables, {time.monotonic() - began:.0f} s")
    return dump


def compare(sidekiq: str, gokiq: str, folder: Path) -> int:
    """Say how they differ; the exit code."""
    lines = difflib.unified_diff(
        sidekiq.splitlines(), gokiq.splitlines(), "sidekiq", "gokiq-fast", lineterm=""
    )
    difference = "\n".join(lines)
    print(difference or f"the same; tables and logs: {short_path(folder)}")
    return EXIT_FAILED if difference else 0


if __name__ == "__main__":
    sys.exit(main())
