"""Requests in, responses out; addresses; the text that Prometheus reads."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from gokiq.errors import ConfigError
from gokiq.host.address import Address, parse_address
from gokiq.observe.exposition import counter, gauge, labelled, render
from gokiq.observe.http import Page, answer

pytestmark = pytest.mark.unit

PAGES = {
    "/live": lambda: Page(b"live\n"),
    "/ready": lambda: Page(b"quiet\n", HTTPStatus.SERVICE_UNAVAILABLE),
}


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /live HTTP/1.1", 200, b"live\n"),
        (b"GET /live HTTP/1.0", 200, b"live\n"),
        (b"GET /live?verbose=1 HTTP/1.1", 200, b"live\n"),
        (b"HEAD /live HTTP/1.1", 200, b""),
        (b"GET /ready HTTP/1.1", 503, b"quiet\n"),
        (b"HEAD /ready HTTP/1.1", 503, b""),
        (b"GET / HTTP/1.1", 404, b"There are /live, /ready.\n"),
        (b"POST /live HTTP/1.1", 405, b"GET and HEAD only.\n"),
        (b"PRI * HTTP/2.0", 400, b"This is HTTP/1.1.\n"),
        (b"GET /live", 400, b"This is HTTP/1.1.\n"),
        (b"", 400, b"This is HTTP/1.1.\n"),
        (b"\xff\x00 \xff HTTP/1.1", 405, b"GET and HEAD only.\n"),
    ],
)
def test_every_request_has_its_answer(request_line: bytes, status: int, body: bytes) -> None:
    head, _, found = answer(request_line + b"\r\nHost: x\r\n\r\n", PAGES).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close" in head
    assert found == body


def test_head_tells_the_length_that_get_would_have() -> None:
    assert b"\r\nContent-Length: 5\r\n" in answer(b"HEAD /live HTTP/1.1\r\n\r\n", PAGES)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("7433", Address("127.0.0.1", 7433)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:7433", Address("::1", 7433)),
        ("localhost:7433", Address("localhost", 7433)),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address("--health", text) == address


@pytest.mark.parametrize("text", ["", "x", "x:", ":1", "x:y", "x:0", "x:65536", "x:-1", "x:²"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"GOKIQ_HEALTH .*: must be HOST:PORT"):
        parse_address("GOKIQ_HEALTH", text)


def test_the_path_of_a_socket_has_a_longest_length() -> None:
    parse_address("--health", "unix:" + "x" * 107)
    with pytest.raises(ConfigError, match="1 to 107 bytes"):
        parse_address("--health", "unix:" + "x" * 108)


def test_the_text_of_metrics() -> None:
    page = render(
        [
            counter("a_total", "Of a.", 3),
            gauge("b_seconds", "Of b.", 0.25),
            labelled("gauge", "c", "Of c.", "name", {'x"\\\n': 1e999}),
            labelled("gauge", "d", "Nothing.", "name", {}),
        ]
    )

    assert page.decode().splitlines() == [
        "# HELP a_total Of a.",
        "# TYPE a_total counter",
        "a_total 3",
        "# HELP b_seconds Of b.",
        "# TYPE b_seconds gauge",
        "b_seconds 0.25",
        "# HELP c Of c.",
        "# TYPE c gauge",
        'c{name="x\\"\\\\\\n"} inf',
    ]
