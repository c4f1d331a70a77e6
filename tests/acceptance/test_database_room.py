"""A real PostgreSQL with fewer connections than the workers may open: the log says so at boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.failure import DevError
from devtools.gokiq import GokiqFast
from devtools.postgres import PostgresServer, check_postgres
from devtools.redis_server import RedisServer

pytestmark = pytest.mark.acceptance

APP = """
require "sidekiq"
require "active_record"
ActiveRecord::Base.establish_connection(ENV.fetch("DATABASE_URL") + "&pool=#{ENV.fetch("POOL")}")
ActiveRecord::Base.connection_pool
"""


@pytest.mark.parametrize(("pool", "is_told"), [("30", True), ("4", False)])
def test_a_database_with_too_few_connections_is_told_at_boot(
    tmp_path: Path, pool: str, is_told: bool
) -> None:
    try:
        check_postgres()
    except DevError as error:
        pytest.skip(str(error))
    app = tmp_path / "app.rb"
    app.write_text(APP)
    with RedisServer() as redis, PostgresServer(max_connections=20) as database:
        env = {"DATABASE_URL": database.url, "POOL": pool}
        log = tmp_path / "gokiq.log"
        args = ("-r", str(app), "-c", "80", "--workers", "2", "-t", "1")
        with GokiqFast(*args, redis=redis, log=log, env=env) as server:
            server.wait_ready()
        said = "may be opened here (2 workers with 30 each)" in log.read_text()
        assert said == is_told, log.read_text()
