"""The initializer that docs/fibers.md gives for SQLite: a connection that opens while another has
the lock waits, too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devtools.programs import ROOT, find_program

pytestmark = pytest.mark.acceptance

INITIALIZER = ROOT / "examples" / "rails_app" / "config" / "initializers" / "sqlite.rb"

#: Rails sets the journal's mode when it opens a connection. Whoever is the last to close one has
#: the file to itself for a moment, as here.
OPEN_WHILE_LOCKED = """
require "active_record"
require "sqlite3"
require ARGV[0]
file = ARGV[1]
other = SQLite3::Database.new(file)
other.execute("PRAGMA journal_mode = WAL")
other.execute("CREATE TABLE rows (id)")
other.execute("PRAGMA locking_mode = EXCLUSIVE")
other.execute("INSERT INTO rows VALUES (1)")
Thread.new { sleep 0.5; other.close }
ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: file, pool: 1)
puts ActiveRecord::Base.connection.select_value("SELECT COUNT(*) FROM rows")
"""


def test_a_connection_that_opens_waits_for_the_lock(tmp_path: Path) -> None:
    script = tmp_path / "open.rb"
    script.write_text(OPEN_WHILE_LOCKED)
    ruby = [str(find_program("ruby")), str(script), str(INITIALIZER), str(tmp_path / "a.sqlite3")]
    ended = subprocess.run(ruby, capture_output=True, text=True, timeout=60)

    assert (ended.stdout, ended.returncode) == ("1\n", 0), ended.stderr


def test_the_guide_shows_the_same_module() -> None:
    def code(text: str) -> list[str]:
        module = text[text.index("module PatientSQLite") : text.index("ActiveSupport.on_load")]
        lines = [line.partition("#")[0].strip() for line in module.splitlines()]
        return [line for line in lines if line]

    guide = (ROOT / "docs" / "fibers.md").read_text("utf-8")
    assert code(guide) == code(INITIALIZER.read_text("utf-8"))
