"""The program: read the options, run the demo, print the summary, write demo.json."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from devtools.failure import DevError, short_path
from devtools.programs import ROOT
from examples.demo.plan import make_plan
from examples.demo.report import Report, Settings, make_report
from examples.demo.stage import Order, Stage
from examples.demo.summary import command, compare, describe

#: Exit code when something failed, or when a job was lost or done twice.
EXIT_FAILED = 1
#: Columns where there is no terminal that has some: the longest line of the summary.
PLAIN_WIDTH = 120

DESCRIPTION = "20,000 jobs of an example application, live, with proof that none is lost."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    options = _parse(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    try:
        return _run(options, console)
    except (DevError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_FAILED


def _run(options: argparse.Namespace, console: Console) -> int:
    began = time.monotonic()
    plan = make_plan(options.scale)
    console.print(f"[bold]gokiq demo[/bold]: {plan.total:,} jobs\n", highlight=False)
    name = "demo" if options.server == "gokiq" else f"demo-{options.server}"
    folder = Path(options.out).resolve()
    server_options = ["-c", str(options.concurrency)]
    if options.workers is not None:
        server_options += ["--workers", str(options.workers)]
    order = Order(plan, options.server, tuple(server_options), folder / name)

    evidence = Stage(order, console).run()

    settings = Settings(options.server, options.concurrency, options.scale)
    report = make_report(evidence, settings, time.monotonic() - began)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    _print_summary(console, report, path, order.folder)
    return 0 if report.is_clean else EXIT_FAILED


def _print_summary(console: Console, report: Report, path: Path, folder: Path) -> None:
    verdict = f"lost: {report.lost}, duplicates: {report.duplicates}, dead: {report.dead}"
    style = "bold green" if report.is_clean else "bold red"
    console.print(f"\n  [{style}]{verdict}[/]  in {report.wall_s:.0f} s\n", highlight=False)
    table = Table.grid(padding=(0, 2))
    for line in describe(report):
        table.add_row(f"  {line.label}", Text(line.figure, "bold"), Text(line.meaning, "dim"))
    console.print(table)
    if not report.is_clean:
        console.print(f"\n  NOT CLEAN. Logs and journal: {short_path(folder)}", style="bold red")
    other = path.with_name("demo-sidekiq.json" if report.server == "gokiq" else "demo.json")
    both = _read_pair(report, other)
    if both is not None:
        console.print("\n" + "\n".join(compare(*both)), highlight=False)
    console.print(f"\n  All figures: {short_path(path)}", highlight=False, soft_wrap=True)
    console.print(f"  Next: {_next_step(report, has_both=both is not None)}\n", soft_wrap=True)


def _read_pair(report: Report, other: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Our report and Sidekiq's, when there is one of the same jobs."""
    try:
        found = json.loads(other.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if found.get("scale") != report.scale:
        return None
    mine = report.as_json()
    return (mine, found) if report.server == "gokiq" else (found, mine)


def _next_step(report: Report, *, has_both: bool) -> str:
    if has_both:
        return "in your application's folder, instead of `bundle exec sidekiq`: gokiq-fast"
    if report.server == "gokiq":
        return f"the same jobs on Sidekiq itself: {command('--server', 'sidekiq')}"
    return f"the same jobs on gokiq: {command()}"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=DESCRIPTION)
    parser.add_argument(
        "--server",
        choices=["gokiq", "sidekiq"],
        default="gokiq",
        help="what runs the jobs (default: gokiq)",
    )
    parser.add_argument(
        "-c", dest="concurrency", type=int, default=500, metavar="N", help="jobs at once (500)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="Ruby processes (gokiq decides)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="1 = 20,000 jobs (1)")
    parser.add_argument(
        "--out",
        default=str(ROOT / "tmp"),
        metavar="DIR",
        help="where demo.json, logs and journal go (tmp/)",
    )
    return parser.parse_args(argv)
