"""Whether figures have become worse than those that were committed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: By how much a figure may be worse, in percent.
TOLERANCE_PERCENT = 15


@dataclass(frozen=True, slots=True)
class Figures:
    """By name: how many times better than Sidekiq (more is better), instructions (less is)."""

    ratios: Mapping[str, float] = field(default_factory=dict)
    instructions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line for each figure that is worse than it may be, and for each that may be committed."""

    regressions: list[str]
    hints: list[str]


def judge(committed: Figures, measured: Figures) -> Verdict:
    """Compare what was measured with what is committed; kinds that were not measured are not."""
    verdict = Verdict([], [])
    if measured.ratios:
        for name, was in committed.ratios.items():
            _judge(verdict, name, "", was, measured.ratios.get(name), is_more_better=True)
    if measured.instructions:
        for name, was in committed.instructions.items():
            now = measured.instructions.get(name)
            _judge(verdict, name, " instructions", was, now, is_more_better=False)
    for name in _names(measured) - _names(committed):
        verdict.hints.append(f"new: {name}")
    verdict.hints.sort()
    return verdict


def better_ratios(one: Figures, other: Figures) -> Figures:
    """The figures of `one`, with the better ratio of both: other work on a machine only harms."""
    ratios = {name: max(ratio, other.ratios[name]) for name, ratio in one.ratios.items()}
    return Figures(ratios, one.instructions)


def _judge(
    verdict: Verdict, name: str, unit: str, was: float, now: float | None, *, is_more_better: bool
) -> None:
    if now is None:
        verdict.hints.append(f"gone: {name}")
        return
    change = 100 * (now - was) / was
    said = f"{name}: {now:,}{unit} instead of {was:,} ({change:+.0f} %)"
    gain = change if is_more_better else -change
    if gain < -TOLERANCE_PERCENT:
        verdict.regressions.append(f"{said}, {TOLERANCE_PERCENT} % are allowed")
    elif gain > TOLERANCE_PERCENT:
        verdict.hints.append(f"improved: {said}")


def _names(figures: Figures) -> set[str]:
    return {*figures.ratios, *figures.instructions}
