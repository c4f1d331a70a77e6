"""What a due member becomes when it is enqueued, and the frames that ask a worker about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gokiq.errors import PayloadError, ProtocolError
from gokiq.sidekiq.promotion import (
    Fate,
    Push,
    decode_promoted,
    encode_promote,
    encode_promoted,
    needs_client,
    promoted,
)

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "frames.json").read_text(encoding="utf-8")
)
KINDS = [Fate.DROP, Fate.ENQUEUE, Fate.SCHEDULE, Fate.KEEP, Fate.DEAD]
NOW = 1795489135.4380949


def test_only_enqueued_at_changes_when_all_else_is_there() -> None:
    member = (
        b'{"retry":5,"queue":"low","args":[1.0e5,"\xc3\xa9"],"jid":"j","created_at":1,'
        b'"x":{"a":[]},"enqueued_at":1}'
    )

    push = promoted(member, now=NOW, uses_ms=True)

    assert push == Push(Fate.ENQUEUE, queue="low", payload=member[:-2] + b"1795489135438}")


def test_sidekiq_7_gets_float_seconds() -> None:
    member = b'{"queue":"q","retry":true,"jid":"j","created_at":1.5}'

    assert (
        promoted(member, now=NOW, uses_ms=False).payload
        == member[:-1] + b',"enqueued_at":1795489135.4380949}'
    )


def test_missing_fields_get_sidekiqs_defaults() -> None:
    push = promoted(b'{"class":"A","args":[]}', now=NOW, uses_ms=True)

    job = json.loads(push.payload)
    assert push.queue == job["queue"] == "default"
    assert job["retry"] is True
    assert re.fullmatch("[0-9a-f]{24}", job["jid"])
    assert job["created_at"] == job["enqueued_at"] == 1795489135438


def test_retry_false_stays_false() -> None:
    assert json.loads(promoted(b'{"retry":false}', now=NOW, uses_ms=True).payload)["retry"] is False


@pytest.mark.parametrize("member", [b"{bad", b"[1]", b"", b"\xff"])
def test_what_is_no_object_is_an_error(member: bytes) -> None:
    with pytest.raises(PayloadError):
        promoted(member, now=NOW, uses_ms=True)


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (b'{"class":"A","args":[{"at":1}]}', False),
        (b'{"class":"A","args":[],"at":1.5}', True),
        (b'{"class":"A","args":[],"at":null}', True),
        (b'{"class":"A"}', True),
        (b'{"class":"A","args":null}', True),
        (b'{"args":[]}', True),
        (b'{"class":5,"args":[]}', True),
    ],
)
def test_what_is_no_ordinary_job_is_for_the_client(member: bytes, expected: bool) -> None:
    assert needs_client(member) is expected


def vectors(kind: str, *, error: bool = False) -> list[Any]:
    found = [v for v in VECTORS if v["type"] == kind and ("error" in v) == error]
    return [pytest.param(v, id=v["name"]) for v in found if v.get("error") in (None, "bad_body")]


@pytest.mark.parametrize("entry", vectors("PROMOTE"))
def test_vector_of_members(entry: dict[str, Any]) -> None:
    decoded = entry["decoded"]
    members = [bytes.fromhex(text) for text in decoded["members_hex"]]

    assert encode_promote(decoded["token"], members) == bytes.fromhex(entry["hex"])[8:]


@pytest.mark.parametrize("entry", vectors("PROMOTED"))
def test_vector_of_fates(entry: dict[str, Any]) -> None:
    body = bytes.fromhex(entry["hex"])[8:]
    pushes = [
        Push(KINDS[e["kind"]], e["queue"], e["score"], bytes.fromhex(e["text_hex"]))
        for e in entry["decoded"]["pushes"]
    ]

    assert decode_promoted(body) == (entry["decoded"]["token"], pushes)
    assert encode_promoted(entry["decoded"]["token"], pushes) == body


@pytest.mark.parametrize("entry", vectors("PROMOTED", error=True))
def test_vector_of_fates_that_cannot_be_read(entry: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="PROMOTED cannot be read"):
        decode_promoted(bytes.fromhex(entry["hex"])[8:])
