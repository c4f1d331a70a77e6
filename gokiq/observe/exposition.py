"""Metrics as Prometheus reads them: its text format, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric and its samples, by their labels."""

    name: str
    kind: str
    #: One line without a backslash.
    help: str
    samples: Mapping[Labels, float]


def counter(name: str, text: str, value: float) -> Family:
    """A number that only grows while the process lives."""
    return Family(name, "counter", text, {(): value})


def gauge(name: str, text: str, value: float) -> Family:
    """A number as it is now."""
    return Family(name, "gauge", text, {(): value})


def labelled(kind: str, name: str, text: str, label: str, values: Mapping[str, float]) -> Family:
    """One sample for each value of one label."""
    return Family(name, kind, text, {((label, key),): value for key, value in values.items()})


def render(families: Iterable[Family]) -> bytes:
    """The page; a family without samples is left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples.items():
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
            name = f"{family.name}{{{inside}}}" if inside else family.name
            lines.append(f"{name} {_number(value)}")
    return ("\n".join(lines) + "\n").encode()


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
