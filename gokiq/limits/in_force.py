"""Which limits are in force: what the app's configuration, its classes, flags and operators say,
the later over the earlier; and the dependencies whose limits move by themselves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gokiq.app.info import AppInfo
from gokiq.errors import ConfigError
from gokiq.limits.counting import Need
from gokiq.limits.dependency import Dependency
from gokiq.limits.gems import Gems
from gokiq.limits.names import strangers
from gokiq.limits.target import (
    Rules,
    Target,
    adaptive_targets,
    dependency,
    from_classes,
    from_flags,
    from_settings,
    parse_target,
)
from gokiq.log import get_logger

log = get_logger("limits")

Needs = Mapping[Target, Need]
#: Keys of a dependency that say whose it is, not how it is limited.
_MEMBERS = ("queues", "classes")


class Regime:
    """Tells `apply` of the rules whenever operators change theirs."""

    def __init__(
        self,
        limits: Sequence[str],
        adaptive: Sequence[str],
        rng: random.Random,
        apply: Callable[[Rules, Needs], None] = lambda rules, needs: None,
    ) -> None:
        """`limits` and `adaptive` are flags as given."""
        self._flags = from_flags(limits)
        self._adaptive = dict(map(parse_adaptive, adaptive))
        self._rng = rng
        self.apply = apply
        self._app = Rules()
        self._operators = Rules()
        self._live = Rules()
        #: Of the app: what limits and pauses beside us.
        self.gems = Gems({}, ())
        self._settings: dict[Target, Mapping[str, Any]] = {}
        self.needs: dict[Target, Dependency] = {}

    @property
    def rules(self) -> Rules:
        """What is in force."""
        app = self._app.over(self.gems.fixed).over(self._live)
        return self._operators.over(self._flags).over(app).in_force()

    def check(self, app: AppInfo) -> None:
        """Raises ConfigError when the app asks for what cannot be."""
        self._read(app)
        Gems.of(app)

    def serve(self, app: AppInfo, live: Rules | None = None) -> None:
        """Go by this app from now on, and by what its gems have set in Redis; dependencies that are
        set as before keep what they have learned. Raises ConfigError.
        """
        rules, settings, needs = self._read(app)
        self.gems, self._live = Gems.of(app), live or Rules()
        self._app, self._settings, self.needs = rules, settings, needs
        configured = self._flags.over(rules).in_force().targets() | settings.keys()
        for target, near in strangers(configured, app):
            if near:
                log.warning(
                    "%s is limited, and the app has no such %s: did you mean %s?",
                    *(target, target.kind.value, near),
                )
            else:
                log.info("%s is limited, and not known here yet", target)

    def order(self, operators: Rules, live: Rules) -> None:
        """What operators say now, and what gems of the app have set in Redis."""
        self._operators, self._live = operators, live
        self.apply(self.rules, self.needs)

    def _read(
        self, app: AppInfo
    ) -> tuple[Rules, dict[Target, Mapping[str, Any]], dict[Target, Dependency]]:
        # What the configuration says of a class counts more than what the class does.
        rules = from_settings(app.settings).over(from_classes(app.classes))
        settings = {**_adaptive(app.settings), **self._adaptive}
        needs = {
            target: self.needs[target]
            if self._settings.get(target) == given
            else Dependency.from_settings(f"gokiq: {target}", given, rng=self._rng)
            for target, given in settings.items()
        }
        return rules, settings, needs


def check_flags(limits: Sequence[str], adaptive: Sequence[str]) -> None:
    """Raises ConfigError when one of these flags is wrong."""
    from_flags(limits)
    for flag in adaptive:
        parse_adaptive(flag)


def parse_adaptive(flag: str) -> tuple[Target, Mapping[str, Any]]:
    """`TARGET` or `TARGET=MIN..MAX`. Raises ConfigError."""
    text, sign, between = flag.partition("=")
    target = parse_target("--adaptive", text)
    least, dots, most = between.partition("..")
    if not sign:
        return target, {}
    if not (dots and least.isdecimal() and most.isdecimal() and 0 < int(least) <= int(most)):
        raise ConfigError(f"--adaptive {flag}: must be TARGET or TARGET=MIN..MAX, such as 2..200")
    return target, {"min": int(least), "max": int(most)}


def _adaptive(settings: Mapping[str, Any]) -> dict[Target, Mapping[str, Any]]:
    """How the limits that move are set, by target."""
    found = dict(adaptive_targets(settings.get("adaptive")))
    for name, given in (settings.get("dependencies") or {}).items():
        own = {key: value for key, value in (given or {}).items() if key not in _MEMBERS}
        target = dependency(str(name))
        if own or target in found:
            found[target] = {**found.get(target, {}), **own}
    return found
