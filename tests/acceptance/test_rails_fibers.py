"""What docs/fibers.md calls measured is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devtools.programs import ROOT
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

pytestmark = pytest.mark.acceptance

SCRIPT = Path(__file__).with_name("what_yields.rb")
_ROW = re.compile(
    r"^\| (.+?) \| (yields|blocks|own|shared|lost|ignored|fails) \| measured(?! once)", re.MULTILINE
)


def test_what_is_said_to_yield_yields_and_what_is_said_to_block_blocks(tmp_path: Path) -> None:
    said = dict(_ROW.findall((ROOT / "docs" / "fibers.md").read_text(encoding="utf-8")))

    with RedisServer() as redis:
        # io_uring, where io-event was built with it, reads files without blocking.
        env = {"REDIS_URL": redis.url, "IO_EVENT_SELECTOR": "EPoll"}
        with ruby_script(SCRIPT, tmp_path, log=tmp_path / "log", env=env) as script:
            assert script.wait(60) == 0, script.tail()
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    measured = {name: verdict for verdict, _, name in (line.partition("\t") for line in lines)}

    assert measured == said
