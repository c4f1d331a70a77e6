"""The inputs that are kept: a file for each target in corpus/, a line for each input, as Python
writes bytes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")
VECTORS = Path(__file__).parent.parent / "vectors" / "frames.json"
#: What the body of a frame is an input of, by its type.
BODY_TARGETS = {
    "HELLO": "hello",
    "BATCH": "batch",
    "PLAIN": "plain",
    "DONE": "done",
    "RESULTS": "results",
    "PROMOTED": "promotions",
}
#: A longer input is made by a test instead of being kept.
KEPT_BYTES = 2000


def kept(target: str) -> list[bytes]:
    """Every input that is kept for a target, and what the protocol's vectors have for it."""
    path = FOLDER / f"{target}.txt"
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [*(ast.literal_eval(line) for line in lines), *_vectors(target)]


def keep(target: str, inputs: Iterable[bytes], folder: Path = FOLDER) -> int:
    """Make these all that is kept for a target, shortest first; returns how many."""
    short = {one for one in inputs if len(one) <= KEPT_BYTES} - set(_vectors(target))
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{one!r}\n" for one in sorted(short, key=lambda one: (len(one), one))]
    (folder / f"{target}.txt").write_text("".join(lines), encoding="ascii")
    return len(lines)


def _vectors(target: str) -> list[bytes]:
    entries = json.loads(VECTORS.read_text(encoding="utf-8"))
    wires = [(entry.get("type"), bytes.fromhex(entry["hex"])) for entry in entries]
    if target == "frames":
        return [wire for _, wire in wires]
    return [wire[8:] for kind, wire in wires if BODY_TARGETS.get(kind) == target]
