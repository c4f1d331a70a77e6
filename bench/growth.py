"""`python -m bench.growth [AXIS …]`: what a job costs as everything around it grows."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from bench.growth_axes import AXES, PUSHES
from bench.growth_report import Window, describe, parts_of, summarise, tables, with_parts
from bench.growth_rig import measure, measure_push
from bench.machine import describe_machine
from devtools.failure import DevError, short_path
from devtools.programs import ROOT
from devtools.redis_server import RedisServer

#: Where the figures and the pictures go.
OUT = ROOT / "tmp" / "bench"
#: The pages that show the tables, and which.
PAGES = {
    ROOT / "docs" / "scaling.md": ("made", "capacity", "pushes"),
    ROOT / "docs" / "scaling-research.md": ("made", "growth"),
}
#: The picture on the second of them.
PICTURE = ROOT / "docs" / "images" / "growth.png"
#: How often every point is measured, all points in turn, so that a change of the machine's mood
#: meets them all.
ROUNDS = 2


def run(
    axes: Sequence[str] = (),
    out: Path = OUT,
    *,
    rounds: int = ROUNDS,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure these axes, all of them if none is named; write growth.json and growth-AXIS.png into
    the folder `out` and return what the JSON holds. Raises DevError when a point fails.
    """
    chosen = [AXES[name] for name in axes or AXES]
    with RedisServer() as redis:
        machine = describe_machine(redis)
    seen: dict[str, dict[int, list[Window]]] = {
        axis.name: {x: [] for x, _ in axis.points} for axis in chosen
    }
    for turn in range(1, rounds + 1):
        for axis in chosen:
            for x, setup in axis.points:
                with tempfile.TemporaryDirectory(prefix="gokiq-growth-") as folder:
                    windows = measure(setup, Path(folder))
                seen[axis.name][x] += windows
                point = summarise(windows)
                say(
                    f"  round {turn}/{rounds}  {axis.name:<20}{x:>10,}"
                    f"{point['whole_us_per_job']:>9,.1f} µs{point['jobs_per_s']:>11,.0f} jobs/s"
                )
    report = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": f"python -m bench.growth {' '.join(axes)}".strip(),
        "rounds": rounds,
        "axes": {axis.name: describe(axis, seen[axis.name]) for axis in chosen},
        "pushes": [] if axes else [{"x": x, **measure_push(x, count)} for x, count in PUSHES],
        "machine": machine,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "growth.json").write_text(
        json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    _draw(report, out)
    return report


def _draw(report: dict[str, Any], out: Path) -> None:
    # Only who draws needs matplotlib, and only now.
    from bench.growth_plots import draw

    for name, curve in report["axes"].items():
        draw(name, curve, out)


def _show(report: dict[str, Any]) -> None:
    """Put the tables and the picture of all curves into the pages. Raises ValueError."""
    from bench.growth_plots import draw_all

    parts = parts_of(report)
    pages = {
        path: with_parts(path.read_text(encoding="utf-8"), {name: parts[name] for name in names})
        for path, names in PAGES.items()
    }
    draw_all(report["axes"], PICTURE)
    for path, page in pages.items():
        path.write_text(page, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or show what was measured; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if unknown := [name for name in options.axes if name not in AXES]:
        parser.error(f"no such axis: {', '.join(unknown)}; there are {', '.join(AXES)}")
    try:
        if options.tables or options.page:
            path = options.out / "growth.json"
            report = json.loads(path.read_text(encoding="utf-8"))
        else:
            report = run(options.axes, options.out, rounds=options.rounds)
        if options.page:
            _show(report)
        else:
            print(
                f"\n{tables(report)}\n\nAll figures and pictures: {short_path(options.out)}/growth*"
            )
    except (DevError, OSError, RedisError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description="CPU per job against what grows around it; writes growth.json and pictures.",
    )
    parser.add_argument(
        "axes", nargs="*", metavar="AXIS", help=f"which; all by default: {', '.join(AXES)}"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"({ROUNDS})")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="(tmp/bench)")
    parser.add_argument(
        "--tables", action="store_true", help="measure nothing, print the tables of growth.json"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="measure nothing, put the tables of growth.json and a picture into docs/scaling*.md",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
