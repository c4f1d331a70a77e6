"""All scenarios, in the order in which they run."""

from __future__ import annotations

from . import machine, neighbours, scenarios
from .registry import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "machine", "neighbours", "scenarios"]
