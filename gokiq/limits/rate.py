"""How many jobs may start in a time: what `10/s` means, and its long form. Values only; the
counting is Redis's (lua/settle_claim.lua).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gokiq.errors import ConfigError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SHORT = re.compile(r"(\d+)\s*/\s*(\d*(?:\.\d+)?)\s*([smhd])")
_KEYS = ("count", "per", "burst", "window", "sliding")
#: Longest time a rate may be over, seconds.
MOST_S = 31 * 86_400.0
MOST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` jobs in `per_s` seconds.

    A bucket (the default) gets its tokens one by one and holds `burst` of them: over any time t
    at most `burst + count * t / per_s` jobs start. A window starts with `count` jobs at full
    multiples of `per_s` of Redis's clock, and has no more until the next. A sliding one starts no
    more than `count` jobs in any stretch of that length.
    """

    count: int
    per_s: float
    burst: int = 0
    is_window: bool = False
    is_sliding: bool = False

    def __post_init__(self) -> None:
        if not self.burst:  # what comes in one second
            object.__setattr__(self, "burst", max(1, int(self.count / self.per_s)))

    @property
    def spacing_us(self) -> float:
        """Time between two tokens of a bucket, microseconds."""
        return self.per_s * 1e6 / self.count

    @property
    def at_once(self) -> int:
        """Jobs that may start at one moment."""
        return self.count if self.is_window or self.is_sliding else self.burst

    def __str__(self) -> str:
        units = [unit for unit, seconds in _UNITS.items() if seconds == self.per_s]
        text = f"{self.count}/{units[0] if units else f'{self.per_s:g}s'}"
        if self.is_window:
            return f"{text} window"
        if self.is_sliding:
            return f"{text} sliding"
        is_default = self.burst == max(1, int(self.count / self.per_s))
        return text if is_default else f"{text} burst {self.burst}"


def parse_rate(name: str, value: object) -> Rate:
    """`10/s`, `100/15m`, `10/s burst 50`, `1000/h window`, `1000/h sliding`, or a mapping of
    `count`, `per` (seconds), `burst`, `window`, `sliding`, which `name` was set to. Raises
    ConfigError.
    """
    if isinstance(value, str):
        return _short(name, value)
    if isinstance(value, Mapping):
        return _long(name, value)
    raise _wrong(name, value)


def _short(name: str, text: str) -> Rate:
    found = re.fullmatch(
        _SHORT.pattern + r"(?:\s+burst\s+(\d+)|\s+(window|sliding))?", text.strip()
    )
    if found is None:
        raise _wrong(name, text)
    count, times, unit, burst, shape = found.groups()
    per_s = float(times or 1) * _UNITS[unit]
    return _checked(name, text, int(count), per_s, int(burst or 0), shape or "")


def _long(name: str, given: Mapping[object, object]) -> Rate:
    unknown = [str(key) for key in given if key not in _KEYS]
    if unknown:
        raise ConfigError(f"{name}: {unknown[0]} is none of {', '.join(_KEYS)}")
    count, burst = given.get("count"), given.get("burst", 0)
    per = given.get("per", 1)
    if type(count) is not int or type(burst) is not int or type(per) not in (int, float):
        raise _wrong(name, dict(given))
    assert isinstance(per, int | float)
    shape = next((key for key in ("window", "sliding") if given.get(key) is True), "")
    return _checked(name, dict(given), count, float(per), burst, shape)


def _checked(name: str, value: object, count: int, per_s: float, burst: int, shape: str) -> Rate:
    if not (0 < count <= MOST and 0.001 <= per_s <= MOST_S and 0 <= burst <= MOST):
        raise _wrong(name, value)
    return Rate(count, per_s, burst, shape == "window", shape == "sliding")


def _wrong(name: str, value: object) -> ConfigError:
    return ConfigError(
        f"{name} {value!r:.80}: must be a rate such as 10/s, 100/15m, 10/s burst 50, "
        "1000/h window or 1000/h sliding (units s, m, h, d)"
    )
