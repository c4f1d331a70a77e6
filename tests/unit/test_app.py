"""What a sidecar says of itself, when it says something else than it should."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from devtools.null_sidecar import hello
from gokiq.app.info import AppInfo, Database, Route, app_info, parse_hello
from gokiq.errors import ProtocolError

VALUES = [None, True, -1, 1e999, "", "x", "\ud800", [], [[]], [None], [["a"]], {}, {"a": 1}]


def body(**changes: Any) -> bytes:
    return json.dumps(hello(redis=Path("/redis.sock")) | changes).encode()


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(
    "key", [*hello(redis=Path("/redis.sock")), "labels", "logger_level", "gokiq"]
)
def test_any_value_of_any_key_is_taken_or_refused(key: str, value: Any) -> None:
    with contextlib.suppress(ProtocolError):
        app_info(parse_hello(body(**{key: value})))


@pytest.mark.parametrize("key", ["pid", "ppid"])
@pytest.mark.parametrize("value", ["x", 1.5, 1e999, [], {}, -1, True], ids=repr)
def test_a_process_that_is_no_process_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ProtocolError, match=f"HELLO has the {key} "):
        parse_hello(body(**{key: value}))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"protocol":' + b"1" * 5000 + b"}"]
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="HELLO"):
        parse_hello(text)


def test_what_the_app_and_its_classes_ask_of_us_is_kept_as_it_is() -> None:
    said = {
        "gokiq": {"limits": {"total": 5}},
        "classes": {"ImportJob": {"limit": 1}},
        "database": {"connections": 5, "max_connections": 97},
    }

    app = app_info(parse_hello(body(**said)))

    assert app.settings == {"limits": {"total": 5}}
    assert app.classes == {"ImportJob": {"limit": 1}}
    assert app.database == Database(5, 97)
    assert app_info(parse_hello(body())).settings == {}


def served(*queues: str, capsule: str = "default") -> AppInfo:
    said = hello(redis=Path("/redis.sock"), queues=[(queue, 0) for queue in queues])
    said["sidekiq"]["capsules"][0]["name"] = capsule
    return app_info(said)


def test_an_app_that_follows_another_keeps_its_routes_and_adds_its_own() -> None:
    app = served("c", "a").following(served("a", "b"))

    assert [route.queue for route in app.routes] == ["a", "b", "c"]
    assert app.live_routes == {0, 2}
    assert app.queue_names == ("c", "a")
    assert served("b").following(app).routes == app.routes


def test_a_route_without_a_capsule_is_greeted_under_the_name_of_another() -> None:
    app = served("a", capsule="new").following(served("a", capsule="old"))

    assert app.routes == (Route("old", "a"), Route("new", "a"))
    assert app.live_routes == {1}
    assert app.wire_routes() == 2 * [{"capsule": "new", "queue": "a"}]
