"""Names of queues, classes, capsules and dependencies that a limit may have, and those that it may
have meant. No I/O.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping

from gokiq.app.info import AppInfo
from gokiq.limits.target import Kind, Target


def nearest(names: Mapping[Kind, Collection[str]], target: Target) -> str:
    """The name of the same kind, else the target of another, that is most like it; may be empty."""
    if near := difflib.get_close_matches(target.name, sorted(names.get(target.kind, ())), 1):
        return near[0]
    others = {name: Target(kind, name) for kind in Kind for name in sorted(names.get(kind, ()))}
    near = difflib.get_close_matches(target.name, others, 1, cutoff=0.8)
    return str(others[near[0]]) if near else ""


def names_of(app: AppInfo) -> dict[Kind, list[str]]:
    """What a process can say of its app, beside its queues."""
    needs = [options.get("dependency") for options in app.classes.values()]
    needs += list(app.settings.get("dependencies") or ())
    return {
        Kind.CAPSULE: [capsule.name for capsule in app.capsules],
        Kind.CLASS: sorted({*app.job_classes, *app.classes}),
        Kind.DEPENDENCY: sorted({str(need) for need in needs if need is not None}),
    }


def strangers(targets: Iterable[Target], app: AppInfo) -> Iterator[tuple[Target, str]]:
    """Those of a process's own configuration that its app does not have, each with what may have
    been meant, or empty: then it may be another process's.
    """
    names = {Kind.QUEUE: sorted(app.queue_names), **names_of(app)}
    for target in sorted(targets):
        if target.kind is not Kind.TOTAL and target.name not in names[target.kind]:
            yield target, nearest(names, target)
