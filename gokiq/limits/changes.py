"""What has changed in the limits and pauses that are set at run time, in words. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gokiq.limits.target import Rules, Scope, Target

#: How each kind of limit is told.
SAID = {
    Scope.PROCESS: "at most {} at once in each process",
    Scope.CLUSTER: "at most {} at once in all processes together",
    Scope.RATE: "{} in all processes together",
}


def changes(before: Rules, now: Rules) -> Iterator[tuple[str, str]]:
    """What operators have changed, each as a field of `CHANGES` and a line."""
    for queue in sorted(now.paused - before.paused):
        yield f"paused:{queue}", f"queue:{queue} is paused, no more of its jobs are claimed"
    for queue in sorted(before.paused - now.paused):
        yield f"paused:{queue}", f"queue:{queue} is resumed"
    kinds: list[tuple[Scope, Mapping[Target, Any], Mapping[Target, Any]]] = [
        (Scope.PROCESS, before.process, now.process),
        (Scope.CLUSTER, before.cluster, now.cluster),
        (Scope.RATE, before.rates, now.rates),
    ]
    for scope, old, new in kinds:
        for target in sorted(old.keys() | new.keys()):
            if target not in new:
                said = f"as the app's configuration says ({scope})"
            elif target in old and old[target] == new[target]:
                continue
            elif new[target] is None:
                said = f"no limit ({scope})"
            else:
                said = SAID[scope].format(new[target])
            yield f"{scope}:{target}", f"{target}: {said}"
