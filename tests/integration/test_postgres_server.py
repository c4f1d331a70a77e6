"""The PostgreSQL of benchmarks and tests, where script/setup --postgres has brought one."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.child import Child
from devtools.failure import DevError
from devtools.postgres import PostgresServer, check_postgres
from devtools.procstat import process_tree
from devtools.programs import find_program
from devtools.ruby import ruby_eval

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _needs_postgres() -> None:
    try:
        check_postgres()
    except DevError as error:
        pytest.skip(str(error))


def test_leaves_no_process_and_no_file() -> None:
    with PostgresServer() as server:
        processes = process_tree(server.pid)
        assert server.execute("SELECT 1 + 1, 'a'; SELECT NULL") == [["2", "a"], [""]]

    assert len(processes) > 1
    assert not any(process.is_alive for process in processes)
    assert not server.folder.exists()


def test_ends_while_a_client_waits_for_a_statement(tmp_path: Path) -> None:
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with PostgresServer() as server:
        command: list[str | Path] = [
            find_program("psql"),
            "-d",
            server.url,
            "-c",
            "SELECT pg_sleep(600)",
        ]
        with Child(command, log=tmp_path / "psql.log") as client:
            client.wait_until(
                lambda: server.execute(asleep) == [["1"]], timeout_s=30, what="it slept"
            )
            server.close()

            assert client.wait(30) != 0
            assert not server.folder.exists()


def test_refuses_more_connections_than_were_asked_for() -> None:
    code = """
      require "pg"
      begin
        connections = Array.new(20) { PG.connect("URL") }
      rescue PG::ConnectionBad => error
        print error.message[/too many clients/]
      end
    """
    with PostgresServer(max_connections=10) as server:
        assert ruby_eval(code.replace("URL", server.url)) == "too many clients"


def test_says_in_one_line_what_is_wrong_with_a_statement() -> None:
    with (
        PostgresServer() as server,
        pytest.raises(DevError, match=r'relation "nowhere" does not') as raised,
    ):
        server.execute("SELECT 1; SELECT * FROM nowhere")

    assert "\n" not in str(raised.value)


def test_says_what_to_run_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise DevError(f"{name} was not found", advice="Run script/setup")

    monkeypatch.setattr("devtools.postgres.find_program", missing)
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(DevError, match=r"postgres was not found.*script/setup --postgres"):
        PostgresServer()
