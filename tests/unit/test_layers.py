"""Who may import whom: a package knows only what stands below it (docs/internals.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gokiq

pytestmark = pytest.mark.unit

HOUSE = Path(gokiq.__file__).parent
#: From the ground up. Modules of the root stand by their own names.
FLOORS = [
    {"__init__", "errors", "log", "spool", "core", "payload", "_core", "_core_py"},
    {"_payload", "_payload_py"},
    {"host"},
    {"app"},
    {"limits"},
    {"config"},
    {"store"},
    {"sidekiq"},
    {"claiming"},
    {"workers"},
    {"observe"},
    {"runner"},
    {"commands", "__main__"},
]
#: Imports that still run upwards. One that is mended has to leave this list.
UPWARDS: set[tuple[str, str]] = set()
#: Pure packages: neither sockets nor clocks of their own, nor who has them.
PURE = {"limits"}
IO = {"asyncio", "socket", "redis", "hiredis", "subprocess", "signal"}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def floor_of(module: str) -> int:
    if module in FLOORS[1]:
        return 0
    return next(at for at, rooms in enumerate(FLOORS) if room_of(module) in rooms)


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(HOUSE.rglob("*.py")):
        name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    """Full names, of ours without `gokiq.`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            base = node.module
            inside = [f"{base}.{alias.name}" for alias in node.names]
            is_package = base == "gokiq" or (HOUSE / "/".join(base.split(".")[1:])).is_dir()
            yield from inside if base.startswith("gokiq") and is_package else [base]


def ours(tree: ast.Module) -> Iterator[str]:
    for name in imports(tree):
        if name.startswith("gokiq.") and name != "gokiq.__version__":
            yield name.removeprefix("gokiq.")


def test_imports_run_downwards() -> None:
    found = {
        (module, target)
        for module, tree in modules()
        for target in ours(tree)
        if floor_of(target) > floor_of(module)
    }

    assert found == UPWARDS


def test_every_module_has_its_floor() -> None:
    assert [module for module, _ in modules() if floor_of(module) < 0] == []


def test_pure_packages_do_nothing_with_the_world() -> None:
    found = {
        (module, name)
        for module, tree in modules()
        if room_of(module) in PURE
        for name in imports(tree)
        if room_of(name) in IO
    }

    assert found == set()
