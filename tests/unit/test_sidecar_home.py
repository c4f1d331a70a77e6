"""Where the sidecar's Ruby files are found."""

from __future__ import annotations

from pathlib import Path

import pytest

import gokiq
from gokiq.errors import BootError
from gokiq.workers.supervisor import sidecar_home

pytestmark = pytest.mark.unit


def test_a_checkouts_or_a_wheels_files_are_found_beside_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GOKIQ_SIDECAR_HOME", raising=False)
    package = Path(gokiq.__file__).resolve().parent

    assert sidecar_home() in (package / "_sidecar", package.parent / "sidecar")


def test_a_wrong_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOKIQ_SIDECAR_HOME", str(tmp_path))

    with pytest.raises(BootError, match=f"missing in {tmp_path}"):
        sidecar_home()
