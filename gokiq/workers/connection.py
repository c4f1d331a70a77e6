"""One connection to a worker: jobs out, outcomes in, never more open than its credit
(docs/protocol.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from enum import Enum, IntEnum
from typing import Any, Protocol

from gokiq import core
from gokiq.app.info import parse_hello
from gokiq.claiming.takers import Ended
from gokiq.core import Job
from gokiq.errors import ExecutorUnavailable, ProtocolError
from gokiq.log import get_logger
from gokiq.sidekiq.promotion import decode_promoted, encode_promote
from gokiq.store.push import Push

log = get_logger("sidecar")

_FROM_WORKER = frozenset(
    {core.HELLO, core.READY, core.RESULTS, core.DRAIN, core.PONG, core.GOODBYE, core.ERROR}
    | {core.PROMOTED, core.DONE}
)
_PEERCRED = struct.Struct("3i")  # pid, uid, gid
_WIRE_SECONDS = struct.Struct(">d")
#: number, route, kind, reserved, bytes of the message
_FAIL = struct.Struct(">QHBBI")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_READ_BYTES = 262_144
#: A worker takes no more jobs while more bytes than this wait for it to read them.
_UNREAD_BYTES = 4_194_304
#: Time that a peer has to read why it is refused, seconds.
_REFUSAL_S = 1.0
#: Time that a worker has to close its end after we have closed ours, seconds.
PARTING_S = 0.25
#: Longest wait for an answer about due members, seconds: shorter than they are hidden from others.
PROMOTE_S = 50.0
#: And of one that stands still, seconds: it may ask the app's client later all the same.
PROMOTE_STILL_S = 5.0
#: We look so often whether the worker that is asked stands still, seconds.
_LOOK_S = 0.5


DIED = "the worker died"


class Role(Enum):
    """What a worker is there for."""

    REGULAR = "regular"
    #: For suspects, one at a time (quarantine.py).
    SOLO = "solo"
    #: While another one is replaced (recycler.py).
    SPARE = "spare"


class Kind(IntEnum):
    """Why a job is to fail without running (FAIL)."""

    TIMEOUT = 0
    #: Its last failure: no retry follows.
    CRASH = 1


class State(Enum):
    """Life of a connection. STANDBY waits in the listener's backlog for a worker that is free."""

    STANDBY = "standby"
    GREETED = "greeted"
    READY = "ready"
    DRAINING = "draining"
    CLOSED = "closed"


class Listener(Protocol):
    """Who is told what happens on a connection; all calls come from the event loop."""

    def greeted(self, worker: WorkerLink) -> None:
        """HELLO arrived; answer with `welcome`."""

    def ready(self, worker: WorkerLink) -> None:
        """Credit arrived or changed, or the worker stopped taking jobs."""

    def finished(self, worker: WorkerLink, ended: Ended) -> None:
        """Jobs ended; they are no longer open on the connection."""

    def lost(self, worker: WorkerLink, orphans: list[Job], reason: str) -> None:
        """The connection is gone. `orphans` were out on it; `reason` is empty after a clean
        GOODBYE.
        """


class WorkerLink(asyncio.Protocol):
    """The orchestrator's end of one worker connection."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._reader = core.FrameReader(_FROM_WORKER)
        self._transport: asyncio.Transport | None = None
        self._reason = DIED
        self.state = State.STANDBY
        self.hello: dict[str, Any] = {}
        #: Whether the app's Sidekiq client, in this worker, is to be asked about every due job.
        self.has_app_client = False
        self.open: dict[int, Job] = {}
        self.credit = 0
        self.pid = 0
        #: When HELLO came, monotonic seconds.
        self.greeted_at = 0.0
        self.role = Role.REGULAR
        #: Whether it had been told to leave when its connection ended.
        self.was_leaving = False
        #: Jobs that it has reported.
        self.finished = 0
        self._promotions: dict[int, tuple[int, asyncio.Future[list[Push]]]] = {}
        self._promotion_count = 0
        #: Questions about due members on which we have given up, and no answer has come.
        self._overdue: set[int] = set()
        self._is_full = False
        self._is_parting = False
        self._is_quiet = False

    @property
    def room(self) -> int:
        """How many more jobs it takes now: none while more are out than its credit has become, or
        what it was given waits to be read.
        """
        if self.state is not State.READY or self._is_full:
            return 0
        return max(self.credit - len(self.open), 0)

    @property
    def holds_back(self) -> bool:
        """Whether it takes fewer jobs than it has slots: they would wait for the database."""
        slots = self.hello.get("slots")
        return self.state is State.READY and isinstance(slots, int) and self.credit < slots

    @property
    def is_solo(self) -> bool:
        """Whether it is there for suspects alone."""
        return self.role is Role.SOLO

    @property
    def has_died(self) -> bool:
        """Whether its process is gone without a word; only meaningful once closed."""
        return self._reason.startswith(DIED)

    @property
    def is_live(self) -> bool:
        """True from HELLO until the connection closes."""
        return self.state in (State.GREETED, State.READY, State.DRAINING)

    def welcome(self, identity: str, routes: Sequence[dict[str, str]]) -> None:
        """Answer HELLO."""
        body: dict[str, Any] = {"protocol": 1, "identity": identity, "routes": list(routes)}
        body["client"] = True  # we read what READY says of the client
        self._write(core.encode_frame(core.WELCOME, json.dumps(body).encode()))

    def send(self, jobs: list[Job]) -> None:
        """Send jobs in as few frames as possible; they are open from now on."""
        core.open_jobs(jobs, self.open)
        for frame in core.encode_batch(jobs):
            self._write(frame)

    def fail(self, job: Job, kind: Kind, message: str) -> None:
        """Have the app's Sidekiq fail a job by its rules, without a run; it is open from now on."""
        self.open[job.number] = job
        text = message.encode("utf-8", "replace")
        header = _FAIL.pack(job.number, job.route, kind, 0, len(text))
        self._write(core.encode_frame(core.FAIL, header + text + job.payload))

    def quiet(self) -> None:
        """Tell the app, once, that no new job will come."""
        if not self._is_quiet:
            self._is_quiet = True
            self._write(core.encode_frame(core.QUIET))

    def drain(self, grace_s: float) -> None:
        """Let running jobs end for at most `grace_s` seconds, then leave."""
        if self.is_live:
            self.state = State.DRAINING
            self._write(core.encode_frame(core.DRAIN, _WIRE_SECONDS.pack(grace_s)))

    def beat(self) -> None:
        """Tell the app that a heartbeat has reached Redis."""
        if self.is_live:
            self._write(core.encode_frame(core.BEAT))

    @property
    def is_overdue(self) -> bool:
        """Whether it still owes an answer that nobody waits for any more."""
        return bool(self._overdue)

    async def promote(
        self, members: Sequence[bytes], stands_still: Callable[[], bool] = lambda: False
    ) -> list[Push]:
        """What the app's own client makes of due members, in their order. Raises
        ExecutorUnavailable when the worker is gone before it has answered; TimeoutError when it
        stands still, or takes too long.
        """
        self._promotion_count += 1
        token = self._promotion_count & 0xFFFFFFFF
        answer: asyncio.Future[list[Push]] = asyncio.get_running_loop().create_future()
        self._promotions[token] = (len(members), answer)
        asked_at = time.monotonic()
        self._write(core.encode_frame(core.PROMOTE, encode_promote(token, members)))
        try:
            while not answer.done():
                await asyncio.wait([answer], timeout=_LOOK_S)
                waited_s = time.monotonic() - asked_at
                is_late = waited_s >= PROMOTE_S or (waited_s >= PROMOTE_STILL_S and stands_still())
                if is_late and not answer.done():
                    self._overdue.add(token)
                    raise TimeoutError
            return answer.result()
        finally:
            self._promotions.pop(token, None)

    def close(self, reason: str = "") -> None:
        """Send nothing more, read what the worker has sent and what it still sends before it closes
        its end; then jobs that are still open are handed to the listener as orphans.
        """
        if self._is_parting:
            return
        self._reason = reason
        if self._transport is None:
            return
        if not self.is_live:
            self._transport.abort()  # no worker has picked it up, or it is a stranger's
            return
        self._is_parting = True
        self.state = State.DRAINING
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(PARTING_S, self._transport.abort)

    def process_ended(self) -> None:
        """Its process is gone, even if a child of it still has the connection open."""
        if self._transport is not None and self.state is not State.CLOSED:
            self._read_rest()
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check whose socket it is."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_UNREAD_BYTES)
        peer = transport.get_extra_info("socket")
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
        uid = _PEERCRED.unpack(raw)[1]
        if uid != os.getuid():
            self.close(
                f"the sidecar's socket belongs to user id {uid}, we are {os.getuid()}: refused"
            )

    def data_received(self, data: bytes) -> None:
        """Handle whole frames; keep the rest."""
        try:
            for kind, body in self._reader.feed(data):
                self._handle(kind, body)
        except ProtocolError as error:
            self._refuse(str(error))

    def pause_writing(self) -> None:
        """It reads more slowly than we write."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        if self.state is State.READY:
            self._listener.ready(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over what was out."""
        if self._is_parting or (exc is not None and self._reason == DIED):
            self._read_rest()
        left_cleanly = self._reason == "" and not self.open
        self.was_leaving = self.state is State.DRAINING
        if self._reader.buffered and self._reason == DIED:
            self._reason = f"{DIED} inside a frame, {self._reader.buffered} bytes of it came"
        self.state = State.CLOSED
        for _, answer in self._promotions.values():
            if not answer.done():
                answer.set_exception(ExecutorUnavailable(f"worker {self.pid} is gone"))
        orphans, self.open = list(self.open.values()), {}
        self._listener.lost(self, orphans, "" if left_cleanly else self._reason)

    def _read_rest(self) -> None:
        """What a worker sent before the transport ended, by our will or by a write that failed."""
        assert self._transport is not None
        reason, socket_ = self._reason, self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            while self._reason == reason and (data := os.read(socket_.fileno(), _READ_BYTES)):
                self.data_received(data)

    def _handle(self, kind: int, body: bytes) -> None:
        if kind == core.DONE:
            well, stranger = core.end_done(body, self.open)
            self._settle(Ended(well, []), stranger)
        elif kind == core.RESULTS:
            well, special, stranger = core.end_jobs(body, self.open)
            self._settle(Ended(well, special), stranger)
        elif kind == core.HELLO and self.state is State.STANDBY:
            self.hello = parse_hello(body)
            self.pid = int(self.hello.get("pid") or 0)
            self.has_app_client = self.hello.get("client") == "app"
            self.state = State.GREETED
            self.greeted_at = time.monotonic()
            self._listener.greeted(self)
        elif kind == core.READY and self.is_live:
            self._ready(body)
        elif kind == core.DRAIN and self.is_live:
            self.state = State.DRAINING
            self._listener.ready(self)
        elif kind == core.PROMOTED:
            self._promoted(body)
        elif kind == core.PONG:
            _exactly(_U64, body, "PONG")
        elif kind == core.GOODBYE:
            self._reason = ""
        elif kind == core.ERROR:
            self.close(f"the worker closed the connection: {body.decode('utf-8', 'replace')[:300]}")
        else:
            raise ProtocolError(f"frame type {kind} is not allowed in state {self.state.value}")

    def _ready(self, body: bytes) -> None:
        if len(body) == _U32.size + 1:
            self.has_app_client |= body[-1] == 1
            body = body[:-1]
        self.credit = _exactly(_U32, body, "READY")
        if self.state is State.GREETED:
            self.state = State.READY
        self._listener.ready(self)

    def _settle(self, ended: Ended, stranger: int | None) -> None:
        self.finished += ended.count
        self._listener.finished(self, ended)
        if stranger is not None:
            raise ProtocolError(
                f"a result for job number {stranger}, which is not out on this connection"
            )

    def _promoted(self, body: bytes) -> None:
        token, pushes = decode_promoted(body)
        self._overdue.discard(token)
        count, answer = self._promotions.get(token, (0, None))
        if answer is None or answer.done():
            return  # whoever asked has been cancelled
        if len(pushes) != count:
            raise ProtocolError(f"PROMOTED has {len(pushes)} entries, {count} were asked for")
        answer.set_result(pushes)

    def _refuse(self, reason: str) -> None:
        log.error("Worker %d broke the protocol, closing its connection: %s", self.pid, reason)
        if self._transport is not None and not self._transport.is_closing():
            self._write(core.encode_frame(core.ERROR, json.dumps({"reason": reason}).encode()))
        self._reason = f"protocol violation: {reason}"
        self.state = State.DRAINING  # until the rest is written
        if self._transport is not None:
            self._transport.close()
            # One that does not read must not keep its jobs.
            asyncio.get_running_loop().call_later(_REFUSAL_S, self._transport.abort)

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._is_parting or self.state is State.CLOSED:
            return
        self._transport.write(data)


def _exactly(layout: struct.Struct, body: bytes, name: str) -> int:
    try:
        return int(layout.unpack(body)[0])
    except struct.error as error:
        raise ProtocolError(f"{name} body has {len(body)} bytes, not {layout.size}") from error
