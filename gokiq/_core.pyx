# cython: language_level=3, embedsignature=True, freethreading_compatible=True
"""Sidecar frames in and out, and Redis commands as bytes. No socket, no clock, no policy.

What each function promises is written in `_core.pyi`; the frames are in docs/protocol.md.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
    _PyBytes_Resize,
)
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_Check
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from gokiq.errors import ProtocolError

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    char* PyOS_double_to_string(
        double value, char form, int precision, int flags, int* kind
    ) except NULL
    int Py_DTSF_ADD_DOT_0
    # The names of cpython.bytes, for an object that must have one reference only.
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL
    char* raw_bytes "PyBytes_AS_STRING"(PyObject* data) noexcept nogil

cpdef enum:
    HELLO = 1
    WELCOME = 2
    READY = 3
    BATCH = 4
    RESULTS = 5
    INTERRUPT = 6
    QUIET = 7
    DRAIN = 8
    PING = 9
    PONG = 10
    GOODBYE = 11
    ERROR = 12
    BEAT = 13
    PROMOTE = 14
    PROMOTED = 15
    FAIL = 16
    PLAIN = 17
    DONE = 18

cpdef enum:
    OK = 0
    RETRY = 1
    DEAD = 2
    DISCARDED = 3
    SKIPPED = 4
    SHUTDOWN = 5
    REFUSED = 6
    INTERNAL = 7

cpdef enum:
    HEADER_BYTES = 8
    # The longest body either side sends or takes: it bounds what a broken length makes us wait for.
    MAX_BODY_BYTES = 67_108_864

cdef enum:
    LAST_REQUIRED_TYPE = 127  # a frame above it may be skipped
    JOB_BYTES = 16            # number, route, flags, length
    COUNT_BYTES = 4           # how many rows PLAIN has
    PLAIN_BYTES = 32          # number, route, two short lengths, six of the payload
    DONE_BYTES = 12           # number, elapsed
    OUTCOME_BYTES = 24        # number, status, counts, reserved, length, elapsed
    DETAIL_BYTES = 16         # score and three lengths
    INTERRUPT_BYTES = 9       # number, mode
    INTEGER_BYTES = 20        # the digits and the sign of any long long
    BULK_BYTES = 5 + INTEGER_BYTES  # "$", digits, two line ends


@cython.final
@cython.auto_pickle(False)
@cython.freelist(512)
cdef class Job:
    cdef readonly uint64_t number
    cdef readonly uint16_t route
    cdef readonly bytes payload
    cdef readonly double claimed_at
    cdef readonly uint64_t elapsed_us

    def __cinit__(self):
        self.payload = b""

    def __init__(
        self, uint64_t number, uint16_t route, bytes payload not None, double claimed_at
    ):
        self.number = number
        self.route = route
        self.payload = payload
        self.claimed_at = claimed_at

    def __repr__(self):
        return f"Job(number={self.number}, route={self.route}, {len(self.payload)} bytes)"


@cython.final
@cython.auto_pickle(False)
@cython.freelist(512)
cdef class Outcome:
    cdef readonly uint64_t number
    cdef readonly uint8_t status
    cdef readonly uint8_t counts
    cdef readonly uint64_t elapsed_us
    cdef readonly double score
    cdef readonly bytes payload
    cdef readonly str error_class
    cdef readonly str error_message

    def __cinit__(self):
        self.payload = b""
        self.error_class = ""
        self.error_message = ""

    def __init__(
        self,
        uint64_t number,
        uint8_t status,
        uint8_t counts=0,
        uint64_t elapsed_us=0,
        double score=0.0,
        bytes payload not None=b"",
        str error_class not None="",
        str error_message not None="",
    ):
        self.number = number
        self.status = status
        self.counts = counts
        self.elapsed_us = elapsed_us
        self.score = score
        self.payload = payload
        self.error_class = error_class
        self.error_message = error_message

    def __repr__(self):
        return (
            f"Outcome(number={self.number}, status={self.status}, counts={self.counts}, "
            f"error_class={self.error_class!r}, {len(self.payload)} bytes)"
        )


cdef inline uint32_t read_u16(const unsigned char* p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t read_u32(const unsigned char* p) noexcept nogil:
    return (read_u16(p) << 16) | read_u16(p + 2)


cdef inline uint64_t read_u64(const unsigned char* p) noexcept nogil:
    return (<uint64_t>read_u32(p) << 32) | read_u32(p + 4)


cdef inline double read_f64(const unsigned char* p) noexcept nogil:
    cdef uint64_t bits = read_u64(p)
    cdef double value
    memcpy(&value, &bits, sizeof(value))
    return value


cdef inline char* write_u16(char* p, uint32_t value) noexcept nogil:
    p[0] = <char>((value >> 8) & 0xFF)
    p[1] = <char>(value & 0xFF)
    return p + 2


cdef inline char* write_u32(char* p, uint32_t value) noexcept nogil:
    return write_u16(write_u16(p, value >> 16), value & 0xFFFF)


cdef inline char* write_u64(char* p, uint64_t value) noexcept nogil:
    return write_u32(write_u32(p, <uint32_t>(value >> 32)), <uint32_t>(value & 0xFFFFFFFFu))


cdef inline char* write_f64(char* p, double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, sizeof(bits))
    return write_u64(p, bits)


cdef inline char* write_bytes(char* p, const char* data, Py_ssize_t size) noexcept nogil:
    memcpy(p, data, <size_t>size)
    return p + size


cdef inline char* write_header(char* p, int kind, Py_ssize_t length) noexcept nogil:
    p = write_u32(p, <uint32_t>length)
    p[0] = <char>kind
    p[1] = p[2] = p[3] = 0
    return p + 4


cdef int refuse_length(Py_ssize_t length) except -1:
    raise ProtocolError(
        f"a frame of {length} bytes is over the limit of {MAX_BODY_BYTES}; cut it into smaller ones"
    )


# A bytes object that grows while it is filled, and is handed out without a copy. `data` is NULL or
# the only reference to it; whoever calls `start` drops it in a `finally`.

cdef struct Out:
    PyObject* data
    Py_ssize_t used
    Py_ssize_t size


cdef int start(Out* out, Py_ssize_t size) except -1:
    out.used = 0
    out.size = size
    out.data = new_bytes(NULL, size)
    return 0


cdef inline int reserve(Out* out, Py_ssize_t more) except -1:
    if more > out.size - out.used:
        return grow(out, more)
    return 0


cdef int grow(Out* out, Py_ssize_t more) except -1:
    out.size = max(out.used + more, 2 * out.size)
    # On failure the object is gone and `data` is NULL.
    _PyBytes_Resize(&out.data, out.size)
    return 0


cdef inline char* tail(Out* out) noexcept nogil:
    return raw_bytes(out.data) + out.used


cdef bytes finish(Out* out):
    _PyBytes_Resize(&out.data, out.used)
    return <bytes>out.data


@cython.final
@cython.auto_pickle(False)
cdef class FrameReader:
    cdef unsigned char _allowed[LAST_REQUIRED_TYPE + 1]
    cdef unsigned char _header[HEADER_BYTES]
    # The body of the unfinished frame at its full length, filled as it arrives; nobody else has
    # seen this object yet, so that it may be written to.
    cdef bytes _body
    # How much of the unfinished frame, its header included, has arrived.
    cdef readonly Py_ssize_t buffered

    def __cinit__(self):
        memset(self._allowed, 0, sizeof(self._allowed))
        self.buffered = 0

    def __init__(self, frozenset allowed not None):
        cdef int kind
        for kind in allowed:
            if 0 <= kind <= LAST_REQUIRED_TYPE:
                self._allowed[kind] = 1

    @cython.critical_section
    def feed(self, bytes data not None):
        cdef const char* p = PyBytes_AS_STRING(data)
        cdef Py_ssize_t left = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t length, missing, take
        cdef int kind
        cdef list frames = []
        while True:
            if self.buffered < HEADER_BYTES:
                take = min(HEADER_BYTES - self.buffered, left)
                memcpy(&self._header[self.buffered], p, <size_t>take)
                self.buffered += take
                p += take
                left -= take
                if self.buffered < HEADER_BYTES:
                    return frames
            # Asked again for each piece of a body: a refused header stays refused.
            length = self._accept()
            kind = self._header[4]
            missing = length - (self.buffered - HEADER_BYTES)
            take = min(missing, left)
            if kind > LAST_REQUIRED_TYPE:
                pass
            elif take == length:
                frames.append((kind, PyBytes_FromStringAndSize(p, length)))
            elif take > 0:
                if self.buffered == HEADER_BYTES:
                    self._body = PyBytes_FromStringAndSize(NULL, length)
                memcpy(
                    PyBytes_AS_STRING(self._body) + (length - missing), p, <size_t>take
                )
                if take == missing:
                    frames.append((kind, self._body))
                    self._body = None
            self.buffered += take
            if take < missing:
                return frames
            p += take
            left -= take
            self.buffered = 0

    cdef Py_ssize_t _accept(self) except -1:
        cdef uint32_t length = read_u32(self._header)
        cdef int kind = self._header[4]
        if length > MAX_BODY_BYTES:
            raise ProtocolError(
                f"a frame of {length} bytes announced, the limit is {MAX_BODY_BYTES}; "
                "check that both sides run the same version of gokiq"
            )
        if kind <= LAST_REQUIRED_TYPE and not self._allowed[kind]:
            if HELLO <= kind <= DONE:
                raise ProtocolError(
                    f"frame type {kind} is not allowed in this direction; "
                    "check what is connected to the socket"
                )
            raise ProtocolError(
                f"unknown frame type {kind}; check that both sides run the same version of gokiq"
            )
        return <Py_ssize_t>length


def decode_results(bytes body not None):
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(body)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t size
    cdef list outcomes = []
    while left > 0:
        if left < OUTCOME_BYTES:
            raise cut_off("RESULTS", len(outcomes))
        outcomes.append(read_outcome(p, left, len(outcomes)))
        size = OUTCOME_BYTES + <Py_ssize_t>read_u32(p + 12)
        p += size
        left -= size
    return outcomes


def make_jobs(
    uint64_t first_number,
    uint16_t route,
    list payloads not None,
    double claimed_at,
    Py_ssize_t max_bytes,
):
    # A copy: nobody else changes it while it is read.
    cdef tuple taken = tuple(payloads)
    cdef Py_ssize_t i
    cdef Job job
    cdef list jobs = []
    cdef list giants = []
    for i in range(len(taken)):
        job = Job.__new__(Job)
        job.number = first_number + <uint64_t>i
        job.route = route
        job.payload = <bytes?>taken[i]
        job.claimed_at = claimed_at
        if PyBytes_GET_SIZE(job.payload) > max_bytes:
            giants.append(job)
        else:
            jobs.append(job)
    return jobs, giants


def open_jobs(list jobs not None, dict out not None):
    cdef Job job
    for job in jobs:
        if job is None:
            raise TypeError("None among the jobs")
        out[job.number] = job


def end_jobs(bytes body not None, dict out not None):
    # First all is read, then jobs end: of a body that is wrong no job has ended.
    cdef list outcomes = special_outcomes(body)
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(body)
    cdef const unsigned char* end = p + PyBytes_GET_SIZE(body)
    cdef Py_ssize_t at = 0
    cdef int route = -1
    cdef Job job
    cdef list jobs = None
    cdef list special = []
    cdef dict well = {}
    while p < end:
        number = read_u64(p)
        found = out.pop(number, None)
        if found is None:
            return well, special, number
        job = <Job?>found
        job.elapsed_us = read_u64(p + 16)
        if is_plain(p):
            if job.route != route:
                route = job.route
                jobs = <list>well.setdefault(route, [])
            jobs.append(job)
        else:
            special.append((job, outcomes[at]))
            at += 1
        p += OUTCOME_BYTES + read_u32(p + 12)
    return well, special, None


def end_done(bytes body not None, dict out not None):
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(body)
    cdef const unsigned char* end = p + PyBytes_GET_SIZE(body)
    cdef int route = -1
    cdef Job job
    cdef list jobs = None
    cdef dict well = {}
    if (end - p) % DONE_BYTES:
        raise cut_off("DONE", (end - p) // DONE_BYTES)
    while p < end:
        number = read_u64(p)
        found = out.pop(number, None)
        if found is None:
            return well, number
        job = <Job?>found
        job.elapsed_us = read_u32(p + 8)
        if job.route != route:
            route = job.route
            jobs = <list>well.setdefault(route, [])
        jobs.append(job)
        p += DONE_BYTES
    return well, None


cdef inline bint is_plain(const unsigned char* p) noexcept nogil:
    """Whether an entry says that its job was processed and ended well, and no more."""
    return p[8] == OK and p[9] == 1 and read_u32(p + 12) == 0


cdef list special_outcomes(bytes body):
    """Those of the body that are not plain. Raises ProtocolError as `decode_results`."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(body)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t whole = 0, size
    cdef list outcomes = []
    while left >= OUTCOME_BYTES:
        if is_plain(p):
            size = 0
        else:
            size = read_u32(p + 12)
            outcomes.append(read_outcome(p, left, whole))
        p += OUTCOME_BYTES + size
        left -= OUTCOME_BYTES + size
        whole += 1
    if left > 0:
        raise cut_off("RESULTS", whole)
    return outcomes


cdef Outcome read_outcome(const unsigned char* p, Py_ssize_t left, Py_ssize_t whole):
    """The entry at `p`, after `whole` others, where `left` bytes are left of the body."""
    cdef Py_ssize_t size = read_u32(p + 12)
    cdef Outcome outcome = Outcome.__new__(Outcome)
    outcome.number = read_u64(p)
    outcome.status = p[8]
    outcome.counts = p[9]
    outcome.elapsed_us = read_u64(p + 16)
    if outcome.status > INTERNAL:
        raise ProtocolError(
            f"RESULTS has the unknown status {outcome.status} for job number {outcome.number}; "
            "check that both sides run the same version of gokiq"
        )
    if size > left - OUTCOME_BYTES:
        raise cut_off("RESULTS", whole)
    if size > 0:
        read_detail(outcome, p + OUTCOME_BYTES, size)
    return outcome


cdef int read_detail(Outcome outcome, const unsigned char* p, Py_ssize_t size) except -1:
    cdef Py_ssize_t payload, name, message = 0
    # What remains of the detail once its fixed parts are taken: what the three texts must fill.
    cdef Py_ssize_t left = size - DETAIL_BYTES
    if left >= 0:
        outcome.score = read_f64(p)
        payload = read_u32(p + 8)
        p += 12
        left -= payload
    if left >= 0:
        outcome.payload = PyBytes_FromStringAndSize(<const char*>p, payload)
        name = read_u16(p + payload)
        p += payload + 2
        left -= name
    if left >= 0:
        outcome.error_class = PyUnicode_DecodeUTF8(<const char*>p, name, "replace")
        message = read_u16(p + name)
        p += name + 2
        left -= message
    if left != 0:
        raise ProtocolError(
            f"RESULTS has a detail of {size} bytes for job number {outcome.number} "
            "that its texts do not fill exactly; the worker is faulty"
        )
    outcome.error_message = PyUnicode_DecodeUTF8(<const char*>p, message, "replace")
    return 0


cdef object cut_off(str frame, Py_ssize_t whole):
    return ProtocolError(f"{frame} breaks off after {whole} entries; the sender is faulty")


def decode_batch(bytes body not None):
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(body)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t size
    cdef list jobs = []
    while left > 0:
        if left < JOB_BYTES:
            raise cut_off("BATCH", len(jobs))
        size = read_u32(p + 12)
        if size > left - JOB_BYTES:
            raise cut_off("BATCH", len(jobs))
        jobs.append((
            read_u64(p),
            read_u16(p + 8),
            read_u16(p + 10),
            PyBytes_FromStringAndSize(<const char*>p + JOB_BYTES, size),
        ))
        p += JOB_BYTES + size
        left -= JOB_BYTES + size
    return jobs


def decode_plain(bytes body not None):
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(body)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(body) - COUNT_BYTES
    cdef const unsigned char* payload
    cdef Py_ssize_t i, count, size
    cdef list jobs = []
    if left < 0:
        raise cut_off("PLAIN", 0)
    count = read_u32(p)
    p += COUNT_BYTES
    left -= count * PLAIN_BYTES
    payload = p + count * PLAIN_BYTES
    for i in range(count):
        # Checked first: the row itself may be missing.
        if left < 0 or read_u32(p + 12) > left:
            raise cut_off("PLAIN", i)
        size = read_u32(p + 12)
        jobs.append(
            (read_u64(p), read_u16(p + 8), PyBytes_FromStringAndSize(<const char*>payload, size))
        )
        payload += size
        left -= size
        p += PLAIN_BYTES
    if left != 0:
        raise cut_off("PLAIN", count)
    return jobs


def encode_frame(uint8_t type, bytes body not None=b""):  # noqa: A002
    cdef Py_ssize_t length = PyBytes_GET_SIZE(body)
    if length > MAX_BODY_BYTES:
        refuse_length(length)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + length)
    write_bytes(
        write_header(PyBytes_AS_STRING(frame), type, length), PyBytes_AS_STRING(body), length
    )
    return frame


def encode_batch(list jobs not None, Py_ssize_t max_bytes=1_048_576):
    # A copy: it is read twice, and the two readings must agree.
    cdef tuple entries = tuple(jobs)
    cdef Py_ssize_t count = len(entries)
    cdef Py_ssize_t first = 0
    cdef Py_ssize_t last, length, size
    cdef bint is_plain
    cdef Job job
    cdef list frames = []
    cdef Spans* spans = NULL
    max_bytes = min(max_bytes, MAX_BODY_BYTES)
    spans = <Spans*>PyMem_Malloc(<size_t>max(count, 1) * sizeof(Spans))
    if spans == NULL:
        raise MemoryError
    try:
        for last in range(count):
            job = <Job?>entries[last]
            find_spans(
                PyBytes_AS_STRING(job.payload), PyBytes_GET_SIZE(job.payload), &spans[last]
            )
        while first < count:
            last = first
            is_plain = spans[first].is_plain
            length = COUNT_BYTES if is_plain else 0
            while last < count and spans[last].is_plain == is_plain:
                job = <Job>entries[last]
                size = (PLAIN_BYTES if is_plain else JOB_BYTES) + PyBytes_GET_SIZE(job.payload)
                if last > first and length + size > max_bytes:
                    break
                length += size
                last += 1
            if length > MAX_BODY_BYTES:
                job = <Job>entries[first]
                raise ProtocolError(
                    f"job number {job.number} has {PyBytes_GET_SIZE(job.payload)} bytes, a frame "
                    f"takes {MAX_BODY_BYTES - JOB_BYTES}; it cannot be run: "
                    "pass a reference to the data"
                )
            if is_plain:
                frames.append(plain_frame(entries, spans, first, last, length))
            else:
                frames.append(batch_frame(entries, first, last, length))
            first = last
    finally:
        PyMem_Free(spans)
    return frames


cdef bytes batch_frame(tuple entries, Py_ssize_t first, Py_ssize_t last, Py_ssize_t length):
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + length)
    cdef char* p = write_header(PyBytes_AS_STRING(frame), BATCH, length)
    cdef Py_ssize_t i, size
    cdef Job job
    for i in range(first, last):
        job = <Job>entries[i]
        size = PyBytes_GET_SIZE(job.payload)
        p = write_u64(p, job.number)
        p = write_u32(p, <uint32_t>job.route << 16)
        p = write_u32(p, <uint32_t>size)
        p = write_bytes(p, PyBytes_AS_STRING(job.payload), size)
    return frame


# Where a plain payload has what a worker needs of it. Offsets from the payload's first byte.
cdef struct Spans:
    bint is_plain
    uint32_t class_at, class_size, jid_at, jid_size, args_at, args_size


cdef enum:
    # A payload with longer names, or that is longer itself, is not plain.
    PLAIN_NAME_BYTES = 255
    PLAIN_PAYLOAD_BYTES = 1_000_000
    # Arguments may nest as deep; Ruby's JSON stops at 100.
    PLAIN_DEPTH = 50


cdef bytes plain_frame(
    tuple entries, const Spans* spans, Py_ssize_t first, Py_ssize_t last, Py_ssize_t length
):
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + length)
    cdef char* p = write_header(PyBytes_AS_STRING(frame), PLAIN, length)
    cdef char* payloads
    cdef Py_ssize_t i, size
    cdef const Spans* span
    cdef Job job
    p = write_u32(p, <uint32_t>(last - first))
    payloads = p + PLAIN_BYTES * (last - first)
    for i in range(first, last):
        job = <Job>entries[i]
        span = &spans[i]
        size = PyBytes_GET_SIZE(job.payload)
        p = write_u64(p, job.number)
        p = write_u32(p, <uint32_t>job.route << 16 | span.class_size << 8 | span.jid_size)
        p = write_u32(p, <uint32_t>size)
        p = write_u32(p, span.class_at)
        p = write_u32(p, span.jid_at)
        p = write_u32(p, span.args_at)
        p = write_u32(p, span.args_size)
        payloads = write_bytes(payloads, PyBytes_AS_STRING(job.payload), size)
    return frame


# Whether a payload is plain: one object without spaces, of the fields below alone, each once, names
# and numbers in their plainest form. What is inside of the arguments is left to the worker's JSON.
cdef void find_spans(const char* text, Py_ssize_t size, Spans* spans) noexcept nogil:
    cdef const char* at = text
    cdef const char* end = text + size
    cdef const char* key
    cdef const char* value
    cdef int field, seen = 0
    spans.is_plain = False
    if size < 2 or size > PLAIN_PAYLOAD_BYTES or at[0] != c"{":
        return
    at += 1
    while True:
        key = at + 1
        at = skip_text(at, end)
        if at == NULL or at == end or at[0] != c":":
            return
        field = plain_field(key, at - 1 - key)
        if field == 0 or seen & field:
            return
        seen |= field
        at += 1
        value = at
        if field == ARGS:
            at = skip_array(at, end)
        elif field & (CLASS | JID | QUEUE):
            at = skip_text(at, end)
        else:
            at = skip_scalar(at, end)
        if at == NULL or at == end:
            return
        if field == CLASS:
            spans.class_at = <uint32_t>(value + 1 - text)
            spans.class_size = <uint32_t>(at - value - 2)
        elif field == JID:
            spans.jid_at = <uint32_t>(value + 1 - text)
            spans.jid_size = <uint32_t>(at - value - 2)
        elif field == ARGS:
            spans.args_at = <uint32_t>(value - text)
            spans.args_size = <uint32_t>(at - value)
        if at[0] != c",":
            break
        at += 1
    if at[0] != c"}" or at + 1 != end or seen & (CLASS | JID | ARGS) != (CLASS | JID | ARGS):
        return
    spans.is_plain = (
        0 < spans.class_size <= PLAIN_NAME_BYTES and spans.jid_size <= PLAIN_NAME_BYTES
    )


cdef enum:
    CLASS = 1
    JID = 2
    ARGS = 4
    QUEUE = 8
    RETRIES = 16
    CREATED_AT = 32
    ENQUEUED_AT = 64


cdef int plain_field(const char* name, Py_ssize_t size) noexcept nogil:
    if size == 3:
        return JID if memcmp(name, b"jid", 3) == 0 else 0
    if size == 4:
        return ARGS if memcmp(name, b"args", 4) == 0 else 0
    if size == 5:
        if memcmp(name, b"class", 5) == 0:
            return CLASS
        if memcmp(name, b"queue", 5) == 0:
            return QUEUE
        return RETRIES if memcmp(name, b"retry", 5) == 0 else 0
    if size == 10:
        return CREATED_AT if memcmp(name, b"created_at", 10) == 0 else 0
    if size == 11:
        return ENQUEUED_AT if memcmp(name, b"enqueued_at", 11) == 0 else 0
    return 0


# Behind a string of printable ASCII without escapes; NULL if there is none.
cdef const char* skip_text(const char* at, const char* end) noexcept nogil:
    if at == end or at[0] != c'"':
        return NULL
    at += 1
    while at != end:
        if at[0] == c'"':
            return at + 1
        if <unsigned char>at[0] < 32 or <unsigned char>at[0] > 126 or at[0] == c"\\":
            return NULL
        at += 1
    return NULL


# Behind true, false, null, or a number of digits with an optional fraction; NULL if there is none.
cdef const char* skip_scalar(const char* at, const char* end) noexcept nogil:
    cdef const char* first = at
    if end - at >= 5:
        if memcmp(at, b"true", 4) == 0 or memcmp(at, b"null", 4) == 0:
            return at + 4
        if memcmp(at, b"false", 5) == 0:
            return at + 5
    at = skip_digits(at, end)
    if at == first or (first[0] == c"0" and at - first > 1):
        return NULL
    if at != end and at[0] == c".":
        first = at + 1
        at = skip_digits(first, end)
        if at == first:
            return NULL
    return at


cdef const char* skip_digits(const char* at, const char* end) noexcept nogil:
    while at != end and c"0" <= at[0] <= c"9":
        at += 1
    return at


# Where the string ends whose inside begins here; NULL if nowhere. By memchr, which reads many bytes at
# a time: arguments may be long.
cdef inline const char* closing_quote(const char* at, const char* end) noexcept nogil:
    cdef const char* quote = NULL
    cdef const char* escape
    while True:
        if quote < at:
            quote = <const char*>memchr(at, c'"', <size_t>(end - at))
            if quote == NULL:
                return NULL
        escape = <const char*>memchr(at, c"\\", <size_t>(quote - at))
        if escape == NULL:
            return quote
        at = escape + 2


# Behind an array, if its brackets are as many as they should be; NULL if not.
cdef const char* skip_array(const char* at, const char* end) noexcept nogil:
    cdef int depth = 0
    if at == end or at[0] != c"[":
        return NULL
    while at != end:
        if at[0] == c'"':
            at = closing_quote(at + 1, end)
            if at == NULL:
                return NULL
        elif at[0] == c"/":
            return NULL  # Ruby's JSON knows comments
        elif at[0] == c"[" or at[0] == c"{":
            depth += 1
            if depth > PLAIN_DEPTH:
                return NULL
        elif at[0] == c"]" or at[0] == c"}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return NULL


def encode_interrupts(numbers, bint hard):
    cdef tuple entries = tuple(numbers)
    cdef Py_ssize_t length = INTERRUPT_BYTES * len(entries)
    if length > MAX_BODY_BYTES:
        refuse_length(length)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + length)
    cdef char* p = write_header(PyBytes_AS_STRING(frame), INTERRUPT, length)
    cdef uint64_t number
    for number in entries:
        p = write_u64(p, number)
        p[0] = <char>hard
        p += 1
    return frame


def encode_results(outcomes):
    cdef Out out
    cdef Outcome outcome
    start(&out, 256)
    try:
        for outcome in outcomes:
            if outcome is None:
                raise TypeError("None among the outcomes")
            put_outcome(&out, outcome)
        return finish(&out)
    finally:
        Py_XDECREF(out.data)


cdef int put_outcome(Out* out, Outcome outcome) except -1:
    cdef Py_ssize_t payload = PyBytes_GET_SIZE(outcome.payload)
    cdef Py_ssize_t name, message
    cdef const char* name_text = PyUnicode_AsUTF8AndSize(outcome.error_class, &name)
    cdef const char* message_text = PyUnicode_AsUTF8AndSize(outcome.error_message, &message)
    cdef Py_ssize_t size = 0
    if max(name, message) > 0xFFFF or payload > MAX_BODY_BYTES:
        raise ProtocolError(
            f"the outcome of job number {outcome.number} is too long for a frame; "
            "cut its texts at 1000 bytes"
        )
    if payload or name or message or outcome.score != 0.0:
        size = DETAIL_BYTES + payload + name + message
    reserve(out, OUTCOME_BYTES + size)
    cdef char* p = tail(out)
    p = write_u64(p, outcome.number)
    p[0] = <char>outcome.status
    p[1] = <char>outcome.counts
    p = write_u16(p + 2, 0)
    p = write_u32(p, <uint32_t>size)
    p = write_u64(p, outcome.elapsed_us)
    if size:
        p = write_f64(p, outcome.score)
        p = write_u32(p, <uint32_t>payload)
        p = write_bytes(p, PyBytes_AS_STRING(outcome.payload), payload)
        p = write_u16(p, <uint32_t>name)
        p = write_bytes(p, name_text, name)
        p = write_u16(p, <uint32_t>message)
        p = write_bytes(p, message_text, message)
    out.used += OUTCOME_BYTES + size
    return 0


def pack_command(args):
    return pack((args,))


def pack_commands(commands):
    return pack(tuple(commands))


cdef bytes pack(tuple commands):
    cdef Out out
    start(&out, 512)
    try:
        for args in commands:
            put_command(&out, args)
        return finish(&out)
    finally:
        Py_XDECREF(out.data)


cdef int put_command(Out* out, args) except -1:
    if isinstance(args, (str, bytes)):
        raise TypeError(f"a command is a sequence of arguments, not one {type(args).__name__}")
    # A copy of a list: nobody else changes it while it is read.
    cdef tuple listed = tuple(args)
    cdef Py_ssize_t i, count = len(listed)
    if count == 0:
        raise ValueError("a command without arguments: Redis would not answer it")
    reserve(out, BULK_BYTES)
    out.used = put_prefix(tail(out), c"*", count) - raw_bytes(out.data)
    for i in range(count):
        put_argument(out, listed[i], listed, i)
    return 0


cdef int put_argument(Out* out, arg, tuple args, Py_ssize_t i) except -1:
    cdef Py_ssize_t size
    cdef const char* text
    cdef char* spelled
    cdef long long value
    cdef int overflow
    if PyBytes_CheckExact(arg):
        return put_bulk(out, PyBytes_AS_STRING(arg), PyBytes_GET_SIZE(arg))
    if type(arg) is Job:
        return put_unsigned(out, (<Job>arg).number)
    if isinstance(arg, str):
        text = PyUnicode_AsUTF8AndSize(arg, &size)
        return put_bulk(out, text, size)
    if PyLong_Check(arg) and not isinstance(arg, bool):
        value = PyLong_AsLongLongAndOverflow(arg, &overflow)
        if overflow:
            return put_argument(out, b"%d" % arg, args, i)
        return put_integer(out, value)
    if PyFloat_Check(arg):
        spelled = PyOS_double_to_string(PyFloat_AS_DOUBLE(arg), c"r", 0, Py_DTSF_ADD_DOT_0, NULL)
        try:
            return put_bulk(out, spelled, <Py_ssize_t>strlen(spelled))
        finally:
            PyMem_Free(spelled)
    if isinstance(arg, bytes):
        return put_argument(out, bytes(arg), args, i)
    raise TypeError(
        f"argument {i} of {args[0]!r:.40} is a {type(arg).__name__}; give bytes, str, int or float"
    )


cdef inline int put_bulk(Out* out, const char* data, Py_ssize_t size) except -1:
    reserve(out, BULK_BYTES + size)
    cdef char* p = put_prefix(tail(out), c"$", size)
    p = write_bytes(p, data, size)
    p[0] = c"\r"
    p[1] = c"\n"
    out.used = (p + 2) - raw_bytes(out.data)
    return 0


cdef int put_integer(Out* out, long long value) except -1:
    cdef char digits[INTEGER_BYTES]
    cdef char* p = &digits[0]
    # The magnitude by unsigned arithmetic: the lowest long long has no positive counterpart.
    cdef uint64_t magnitude = <uint64_t>value
    if value < 0:
        p[0] = c"-"
        p += 1
        magnitude = 0 - magnitude
    p = write_digits(p, magnitude)
    return put_bulk(out, digits, p - &digits[0])


cdef int put_unsigned(Out* out, uint64_t value) except -1:
    cdef char digits[INTEGER_BYTES]
    return put_bulk(out, digits, write_digits(&digits[0], value) - &digits[0])


cdef inline char* put_prefix(char* p, char sign, Py_ssize_t count) noexcept nogil:
    p[0] = sign
    p = write_digits(p + 1, <uint64_t>count)
    p[0] = c"\r"
    p[1] = c"\n"
    return p + 2


cdef inline char* write_digits(char* p, uint64_t value) noexcept nogil:
    cdef char backwards[INTEGER_BYTES]
    cdef int count = 0
    while True:
        backwards[count] = <char>(c"0" + <char>(value % 10))
        count += 1
        value //= 10
        if value == 0:
            break
    while count:
        count -= 1
        p[0] = backwards[count]
        p += 1
    return p


def backoff_s(int attempt, double jitter, double base=0.1, double cap=5.0):
    # 2**1000 is the largest round power below the end of the double's range; any cap is far lower.
    return min(cap, base * 2.0 ** min(attempt, 1000)) * (0.5 + jitter / 2)
