"""The running jobs as Sidekiq's API reads them, in pieces of bounded size. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gokiq.core import Arg, Job
from gokiq.errors import PayloadError
from gokiq.payload import quote, quote_bytes, scan, splice

#: Most running jobs that are shown, oldest first.
MOST = 1000
#: Bytes of payloads that are shown whole; of the jobs beyond, the arguments are left out.
WHOLE_BYTES = 8 << 20
#: A payload that is larger than this without its arguments is cut down to what names the job.
SHORT_BYTES = 4096
#: Bytes of one piece, and of the payloads that were read for it; a larger job is one of its own.
PIECE_BYTES = 1 << 20

_NAMES = ("class", "wrapped", "jid", "queue")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def pieces(
    jobs: Iterable[Job], queue_of: Callable[[int], str], wall: float, mono: float
) -> Iterator[list[Arg]]:
    """Fields and values of the hash. `queue_of` names the queue of a route; `wall` and `mono` are
    the same moment, epoch and monotonic seconds.
    """
    left = WHOLE_BYTES
    piece: list[Arg] = []
    size = 0
    for job in sorted(jobs, key=lambda job: job.number)[:MOST]:
        payload = job.payload
        if len(payload) > left:
            payload = shortened(payload)
        left -= min(len(payload), left)
        name = quote(queue_of(job.route))
        run_at = int(wall - (mono - job.claimed_at))
        entry = b'{"queue":%b,"payload":%b,"run_at":%d}' % (name, quote_bytes(payload), run_at)
        bytes_ = max(len(entry), len(job.payload))
        if piece and size + bytes_ > PIECE_BYTES:
            yield piece
            piece, size = [], 0
        piece += (base36(job.number), entry)
        size += bytes_
    if piece:
        yield piece


def shortened(payload: bytes) -> bytes:
    """A payload with a note in place of its arguments."""
    note = b'["%d bytes, not shown"]' % len(payload)
    try:
        class_, wrapped, jid, queue = scan(payload, _NAMES)
        if wrapped is not None:  # Sidekiq's API looks for the arguments inside the first one
            note = b'[{"arguments":%b}]' % note
        short = splice(payload, {"args": note})
        if len(short) <= SHORT_BYTES:
            return short
        named = zip(_NAMES, (class_, wrapped, jid, queue), strict=True)
        found = [b'"%b":%b' % (name.encode(), raw) for name, raw in named if raw is not None]
        short = b"{%b}" % b",".join([*found, b'"args":' + note])
    except PayloadError:
        return b"{}"
    return short if len(short) <= SHORT_BYTES else b"{}"


def base36(number: int) -> str:
    """A job number in Sidekiq's alphabet of thread ids."""
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text
