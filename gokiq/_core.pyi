from collections.abc import Iterable, Sequence
from typing import Final, final

HELLO: Final = 1
WELCOME: Final = 2
READY: Final = 3
BATCH: Final = 4
RESULTS: Final = 5
INTERRUPT: Final = 6
QUIET: Final = 7
DRAIN: Final = 8
PING: Final = 9
PONG: Final = 10
GOODBYE: Final = 11
ERROR: Final = 12
BEAT: Final = 13
PROMOTE: Final = 14
PROMOTED: Final = 15
FAIL: Final = 16
PLAIN: Final = 17
DONE: Final = 18

OK: Final = 0
RETRY: Final = 1
DEAD: Final = 2
DISCARDED: Final = 3
SKIPPED: Final = 4
SHUTDOWN: Final = 5
REFUSED: Final = 6
INTERNAL: Final = 7

HEADER_BYTES: Final = 8
#: The longest body of a frame in either direction.
MAX_BODY_BYTES: Final = 67_108_864

@final
class Job:
    """A claimed job: `payload` is its JSON as it lay in Redis, `claimed_at` is monotonic seconds.
    `elapsed_us` is 0 until `end_jobs` has read how long it ran.

    Raises OverflowError when `number` is no u64 or `route` no u16.
    """

    def __init__(self, number: int, route: int, payload: bytes, claimed_at: float) -> None: ...
    @property
    def number(self) -> int: ...
    @property
    def route(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def claimed_at(self) -> float: ...
    @property
    def elapsed_us(self) -> int: ...

@final
class Outcome:
    """What a run ended in (docs/protocol.md 5).

    `counts`: bit 0 = one processed, bit 1 = one failed. `elapsed_us` is measured by the worker's
    monotonic clock. `score` is epoch seconds. `payload` is JSON for the retry or the dead set,
    empty = the job's own bytes. Raises OverflowError when a number does not fit the frame.
    """

    def __init__(
        self,
        number: int,
        status: int,
        counts: int = 0,
        elapsed_us: int = 0,
        score: float = 0.0,
        payload: bytes = b"",
        error_class: str = "",
        error_message: str = "",
    ) -> None: ...
    @property
    def number(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def counts(self) -> int: ...
    @property
    def elapsed_us(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def error_class(self) -> str: ...
    @property
    def error_message(self) -> str: ...

@final
class FrameReader:
    """Cuts a stream into frames, of the types that the peer may send. One reader a connection.

    Each byte of a body is copied once, however many pieces it comes in.
    """

    def __init__(self, allowed: frozenset[int]) -> None: ...
    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The (type, body) of each frame that `data` completes, in order, without optional types.

        Raises ProtocolError as soon as the header of a frame shows that it is too long, unknown or
        not allowed, and again on every later call. Frames that the same `data` completes before
        that one are lost with the connection.
        """
    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame that have arrived, its header included."""

def encode_frame(type: int, body: bytes = b"") -> bytes:  # noqa: A002 - the protocol's word
    """A whole frame. Raises ProtocolError when the body is over MAX_BODY_BYTES."""

def encode_batch(jobs: list[Job], max_bytes: int = 1_048_576) -> list[bytes]:
    """Whole BATCH and PLAIN frames for these jobs, in order, with bodies of at most `max_bytes`.

    Jobs whose payload is plain (docs/protocol.md section 4) go into PLAIN frames. A job that is
    larger travels alone. Raises ProtocolError when one does not fit MAX_BODY_BYTES.
    """

def decode_results(body: bytes) -> list[Outcome]:
    """The outcomes of a RESULTS body; invalid UTF-8 in their texts becomes U+FFFD.

    Raises ProtocolError when the body breaks off, its lengths do not agree or a status is unknown.
    """

def make_jobs(
    first_number: int, route: int, payloads: list[bytes], claimed_at: float, max_bytes: int
) -> tuple[list[Job], list[Job]]:
    """Jobs of one route with numbers from `first_number` on: those whose payload has at most
    `max_bytes`, and the others.
    """

def open_jobs(jobs: list[Job], out: dict[int, Job]) -> None:
    """Enter jobs by their numbers among those that are out."""

def end_jobs(
    body: bytes, out: dict[int, Job]
) -> tuple[dict[int, list[Job]], list[tuple[Job, Outcome]], int | None]:
    """Take the jobs of a RESULTS body from those that are out.

    Returns by route those that were processed and ended well, the others with their outcomes, and
    the first number that is not out, where it stops, or None. Raises ProtocolError as
    `decode_results` does, before any job is taken.
    """

def end_done(body: bytes, out: dict[int, Job]) -> tuple[dict[int, list[Job]], int | None]:
    """Take the jobs of a DONE body, which were processed and ended well, from those that are out.

    Returns them by route, and the first number that is not out, where it stops, or None. Raises
    ProtocolError when the body breaks off, before any job is taken.
    """

def encode_results(outcomes: Iterable[Outcome]) -> bytes:
    """The body of a RESULTS frame. Raises ProtocolError when a text is too long for it."""

def decode_batch(body: bytes) -> list[tuple[int, int, int, bytes]]:
    """The (number, route, flags, payload) of each job. Raises ProtocolError when it breaks off."""

def decode_plain(body: bytes) -> list[tuple[int, int, bytes]]:
    """The (number, route, payload) of each job of a PLAIN body. Raises ProtocolError when its
    lengths do not agree.
    """

def encode_interrupts(numbers: Iterable[int], hard: bool) -> bytes:
    """A whole INTERRUPT frame. Raises OverflowError when a number is no u64."""

def pack_command(args: Sequence[bytes | str | int | float | Job]) -> bytes:
    """A Redis command as a RESP array of bulk strings: text as UTF-8, floats as `repr` spells them,
    a job as its number.

    Raises TypeError that names an argument of another type (bool is one), ValueError when there is
    no argument at all, for Redis would not answer, or one is text that UTF-8 cannot write.
    """

def pack_commands(commands: Iterable[Sequence[bytes | str | int | float | Job]]) -> bytes:
    """A pipeline: the commands packed one after the other."""

def backoff_s(attempt: int, jitter: float, base: float = 0.1, cap: float = 5.0) -> float:
    """Seconds to wait before try number `attempt` (0-based): doubling to `cap`, jitter in [0, 1).

    min(cap, base * 2**attempt) * (0.5 + jitter / 2). Source: "Equal Jitter" in Marc Brooker,
    Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """
