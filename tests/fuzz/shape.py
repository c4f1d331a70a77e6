"""What a value is made of, told by branches: hiredis is not compiled here and says nothing of where
it has been, so this is what guides the fuzzer through the replies of Redis.
"""

from __future__ import annotations

from typing import Any

import hiredis


def shape(value: Any) -> str:
    """One letter a value, brackets around those of lists and maps."""
    if value is None:
        return "n"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int):
        return "0" if value == 0 else "-" if value < 0 else "i"
    if isinstance(value, float):
        return "d" if value == value else "N"
    if isinstance(value, bytes):
        return "b" if value else "e"
    if isinstance(value, str):
        return "s"
    if isinstance(value, Exception):
        return "E" if str(value) else "x"
    if isinstance(value, hiredis.PushNotification):
        return ">" + "".join(map(shape, value))
    if isinstance(value, dict):
        return "{" + "".join(shape(key) + shape(value[key]) for key in value) + "}"
    if isinstance(value, list | set | frozenset | tuple):
        return "[" + "".join(map(shape, value)) + "]"
    return "?"
