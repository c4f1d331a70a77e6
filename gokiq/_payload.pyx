# cython: language_level=3, embedsignature=True, freethreading_compatible=True
"""Reads and replaces top-level fields of a job's JSON without decoding it.

What each function promises is written in `_payload.pyi`. Only the structure is followed: strings,
brackets, commas and colons. Whether numbers, words and UTF-8 are valid is for Ruby to say.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from gokiq.errors import PayloadError

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

# Bytes are compared 16 at once with SSE2 and NEON, else 8; GOKIQ_PORTABLE leaves both aside.
cdef extern from *:
    """
    #if defined(__SSE2__) && !defined(GOKIQ_PORTABLE)
    #include <emmintrin.h>
    #define GOKIQ_LANE 16
    static inline uint64_t gokiq_lane_equal(const char *p, char c) {
        const __m128i lane = _mm_loadu_si128((const __m128i *)(const void *)p);
        return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(lane, _mm_set1_epi8(c)));
    }
    #elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(GOKIQ_PORTABLE)
    #include <arm_neon.h>
    #define GOKIQ_LANE 16
    static inline uint64_t gokiq_lane_equal(const char *p, char c) {
        static const uint8_t BITS[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
        const uint8x16_t lane = vld1q_u8((const uint8_t *)p);
        const uint8x16_t equal = vceqq_u8(lane, vdupq_n_u8((uint8_t)c));
        const uint8x16_t bits = vandq_u8(equal, vld1q_u8(BITS));
        return (unsigned)vaddv_u8(vget_low_u8(bits)) | (unsigned)vaddv_u8(vget_high_u8(bits)) << 8;
    }
    #else
    #define GOKIQ_LANE 8
    /* Zero bytes, then the high bits gathered. Source: Warren, Hacker's Delight, 6-1 and 7-4. */
    static inline uint64_t gokiq_lane_equal(const char *p, char c) {
        const uint64_t low = 0x7F7F7F7F7F7F7F7Fu;
        uint64_t lane;
        memcpy(&lane, p, 8);
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        lane = __builtin_bswap64(lane);
    #endif
        lane ^= 0x0101010101010101u * (unsigned char)c;
        lane = ~(((lane & low) + low) | lane | low);
        return (lane >> 7) * 0x0102040810204080u >> 56;
    }
    #endif
    static inline uint64_t gokiq_block_equal(const char *p, char c) {
        uint64_t equal = 0;
        for (int i = 0; i < 64; i += GOKIQ_LANE)
            equal |= gokiq_lane_equal(p + i, c) << i;
        return equal;
    }
    """
    enum: LANE "GOKIQ_LANE"
    # A bit for each of the LANE, or 64, bytes at `p`, from the lowest on: 1 where it is `c`.
    uint64_t lane_equal "gokiq_lane_equal"(const char* p, char c) noexcept nogil
    uint64_t block_equal "gokiq_block_equal"(const char* p, char c) noexcept nogil
    int lowest_bit "__builtin_ctzll"(uint64_t mask) noexcept nogil

cdef enum:
    # Deeper brackets are counted, not matched by kind: Ruby refuses more than 100 levels anyway.
    MATCHED_DEPTH = 512
    # This many fields find room on the stack, more are allocated.
    FIELDS_ON_STACK = 16
    # A longer number becomes a float (mostly infinity): int() takes quadratic time and has a limit.
    MAX_DIGITS = 4000
    # Lanes that are looked at before a call of memchr is worth it.
    SHORT_LANES = 4
    BLOCK = 64

# What a byte outside a string is; up to COLON it changes nothing inside brackets.
cdef enum Kind:
    TOKEN   # part of a number or a word
    SPACE
    COMMA
    COLON
    QUOTE
    OPEN
    CLOSE
    BAD

# Every other bit, from the lowest on.
cdef const uint64_t EVEN_BITS = 0x5555555555555555u
cdef const char* HEX_DIGITS = b"0123456789abcdef"
cdef unsigned char KIND[256]
# How many bytes more than one a byte takes inside a JSON string.
cdef unsigned char GROWTH[256]


cdef int fill_tables() except -1:
    cdef int c
    for c in range(256):
        KIND[c] = BAD
        GROWTH[c] = 5 if c < 0x20 else 0
    for c in b"0123456789+-.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        KIND[c] = TOKEN
    for c in b" \t\r\n":
        KIND[c] = SPACE
    for c in b'"\\\b\f\n\r\t':
        GROWTH[c] = 1
    KIND[c","] = COMMA
    KIND[c":"] = COLON
    KIND[c'"'] = QUOTE
    KIND[c"{"] = KIND[c"["] = OPEN
    KIND[c"}"] = KIND[c"]"] = CLOSE
    return 0


fill_tables()


# A top-level field that is looked for, and the span of its value; start is -1 while it is missing.
cdef struct Field:
    const char* name
    Py_ssize_t length
    Py_ssize_t start
    Py_ssize_t stop


cdef inline Py_ssize_t broken(Py_ssize_t offset) noexcept nogil:
    """What a skipper returns instead of an end when the text is broken at `offset`."""
    return -1 - offset


cdef inline unsigned char kind_at(const char* p, Py_ssize_t i) noexcept nogil:
    return KIND[<unsigned char>p[i]]


cdef inline Py_ssize_t skip_spaces(const char* p, Py_ssize_t n, Py_ssize_t i) noexcept nogil:
    while i < n and kind_at(p, i) == SPACE:
        i += 1
    return i


cdef inline Py_ssize_t skip_string(
    const char* p, Py_ssize_t n, Py_ssize_t i, bint* has_escape
) noexcept nogil:
    """End of the string whose opening quote is at `i`: the offset after its closing quote."""
    cdef uint64_t stops
    cdef Py_ssize_t lanes
    i += 1
    for lanes in range(SHORT_LANES):
        if i + LANE > n:
            break
        stops = lane_equal(p + i, c'"') | lane_equal(p + i, c"\\")
        if stops:
            i += lowest_bit(stops)
            if p[i] == c'"':
                return i + 1
            break
        i += LANE
    return skip_long_string(p, n, i, has_escape)


cdef Py_ssize_t skip_long_string(
    const char* p, Py_ssize_t n, Py_ssize_t i, bint* has_escape
) noexcept nogil:
    """As skip_string, from a byte at `i` that no backslash before it escapes."""
    cdef const char* quote = <const char*>memchr(p + i, c'"', <size_t>(n - i))
    cdef const char* escape
    if quote == NULL:
        return broken(n)
    escape = <const char*>memchr(p + i, c"\\", <size_t>(quote - (p + i)))
    if escape == NULL:
        return (quote - p) + 1
    has_escape[0] = True
    return skip_escaped_string(p, n, escape - p)


cdef Py_ssize_t skip_escaped_string(const char* p, Py_ssize_t n, Py_ssize_t i) noexcept nogil:
    """As skip_long_string, by blocks: backslashes may be many."""
    cdef uint64_t quotes
    # 1 when the last byte of the block before escapes the first of this one.
    cdef uint64_t carry = 0
    while i + BLOCK <= n:
        quotes = block_equal(p + i, c'"') & ~escaped_bytes(block_equal(p + i, c"\\"), &carry)
        if quotes:
            return i + lowest_bit(quotes) + 1
        i += BLOCK
    i += <Py_ssize_t>carry
    while i < n:
        if p[i] == c'"':
            return i + 1
        i += 2 if p[i] == c"\\" else 1
    return broken(n)


cdef inline uint64_t escaped_bytes(uint64_t escapes, uint64_t* carry) noexcept nogil:
    """Which bytes of a block follow a backslash that is not escaped itself.

    Of a run of backslashes every other one escapes; adding a run to the bit where it starts moves
    the bit behind its end. Source: Langdale and Lemire, Parsing Gigabytes of JSON per Second, 3.1.1.
    """
    cdef uint64_t followers, odd_starts, ends
    escapes &= ~carry[0]
    followers = (escapes << 1) | carry[0]
    odd_starts = escapes & ~EVEN_BITS & ~followers
    ends = odd_starts + escapes
    carry[0] = ends < escapes
    return (EVEN_BITS ^ (ends << 1)) & followers


cdef Py_ssize_t skip_container(const char* p, Py_ssize_t n, Py_ssize_t i) noexcept nogil:
    """End of the array or object that opens at `i`."""
    cdef char closer[MATCHED_DEPTH]
    cdef Py_ssize_t depth = 0
    cdef unsigned char kind
    cdef bint has_escape = True
    while i < n:
        kind = kind_at(p, i)
        if kind <= COLON:
            i += 1
        elif kind == QUOTE:
            i = skip_string(p, n, i, &has_escape)
            if i < 0:
                return i
        elif kind == OPEN:
            if depth < MATCHED_DEPTH:
                closer[depth] = c"]" if p[i] == c"[" else c"}"
            depth += 1
            i += 1
        elif kind == CLOSE:
            depth -= 1
            if depth < MATCHED_DEPTH and closer[depth] != p[i]:
                return broken(i)
            i += 1
            if depth == 0:
                return i
        else:
            return broken(i)
    return broken(n)


cdef inline Py_ssize_t skip_value(const char* p, Py_ssize_t n, Py_ssize_t i) noexcept nogil:
    """End of the value that starts at `i`."""
    cdef Py_ssize_t start = i
    cdef unsigned char kind
    cdef bint has_escape = True
    if i == n:
        return broken(n)
    kind = kind_at(p, i)
    if kind == QUOTE:
        return skip_string(p, n, i, &has_escape)
    if kind == OPEN:
        return skip_container(p, n, i)
    while i < n and kind_at(p, i) == TOKEN:
        i += 1
    return i if i > start else broken(i)


cdef Py_ssize_t walk(
    const char* p, Py_ssize_t n, Field* fields, Py_ssize_t count, bint* is_empty
) except -1:
    """Fill in the spans of the fields; returns the offset of the object's closing brace."""
    cdef Py_ssize_t i, key, key_stop, start
    cdef bint has_escape
    is_empty[0] = False
    i = skip_spaces(p, n, 0)
    if i == n or p[i] != c"{":
        raise PayloadError(i)
    i = skip_spaces(p, n, i + 1)
    if i < n and p[i] == c"}":
        is_empty[0] = True
        return close_object(p, n, i)
    while True:
        if i == n or p[i] != c'"':
            raise PayloadError(i)
        key = i
        has_escape = False
        key_stop = end_or_raise(skip_string(p, n, i, &has_escape))
        i = skip_spaces(p, n, key_stop)
        if i == n or p[i] != c":":
            raise PayloadError(i)
        start = skip_spaces(p, n, i + 1)
        i = end_or_raise(skip_value(p, n, start))
        if not has_escape:
            note(fields, count, p + key + 1, key_stop - key - 2, start, i)
        else:
            note_escaped(fields, count, p + key + 1, key_stop - key - 2, start, i)
        i = skip_spaces(p, n, i)
        if i < n and p[i] == c"}":
            return close_object(p, n, i)
        if i == n or p[i] != c",":
            raise PayloadError(i)
        i = skip_spaces(p, n, i + 1)


cdef inline Py_ssize_t end_or_raise(Py_ssize_t end) except -1:
    if end < 0:
        raise PayloadError(-1 - end)
    return end


cdef inline Py_ssize_t close_object(const char* p, Py_ssize_t n, Py_ssize_t brace) except -1:
    cdef Py_ssize_t i = skip_spaces(p, n, brace + 1)
    if i < n:
        raise PayloadError(i)
    return brace


cdef inline void note(
    Field* fields, Py_ssize_t count, const char* key, Py_ssize_t length, Py_ssize_t start,
    Py_ssize_t stop,
) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(count):
        if fields[k].length == length and memcmp(fields[k].name, key, <size_t>length) == 0:
            fields[k].start = start
            fields[k].stop = stop


cdef int note_escaped(
    Field* fields, Py_ssize_t count, const char* key, Py_ssize_t length, Py_ssize_t start,
    Py_ssize_t stop,
) except -1:
    cdef bytes plain = unescape(key, length)
    note(fields, count, PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), start, stop)
    return 0


cdef int set_field(Field* field, name) except -1:
    field.name = PyUnicode_AsUTF8AndSize(name, &field.length)
    field.start = -1
    field.stop = -1
    return 0


cdef Field* allocate_fields(Py_ssize_t count) except NULL:
    cdef Field* fields = <Field*>PyMem_Malloc(<size_t>count * sizeof(Field))
    if fields == NULL:
        raise MemoryError
    return fields


def scan(bytes payload not None, tuple names not None):
    cdef Field on_stack[FIELDS_ON_STACK]
    cdef Field* fields = on_stack
    cdef const char* p = PyBytes_AS_STRING(payload)
    cdef Py_ssize_t i, count = len(names)
    cdef bint is_empty
    cdef tuple values
    if count > FIELDS_ON_STACK:
        fields = allocate_fields(count)
    try:
        for i in range(count):
            set_field(&fields[i], <object>PyTuple_GET_ITEM(names, i))
        walk(p, PyBytes_GET_SIZE(payload), fields, count, &is_empty)
        values = PyTuple_New(count)
        for i in range(count):
            value = None
            if fields[i].start >= 0:
                value = PyBytes_FromStringAndSize(
                    p + fields[i].start, fields[i].stop - fields[i].start
                )
            Py_INCREF(value)
            PyTuple_SET_ITEM(values, i, value)
        return values
    finally:
        if fields != on_stack:
            PyMem_Free(fields)


def text(bytes raw):
    if raw is None:
        return None
    cdef const char* p = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(raw)
    cdef bint has_escape = False
    if n < 2 or p[0] != c'"' or skip_string(p, n, 0, &has_escape) != n:
        return None
    if not has_escape:
        return PyUnicode_DecodeUTF8(p + 1, n - 2, "replace")
    cdef bytes plain = unescape(p + 1, n - 2)
    return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), "replace")


cdef bytes unescape(const char* p, Py_ssize_t n):
    """The bytes a string's inside stands for; surrogates without a partner become U+FFFD.

    What follows the backslash of an escape that JSON does not know stands for itself.
    """
    # No escape is shorter than what it stands for.
    cdef bytes plain = PyBytes_FromStringAndSize(NULL, n)
    cdef char* out = PyBytes_AS_STRING(plain)
    cdef Py_ssize_t i = 0
    cdef long code, low
    while i < n:
        if p[i] != c"\\" or i + 1 == n:
            out[0] = p[i]
            out += 1
            i += 1
            continue
        code = hex_escape(p, n, i)
        if code < 0:
            out[0] = short_escape(p[i + 1])
            out += 1
            i += 2
            continue
        i += 6
        if 0xD800 <= code < 0xDC00:
            low = hex_escape(p, n, i)
            if 0xDC00 <= low < 0xE000:
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                i += 6
        if 0xD800 <= code < 0xE000:
            code = 0xFFFD
        out = write_utf8(out, <uint32_t>code)
    return plain[:out - PyBytes_AS_STRING(plain)]


cdef inline long hex_escape(const char* p, Py_ssize_t n, Py_ssize_t i) noexcept nogil:
    """The code of the \\uXXXX at `i`; -1 when there is none."""
    cdef long code = 0
    cdef Py_ssize_t k
    cdef char c
    if i + 6 > n or p[i] != c"\\" or p[i + 1] != c"u":
        return -1
    for k in range(i + 2, i + 6):
        c = p[k]
        if c"0" <= c <= c"9":
            code = code * 16 + c - c"0"
        elif c"a" <= c <= c"f":
            code = code * 16 + c - c"a" + 10
        elif c"A" <= c <= c"F":
            code = code * 16 + c - c"A" + 10
        else:
            return -1
    return code


cdef inline char short_escape(char c) noexcept nogil:
    if c == c"n":
        return c"\n"
    if c == c"t":
        return c"\t"
    if c == c"r":
        return c"\r"
    if c == c"b":
        return c"\b"
    if c == c"f":
        return c"\f"
    return c


cdef inline char* write_utf8(char* out, uint32_t code) noexcept nogil:
    if code < 0x80:
        out[0] = <char>code
        return out + 1
    if code < 0x800:
        out[0] = <char>(0xC0 | (code >> 6))
        out[1] = <char>(0x80 | (code & 0x3F))
        return out + 2
    if code < 0x10000:
        out[0] = <char>(0xE0 | (code >> 12))
        out[1] = <char>(0x80 | ((code >> 6) & 0x3F))
        out[2] = <char>(0x80 | (code & 0x3F))
        return out + 3
    out[0] = <char>(0xF0 | (code >> 18))
    out[1] = <char>(0x80 | ((code >> 12) & 0x3F))
    out[2] = <char>(0x80 | ((code >> 6) & 0x3F))
    out[3] = <char>(0x80 | (code & 0x3F))
    return out + 4


def quote(str s not None):
    cdef const char* p
    cdef Py_ssize_t n
    try:
        p = PyUnicode_AsUTF8AndSize(s, &n)
    except UnicodeEncodeError:
        # UTF-16 pairs the surrogates that have a partner, and would lose who had none.
        return quote("".join(["\ufffd" if "\ud800" <= c <= "\udfff" else c for c in s]))
    return quoted(p, n)


def quote_bytes(bytes b not None):
    cdef Py_ssize_t i, n = PyBytes_GET_SIZE(b)
    cdef const char* p = PyBytes_AS_STRING(b)
    for i in range(n):
        if <unsigned char>p[i] >= 0x80:
            return quote(PyUnicode_DecodeUTF8(p, n, "replace"))
    return quoted(p, n)


cdef bytes quoted(const char* p, Py_ssize_t n):
    """A JSON string of valid UTF-8. Source: json ext/json/generator/generator.c, escape_table."""
    cdef Py_ssize_t i, size = n + 2
    for i in range(n):
        size += GROWTH[<unsigned char>p[i]]
    cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
    cdef char* out = PyBytes_AS_STRING(result)
    out[0] = out[size - 1] = c'"'
    out += 1
    if size == n + 2:
        memcpy(out, p, <size_t>n)
        return result
    for i in range(n):
        if GROWTH[<unsigned char>p[i]] == 0:
            out[0] = p[i]
            out += 1
        else:
            out = write_escape(out, p[i])
    return result


cdef inline char* write_escape(char* out, char c) noexcept nogil:
    out[0] = c"\\"
    if c == c"\n":
        out[1] = c"n"
    elif c == c"\t":
        out[1] = c"t"
    elif c == c"\r":
        out[1] = c"r"
    elif c == c"\b":
        out[1] = c"b"
    elif c == c"\f":
        out[1] = c"f"
    elif c == c'"' or c == c"\\":
        out[1] = c
    else:
        out[1] = c"u"
        out[2] = c"0"
        out[3] = c"0"
        out[4] = c"1" if c >= 0x10 else c"0"
        out[5] = HEX_DIGITS[c & 15]
        return out + 6
    return out + 2


def number(bytes raw):
    if raw is None:
        return None
    cdef const char* p = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(raw)
    cdef Py_ssize_t digits
    cdef Py_ssize_t i = 1 if n > 0 and p[0] == c"-" else 0
    digits = skip_digits(p, n, i) - i
    if digits == 0 or (digits > 1 and p[i] == c"0"):
        return None
    i += digits
    if i == n:
        return int(raw) if digits <= MAX_DIGITS else float(raw)
    if p[i] == c".":
        digits = skip_digits(p, n, i + 1) - (i + 1)
        if digits == 0:
            return None
        i += 1 + digits
    if i < n and p[i] in (c"e", c"E"):
        i += 1
        if i < n and p[i] in (c"+", c"-"):
            i += 1
        digits = skip_digits(p, n, i) - i
        if digits == 0:
            return None
        i += digits
    return float(raw) if i == n else None


cdef inline Py_ssize_t skip_digits(const char* p, Py_ssize_t n, Py_ssize_t i) noexcept nogil:
    while i < n and c"0" <= p[i] <= c"9":
        i += 1
    return i


def splice(bytes payload not None, dict edits not None):
    cdef Field on_stack[FIELDS_ON_STACK]
    cdef Field* fields = on_stack
    cdef const char* p = PyBytes_AS_STRING(payload)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(payload)
    # Not the dict itself: the names must outlive their pointers.
    cdef tuple items = tuple(edits.items())
    cdef Py_ssize_t i, brace, done = 0, count = len(items)
    cdef bint is_empty
    cdef list parts = []
    if count > FIELDS_ON_STACK:
        fields = allocate_fields(count)
    try:
        for i in range(count):
            set_field(&fields[i], items[i][0])
        brace = walk(p, n, fields, count, &is_empty)
        found = [
            (fields[i].start, fields[i].stop, items[i][1])
            for i in range(count)
            if fields[i].start >= 0
        ]
        missing = [items[i] for i in range(count) if fields[i].start < 0]
    finally:
        if fields != on_stack:
            PyMem_Free(fields)
    found.sort()
    for start, stop, value in found:
        parts.append(payload[done:start])
        parts.append(value)
        done = stop
    parts.append(payload[done:brace])
    for name, value in missing:
        if not is_empty:
            parts.append(b",")
        is_empty = False
        parts.append(quote(name))
        parts.append(b":")
        parts.append(value)
    parts.append(payload[brace:])
    return b"".join(parts)
