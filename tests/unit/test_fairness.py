"""Tenants: where a payload names one, and that each gets its share."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gokiq.claiming.tenants import KEY_LENGTH, NOBODY, TenantPath, Tenants, parse_tenants
from gokiq.errors import ConfigError

SYMBOL = {"_aj_serialized": "ActiveJob::Serializers::SymbolSerializer", "value": "tenant_id"}
GLOBAL_ID = {"_aj_globalid": "gid://shop/Account/7"}


def payload(**fields: Any) -> bytes:
    return json.dumps({"class": "Job", "args": [], **fields}).encode()


@pytest.mark.parametrize(
    ("path", "fields", "key"),
    [
        ("args.0", {"args": [7, 8]}, "7"),
        ("args.1", {"args": [7, "acme"]}, "acme"),
        ("args.0.account_id", {"args": [{"account_id": 7}]}, "7"),
        ("args.0.account.id", {"args": [{"account": {"id": "x"}}]}, "x"),
        ("tenant", {"tenant": "acme"}, "acme"),
        ("cattr.tenant_id", {"cattr": {"tenant_id": 5, "plan": "x"}}, "5"),
        ("cattr.tenant_id", {"cattr": [[SYMBOL, 5]]}, "5"),
        ("cattr.tenant_id", {"cattr": [["plan", "x"], ["tenant_id", 5]]}, "5"),
        ("args.0.id", {"wrapped": "J", "args": [{"arguments": [{"id": 7}]}]}, "7"),
        ("args.0", {"wrapped": "J", "args": [{"arguments": [GLOBAL_ID]}]}, json.dumps(GLOBAL_ID)),
        ("args.0", {"args": [True]}, "true"),
    ],
    ids=[
        "argument",
        "second argument",
        "keyword",
        "nested",
        "field of its own",
        "current attribute, sidekiq 7",
        "current attribute, sidekiq 8",
        "current attribute with string keys",
        "active job",
        "record of an active job",
        "boolean",
    ],
)
def test_reads_the_tenant(path: str, fields: dict[str, Any], key: str) -> None:
    assert TenantPath(path).read(payload(**fields)) == key


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"null",
        b"\xff",
        payload(args=[]),
        payload(args=[7]),
        payload(args=[{"account_id": None}]),
        payload(args=[[["account_id"]]]),
        payload(args="text"),
        payload(args={"0": []}),
        payload(wrapped="J", args=[]),
        payload(wrapped="J", args=[{"arguments": 5}]),
        # No key is that deep. The one is read by every Python, the other by some.
        b'{"args":[{"account_id":' + b"[" * 20 + b"]" * 20 + b"}]}",
        b'{"args":[{"account_id":' + b"[" * 5000 + b"]" * 5000 + b"}]}",
        b'{"args":[{"account_id":' + b"9" * 5000 + b"}]}",
        b'{"args":[{"account_id":nonsense}]}',
    ],
)
def test_a_job_that_names_no_tenant_is_nobodys(broken: bytes) -> None:
    assert TenantPath("args.0.account_id").read(broken) == NOBODY


@given(st.binary(max_size=60), st.sampled_from(["args", "args.0", "args.0.a", "cattr.x", "a.0"]))
def test_no_payload_is_too_strange(raw: bytes, path: str) -> None:
    assert isinstance(TenantPath(path).read(raw), str)
    assert isinstance(TenantPath(path).read(b'{"args":' + raw + b',"cattr":[[' + raw), str)


def test_a_long_key_is_cut() -> None:
    assert len(TenantPath("args.0").read(payload(args=["x" * 10_000]))) == KEY_LENGTH


@pytest.mark.parametrize("path", ["", ".", "args.", ".0", "args..id"])
def test_a_path_with_a_hole_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="such as args\\.0\\.account_id"):
        TenantPath(path)


def test_settings_name_queues_and_paths() -> None:
    paths = parse_tenants({"default": "args.0.account_id", "mailers": "cattr.tenant_id"})

    assert {queue: path.path for queue, path in paths.items()} == {
        "default": "args.0.account_id",
        "mailers": "cattr.tenant_id",
    }
    assert parse_tenants(None) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("args.0", "tenants 'args.0': must be a mapping"),
        ({"default": 5}, "tenants.default 5: must be a path"),
        ({"default": "args."}, "tenants.default: tenant key 'args.'"),
    ],
)
def test_a_wrong_setting_is_named(settings: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_tenants(settings)


def test_a_tenant_with_many_running_jobs_waits_for_the_others() -> None:
    tenants = Tenants(TenantPath("args.0"))
    tenants.turns(9, {"big": 99}, 0.0)
    for number in range(9):
        tenants.started(number, "big", 0.0)

    turns = tenants.turns(9, {"big": 99, "small": 99, "tiny": 2}, 0.0)

    assert turns.count("big") == 0
    assert (turns.count("small"), turns.count("tiny")) == (7, 2)


def test_what_ended_gives_its_share_back() -> None:
    tenants = Tenants(TenantPath("args.0"))
    waiting = {"a": 99, "b": 99}
    tenants.turns(4, waiting, 0.0)
    for number in range(4):
        tenants.started(number, "a", 0.0)

    tenants.ended([0, 1, 2, 3, 77], 0.0)

    assert tenants.running() == {}
    assert sorted(tenants.turns(4, waiting, 0.0)) == ["a", "a", "b", "b"]


def test_weights_of_tenants_hold() -> None:
    tenants = Tenants(TenantPath("args.0"), {"paying": 3.0})

    turns = tenants.turns(40, {"paying": 99, "free": 99}, 0.0)

    assert turns.count("paying") == 30
