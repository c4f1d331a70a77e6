"""Both implementations for each test that asks for `core` or `payload`; no network for any."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import NoReturn

import pytest
from hypothesis import settings

# The machine may be busy: how long an example takes says nothing. HYPOTHESIS_PROFILE=thorough
# takes some minutes.
settings.register_profile("unit", deadline=None, print_blob=True, max_examples=50)
settings.register_profile("thorough", settings.get_profile("unit"), max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))


@pytest.fixture(scope="session", params=["", "_py"], ids=["cython", "pure"])
def impl(request: pytest.FixtureRequest) -> str:
    """What the name of a module of this implementation ends in."""
    return str(request.param)


@pytest.fixture(scope="session")
def core(impl: str) -> ModuleType:
    return importlib.import_module(f"gokiq._core{impl}")


@pytest.fixture(scope="session")
def payload(impl: str) -> ModuleType:
    return importlib.import_module(f"gokiq._payload{impl}")


@pytest.fixture(scope="module", autouse=True)
def _no_network() -> Iterator[None]:
    def refuse(*args: object) -> NoReturn:
        raise AssertionError("a unit test uses the network")

    with pytest.MonkeyPatch.context() as patch:
        # Not the class itself: the socket pair inside an event loop is made of it.
        for verb in ("bind", "connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, verb, refuse)
        yield
