"""How a developer's tool says that it cannot go on: one line."""

from __future__ import annotations

from pathlib import Path


class DevError(Exception):
    """Why it failed, what to do next, and where the log is; `str()` is one line with the three."""

    def __init__(self, cause: str, *, advice: str = "", log: Path | None = None) -> None:
        parts = [_sentence(cause)]
        if advice:
            parts.append(_sentence(advice))
        if log is not None:
            parts.append(f"Log: {short_path(log)}")
        super().__init__(" ".join(parts))
        self.cause = cause
        self.advice = advice
        self.log = log


def short_path(path: Path) -> str:
    """`path` as seen from the current folder when it is below, else as it is."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
