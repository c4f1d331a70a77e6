"""The suite's report, from the figures of its rows: a table against the targets, and the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.page import Block, Heading, Picture, Table, Text, to_html, to_markdown
from bench.plots import draw_all
from bench.report import BUSY_CORES, LEGEND, METHOD
from bench.targets import ROWS, Finding, Records, Verdict, judge, read_limits
from devtools.programs import ROOT

#: What is known of rows that are not met.
LIMITS = ROOT / "bench" / "limits.toml"
TITLE = "gokiq beside Sidekiq"

_WORDS = {True: "met", False: "missed", None: "reported"}


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of every row that is in `folder`, by the row's name, in the table's order."""
    names = [*(row.name for row in ROWS), "growth"]
    records: dict[str, dict[str, Any]] = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in names
        if (path := folder / f"{name}.json").exists()
    }
    peers = folder / "peers.json"
    if peers.exists():
        seen = json.loads(peers.read_text(encoding="utf-8"))
        for name in records.keys() & seen.keys() & {"noop", "sleep"}:
            records[name]["peers"] = seen[name]
    return records


def write_report(folder: Path) -> tuple[Path, list[Verdict]]:
    """Draw the pictures and write report.md and report.html; the first, and what it says."""
    records = read_records(folder)
    verdicts = judge(records, read_limits(LIMITS))
    pictures = [
        Picture(path, text) for path, text in draw_all(records, _ratio_targets(), folder).items()
    ]
    grown = [
        Picture(path, f"Growth: {path.stem.removeprefix('growth-')}")
        for path in sorted(folder.glob("growth-*.png"))
        if "growth" in records
    ]
    blocks = make_blocks(records, verdicts, pictures, grown)
    (folder / "report.html").write_text(to_html(TITLE, blocks), encoding="utf-8")
    path = folder / "report.md"
    path.write_text(to_markdown(TITLE, blocks), encoding="utf-8")
    return path, verdicts


def make_blocks(
    records: Records,
    verdicts: Sequence[Verdict],
    pictures: Sequence[Picture],
    grown: Sequence[Picture],
) -> list[Block]:
    """The page."""
    blocks: list[Block] = [Text(_machine(records)), Text(count(verdicts)), _targets(verdicts)]
    reasons = [verdict for verdict in verdicts if verdict.reason]
    if reasons:
        rows = [(verdict.title, verdict.reason) for verdict in reasons]
        blocks += [Heading("What stands against the rest"), Table(("row", "reason"), rows)]
    if pictures:
        blocks += [Heading("Beside Sidekiq"), *pictures]
    blocks += [Heading("All figures"), Text(METHOD), Text(LEGEND), _figures(records)]
    if grown:
        blocks += [Heading("Growth"), *grown]
    blocks += [Heading("How each row is measured"), _methods(records)]
    return blocks


def count(verdicts: Sequence[Verdict]) -> str:
    """How many rows are met, in a sentence."""
    asked = [verdict for verdict in verdicts if verdict.is_met is not None]
    met = sum(1 for verdict in asked if verdict.is_met)
    return f"{met} of {len(asked)} rows with a target are met."


def _targets(verdicts: Sequence[Verdict]) -> Table:
    rows, marks = [], []
    for verdict in verdicts:
        for place, finding in enumerate(verdict.findings):
            rows.append(_finding(verdict, finding, is_first=place == 0))
            marks.append(_WORDS[finding.is_met])
    return Table(("row", "figure", "target", "reached", ""), rows, frozenset({2, 3}), marks)


def _finding(verdict: Verdict, finding: Finding, *, is_first: bool) -> tuple[str, ...]:
    title = verdict.title if is_first else ""
    is_explained = finding.target and finding.is_met is None
    word = "explained" if is_explained else _WORDS[finding.is_met]
    return (title, finding.what, finding.target, finding.reached, word)


def _figures(records: Records) -> Table:
    head = ("row", "system", "jobs/s", "ratio", "Ruby", "Python", "Redis")
    more = ("commands", "links", "RSS MB", "PSS MB", "others")
    rows = []
    for name, record in records.items():
        if "ratio" not in record or "gokiq" not in record:
            continue
        base = record["sidekiq"]["jobs_per_s"]
        systems = (*record["others"], record["sidekiq"], record["gokiq"])
        for place, one in enumerate(systems):
            cpu = one["cpu_us_per_job"]
            busy = max(run["other_cores"] for run in one["runs"])
            rows.append(
                (
                    name if place == 0 else "",
                    one["label"],
                    f"{one['jobs_per_s']:,.0f}",
                    f"{one['jobs_per_s'] / base:.2f}",
                    f"{cpu['ruby']:,.1f}",
                    f"{cpu['python']:.1f}" if cpu["python"] else "",
                    f"{cpu['redis']:.1f}",
                    f"{one['redis_commands_per_job']:.2f}",
                    str(one["redis_connections"]),
                    f"{one['rss_mb']:.0f}",
                    f"{one['pss_mb']:.0f}",
                    f"{busy:.1f}" + (" !" if busy >= BUSY_CORES else ""),
                )
            )
        rows += [
            ("", one["label"], f"{one['jobs_per_s']:,.0f}", f"{one['jobs_per_s'] / base:.2f}")
            + ("",) * 8
            for one in record.get("peers", {}).values()
        ]
    return Table((*head, *more), rows, frozenset(range(2, 12)))


def _methods(records: Records) -> Table:
    rows = []
    for name, record in records.items():
        trials = ", ".join(
            f"{trial['settings']['threads']} threads {trial['jobs_per_s']:,.0f}/s"
            for trial in record.get("trials", ())
        )
        jobs = f"{record['jobs']:,} jobs" if isinstance(record.get("jobs"), int) else ""
        method = record.get("method", "")
        said = (
            record.get("failed", ""),
            jobs,
            "" if method == METHOD else method,
            f"Tried for Sidekiq: {trials}" if trials else "",
        )
        seconds = record.get("took_s")
        took = "" if seconds is None else f"{seconds:.0f} s"
        rows.append(
            (
                name,
                "\n".join(filter(None, said)),
                record.get("command", ""),
                record.get("date", ""),
                took,
            )
        )
    return Table(("row", "what", "command", "when", "took"), rows, frozenset({4}))


def _machine(records: Records) -> str:
    machine: Mapping[str, Any] = next(
        (record["machine"] for record in records.values() if "machine" in record), {}
    )
    if not machine:
        return "Nothing was measured."
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['system']}; Ruby {machine['ruby']}"
        f" (YJIT {machine['yjit']}), Sidekiq {machine['sidekiq']}, gokiq {machine['gokiq']} on"
        f" Python {machine['python']}, Redis {machine['redis']} on the same machine."
    )


def _ratio_targets() -> dict[str, float]:
    """What is asked of the ratio of a row, by its name."""
    return {
        row.name: check.bound
        for row in ROWS
        for check in row.checks
        if check.what == "jobs/s, times Sidekiq's" and isinstance(check.bound, (int, float))
    }
