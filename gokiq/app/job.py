"""What a person wants to know of a job, read from its payload."""

from __future__ import annotations

from gokiq.errors import PayloadError
from gokiq.log import Named
from gokiq.payload import scan, text


def named(payload: bytes) -> Named:
    """The same for a line of the log: `jid=… class=…`."""
    jid, job_class = describe(payload)
    return Named(jid=jid, **{"class": job_class})


def describe(payload: bytes) -> tuple[str, str]:
    """Its jid and its class (of ActiveJob the wrapped one); "?" where it has none."""
    try:
        jid, wrapped, job_class = scan(payload, ("jid", "wrapped", "class"))
    except PayloadError:
        return "?", "?"
    return text(jid) or "?", text(wrapped) or text(job_class) or "?"


#: The class of a payload that cannot be read.
UNKNOWN = "?"


def kind_of(payload: bytes) -> str:
    """Class of a job, of ActiveJob the wrapped one; UNKNOWN where it cannot be read."""
    return describe(payload)[1]
