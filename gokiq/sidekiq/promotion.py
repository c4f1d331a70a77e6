"""What a due member of `retry` or `schedule` becomes: spliced here when the app's Sidekiq client
would only fill in defaults, else decided by that client in a worker (docs/protocol.md 6). No I/O.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Sequence

from gokiq.errors import PayloadError, ProtocolError
from gokiq.payload import quote, scan, splice, text
from gokiq.store.push import Fate, Push

_FIELDS = ("queue", "retry", "jid", "created_at", "at")
_U32 = struct.Struct(">I")
#: kind, score, bytes of the queue's name
_ENTRY = struct.Struct(">BdH")


#: Kinds on the wire, by number.
_KINDS = (Fate.DROP, Fate.ENQUEUE, Fate.SCHEDULE, Fate.KEEP, Fate.DEAD)


def needs_client(member: bytes) -> bool:
    """True when only the app's client can tell: the job asks for another time (`at`), has no class
    or arguments that the client would take, or holds a comment, which Ruby's JSON takes and ours
    does not.

    Raises PayloadError when the member is no JSON object.
    """
    try:
        at, job_class, args = scan(member, ("at", "class", "args"))
    except PayloadError as error:
        if member[error.offset : error.offset + 1] == b"/":
            return True
        raise
    has_form = (job_class or b"").startswith(b'"') and (args or b"").startswith(b"[")
    return at is not None or not has_form


def promoted(member: bytes, *, now: float, uses_ms: bool) -> Push:
    """A due member as it is enqueued: a fresh `enqueued_at`, and Sidekiq's defaults where it has
    none (sidekiq lib/sidekiq/job_util.rb, normalize_item).

    `now` is epoch seconds. All other bytes stay as they are. Raises PayloadError when the member is
    no JSON object.
    """
    queue, retry, jid, created_at, _ = scan(member, _FIELDS)
    stamp = str(int(now * 1000)).encode() if uses_ms else repr(now).encode()
    edits: dict[str, bytes] = {}
    name = text(queue)
    if not name:
        name = "default"
        edits["queue"] = b'"default"'
    if retry is None:
        edits["retry"] = b"true"
    if jid is None:
        edits["jid"] = quote(secrets.token_hex(12))
    if created_at is None:
        edits["created_at"] = stamp
    edits["enqueued_at"] = stamp
    return Push(Fate.ENQUEUE, queue=name, payload=splice(member, edits))


def encode_promote(token: int, members: Iterable[bytes]) -> bytes:
    """The body of PROMOTE."""
    parts = [_U32.pack(token)]
    for member in members:
        parts += (_U32.pack(len(member)), member)
    return b"".join(parts)


def decode_promoted(body: bytes) -> tuple[int, list[Push]]:
    """(token, fates in the order of the members) of a PROMOTED body. Raises ProtocolError."""
    try:
        (token,) = _U32.unpack_from(body)
        pushes = []
        at = _U32.size
        while at < len(body):
            kind, score, size = _ENTRY.unpack_from(body, at)
            at += _ENTRY.size
            queue, at = _cut(body, at, size)
            (size,) = _U32.unpack_from(body, at)
            payload, at = _cut(body, at + _U32.size, size)
            pushes.append(Push(_KINDS[kind], queue.decode(), score, payload))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"PROMOTED cannot be read: {error}") from error
    return token, pushes


def encode_promoted(token: int, pushes: Sequence[Push]) -> bytes:
    """The body of PROMOTED, as a worker writes it."""
    parts = [_U32.pack(token)]
    for push in pushes:
        queue = push.queue.encode()
        parts += (_ENTRY.pack(_KINDS.index(push.fate), push.score, len(queue)), queue)
        parts += (_U32.pack(len(push.payload)), push.payload)
    return b"".join(parts)


def _cut(body: bytes, at: int, size: int) -> tuple[bytes, int]:
    if size > len(body) - at:
        raise IndexError("an entry goes over the end")
    return body[at : at + size], at + size
