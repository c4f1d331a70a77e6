"""What a server left in Redis, made comparable: clocks, identities and chance are masked, nothing
else. No I/O but reading.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from typing import Any

#: A masked key and what it holds.
Dump = dict[str, Any]

#: Lives that keys have, seconds: a TTL is rounded up to one of them.
LIVES = (60, 28_800, 86_400, 259_200, 2_592_000, 157_680_000)

_IDENTITY = re.compile(r"[^\s:\"\\]+:\d+:[0-9a-f]{12}")
_NUMBER = re.compile(r"(?<![\w.-])1[5-9]\d{8}(\d{3}|\.\d+)?(?![\w.])")
_ISO = re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+Z")
_JID = re.compile(r"(?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f])")
_BACKTRACE = re.compile(r'"error_backtrace":"([^"]*)"')
#: Masked names of the keys that are called after a day or a minute, of both versions.
_DATED = (
    (re.compile(r"^j\|\d{6}\|\d{1,2}:\d\d$"), "j|minute"),
    (re.compile(r"^j\|\d{6}\|\d{1,2}:\d$"), "j|ten minutes"),
    (re.compile(r"^j\|\d{8}\|\d{1,2}:\d{1,2}$"), "j|minute"),
    (re.compile(r"^h\|(.+)-\d{1,2}-\d{1,2}:\d{1,2}$"), r"histogram \1"),
    (re.compile(r"^(.+)-\d\d-\d\d:\d{1,2}$"), r"histogram \1"),
    (re.compile(r":\d{4}-\d\d-\d\d$"), ":day"),
)


class Masks:
    """Turns what differs from run to run into words; `known` are the jids that were pushed."""

    def __init__(self, started_s: float, known: set[str]) -> None:
        self._started_s = started_s - 1
        self._known = known

    def text(self, text: str) -> str:
        """Bytes of Redis, as text: everything that is not masked is kept as it is."""
        text = _BACKTRACE.sub(_show_backtrace, text)
        text = _ISO.sub("<time>", _IDENTITY.sub("<identity>", text))
        text = _JID.sub(lambda found: found[0] if found[0] in self._known else "<jid>", text)
        return _NUMBER.sub(self._clock, text)

    def _clock(self, found: re.Match[str]) -> str:
        number = found[0]
        is_ms = len(number) == 13 and "." not in number
        seconds = float(number) / (1000 if is_ms else 1)
        if not self._started_s <= seconds <= self._started_s + 3600:
            return number
        return "<ms>" if is_ms else "<seconds, float>" if "." in number else "<seconds>"

    def key(self, key: str) -> str:
        for pattern, name in _DATED:
            key = pattern.sub(name, key)
        return self.text(key)


def dump(client: Any, masks: Masks) -> Dump:
    """Every key but ours. Several of one masked name (two minutes of metrics) are added up."""
    found: Dump = {}
    for raw in sorted(client.keys("*")):
        name = raw.decode()
        if name.startswith("gokiq:"):
            continue
        kind = client.type(raw).decode()
        content = _READERS[kind](client, name, masks)
        entry = {"type": kind, "life": _life(client.ttl(raw)), "content": content}
        key = masks.key(name)
        found[key] = _add(found[key], entry) if key in found else entry
    return found


def count_metrics(client: Any) -> int:
    """Jobs that Sidekiq's metrics tell of, all classes and minutes."""
    minutes = [key for key in client.keys("j|*") if Masks(0, set()).key(_decode(key)) == "j|minute"]
    fields = [field for key in minutes for field in client.hgetall(key).items()]
    return sum(int(value) for name, value in fields if name.endswith(b"|p"))


def _list(client: Any, key: str, masks: Masks) -> object:
    return [masks.text(_decode(item)) for item in client.lrange(key, 0, -1)]


def _set(client: Any, key: str, masks: Masks) -> object:
    return sorted(masks.text(_decode(item)) for item in client.smembers(key))


def _sorted_set(client: Any, key: str, masks: Masks) -> object:
    """Members with what their scores are when the clock is taken out of them."""
    members: list[tuple[bytes, float]] = client.zrange(key, 0, -1, withscores=True)
    return sorted([masks.text(_decode(member)), _score(member, score)] for member, score in members)


def _hash(client: Any, key: str, masks: Masks) -> object:
    fields = {_decode(name): _decode(value) for name, value in client.hgetall(key).items()}
    if key.startswith("j|"):
        return {name: "<ms>" if "|ms" in name else int(value) for name, value in fields.items()}
    if _IDENTITY.fullmatch(key):
        info = json.loads(fields.pop("info"))
        info.update(hostname="<host>", pid=type(info["pid"]).__name__)
        fields["info"] = masks.text(json.dumps(info))
        fields.update(dict.fromkeys(("rss", "rtt_us"), "<measured>"))
    if key.startswith("it-"):
        fields["rt"] = "<measured>"
    return {name: masks.text(value) for name, value in fields.items()}


def _string(client: Any, key: str, masks: Masks) -> object:
    if masks.key(key).startswith("histogram "):
        reads = client.bitfield(key)
        for i in range(26):
            reads = reads.get("u16", f"#{i}")
        return {"jobs": sum(reads.execute())}
    return masks.text(_decode(client.get(key) or b""))


_READERS: dict[str, Callable[[Any, str, Masks], object]] = {
    "list": _list,
    "set": _set,
    "zset": _sorted_set,
    "hash": _hash,
    "string": _string,
}


def _add(one: Any, other: Any) -> Any:
    def total(a: Any, b: Any) -> Any:
        return a + b if isinstance(a, int) and isinstance(b, int) else a

    assert isinstance(one["content"], dict), one
    both = {**other["content"], **one["content"]}
    content = {
        name: total(one["content"][name], other["content"][name])
        if name in one["content"] and name in other["content"]
        else value
        for name, value in both.items()
    }
    return {**one, "content": content}


def _score(member: bytes, score: float) -> str:
    """The score as a distance from the clock that the job was stamped with, if it was."""
    try:
        job = json.loads(member)
    except ValueError:
        job = None
    stamp = (job.get("retried_at") or job.get("failed_at")) if isinstance(job, dict) else None
    if stamp is None:
        return f"{score:g}" if score < 1_700_000_000 else "<clock>"
    since = score - (stamp / 1000 if isinstance(stamp, int) else stamp)
    # The stamp and the score are two looks at the clock.
    return f"{int(since + 0.02)} s later"


def _life(ttl: int) -> str:
    if ttl == -1:
        return "for ever"
    return next((f"{life} s" for life in LIVES if ttl <= life), f"{ttl} s")


def _show_backtrace(found: re.Match[str]) -> str:
    """The frames of the app's jobs; of all others, only how many."""
    frames = json.loads(zlib.decompress(base64.b64decode(found[1])))
    if frames is None:
        return '"error_backtrace":null, encoded'
    own = [frame.rsplit("/", 1)[-1] for frame in frames if "/apps/differential" in frame]
    count = len(frames) if len(frames) <= 3 else "many"
    return f'"error_backtrace": {count} frames, {json.dumps(own)}'


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
