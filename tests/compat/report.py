"""A pytest plugin (`-p tests.compat.report`): which assertion of the checklist holds for which
Sidekiq, as a table and as JSON. The run fails when one fails or was never tested.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

#: The checklist's length.
ASSERTIONS = 105
VERSIONS = ("8.1", "7.3")
_WORST = ("pass", "na", "fail")
_PROPERTY = "assertion"


@dataclass(slots=True)
class Verdict:
    """What is known of one assertion for one version."""

    title: str
    status: str
    why: str = ""


class Report:
    """Collects verdicts; of several tests of one assertion the worst counts."""

    def __init__(self, path: Path, *, is_partial: bool) -> None:
        self._path = path
        self._is_partial = is_partial
        self._verdicts: dict[tuple[int, str], Verdict] = {}
        self._titles: dict[int, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[Any]:
        """Say in the report what the test is about: it may have run in another process."""
        report: pytest.TestReport = yield
        for mark in item.iter_markers("assertion"):
            for version in _versions(item):
                report.user_properties.append((_PROPERTY, [*mark.args, version]))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        status, why = _status(report)
        if status:
            for name, value in report.user_properties:
                if name == _PROPERTY:
                    number, title, version = value  # type: ignore[misc]
                    self._note(number, version, Verdict(title, status, why))

    def _note(self, number: int, version: str, verdict: Verdict) -> None:
        self._titles.setdefault(number, verdict.title)
        before = self._verdicts.get((number, version))
        # One test of several that does not apply does not make the assertion inapplicable.
        if before is None or _rank(verdict.status) > _rank(before.status):
            self._verdicts[number, version] = verdict
        elif {before.status, verdict.status} == {"pass", "na"}:
            self._verdicts[number, version] = Verdict(verdict.title, "pass")

    def rows(self) -> list[dict[str, Any]]:
        """Every assertion for every version; one that no test has reached is a failure."""
        missing = Verdict("", "fail", "no test of it ran")
        return [
            {
                "id": number,
                "title": self._titles.get(number, ""),
                "sidekiq": version,
                "status": (verdict := self._verdicts.get((number, version), missing)).status,
                "why": verdict.why,
            }
            for number in range(1, ASSERTIONS + 1)
            for version in VERSIONS
        ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_partial or hasattr(session.config, "workerinput"):
            return
        rows = self.rows()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        if any(row["status"] == "fail" for row in rows) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        if self._is_partial:
            write(f"only some tests ran: no table, and {self._path} stays as it is")
            return
        terminalreporter.section("compatibility")
        rows = self.rows()
        for number in range(1, ASSERTIONS + 1):
            its = [row for row in rows if row["id"] == number]
            states = "  ".join(f"{row['sidekiq']} {row['status']:4}" for row in its)
            why = "; ".join(sorted({row["why"] for row in its if row["why"]}))
            write(f"{number:4}  {states}  {its[0]['title']}{'  (' + why + ')' if why else ''}")
        for version in VERSIONS:
            its = [row["status"] for row in rows if row["sidekiq"] == version]
            counts = ", ".join(f"{its.count(status)} {status}" for status in _WORST)
            write(f"Sidekiq {version}: {counts}")
        write(f"written to {self._path}")


def _status(report: pytest.TestReport) -> tuple[str, str]:
    """(status, why) of one phase of a test; an empty status when it says nothing yet."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        return "fail", str(crash.message if crash else report.longrepr).splitlines()[0][:200]
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith("n/a: "):
            return "na", reason.removeprefix("n/a: ")
        return "fail", reason
    return ("pass", "") if report.when == "call" else ("", "")


def _versions(item: pytest.Item) -> tuple[str, ...]:
    """The version that a test is about: its parameter, or all of them."""
    callspec = getattr(item, "callspec", None)
    version = callspec.params.get("version") if callspec else None
    return (version.name,) if version is not None else VERSIONS


def _rank(status: str) -> int:
    return {"na": 0, "pass": 1, "fail": 2}[status]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compat-json", default="tmp/compat.json", metavar="PATH")


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    whole = "tests/compat" in (argument.rstrip("/") for argument in config.args)
    is_partial = not whole or bool(option.keyword or option.markexpr or option.lf)
    report = Report(Path(config.getoption("--compat-json")), is_partial=is_partial)
    config.pluginmanager.register(report, "compat-report")
