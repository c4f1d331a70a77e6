"""What a due member becomes when it is enqueued."""

from __future__ import annotations

import json
import re

import pytest

from gokiq.errors import PayloadError
from gokiq.poller import promoted

NOW = 1795489135.4380949


def test_only_enqueued_at_changes_when_all_else_is_there() -> None:
    member = (
        b'{"retry":5,"queue":"low","args":[1.0e5,"\xc3\xa9"],"jid":"j","created_at":1,'
        b'"x":{"a":[]},"enqueued_at":1}'
    )

    queue, payload = promoted(member, now=NOW, uses_ms=True)

    assert queue == "low"
    assert payload == member[:-2] + b"1795489135438}"


def test_sidekiq_7_gets_float_seconds() -> None:
    member = b'{"queue":"q","retry":true,"jid":"j","created_at":1.5}'

    assert (
        promoted(member, now=NOW, uses_ms=False)[1]
        == member[:-1] + b',"enqueued_at":1795489135.4380949}'
    )


def test_missing_fields_get_sidekiqs_defaults() -> None:
    queue, payload = promoted(b'{"class":"A","args":[]}', now=NOW, uses_ms=True)

    job = json.loads(payload)
    assert queue == job["queue"] == "default"
    assert job["retry"] is True
    assert re.fullmatch("[0-9a-f]{24}", job["jid"])
    assert job["created_at"] == job["enqueued_at"] == 1795489135438


def test_retry_false_stays_false() -> None:
    assert json.loads(promoted(b'{"retry":false}', now=NOW, uses_ms=True)[1])["retry"] is False


@pytest.mark.parametrize("member", [b"{bad", b"[1]", b"", b"\xff"])
def test_what_is_no_object_is_an_error(member: bytes) -> None:
    with pytest.raises(PayloadError):
        promoted(member, now=NOW, uses_ms=True)
