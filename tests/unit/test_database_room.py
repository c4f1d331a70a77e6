"""Whether the database has a connection for every job that may want one."""

from gokiq.app.info import Database
from gokiq.observe.database import CONNECTIONS, connections, warning


def test_nothing_is_said_where_there_is_room_or_nothing_is_known() -> None:
    assert warning(Database(20, 97), 4, [{CONNECTIONS: 17}, {}, {CONNECTIONS: "x"}]) == ""
    assert warning(None, 4, []) == ""
    assert connections(None, 4) == 0


def test_too_many_connections_here_are_told_with_what_to_set() -> None:
    line = warning(Database(50, 97), 4, [])

    assert "has 97 connections; 200 may be opened here (4 workers with 50 each): set pool" in line
    assert "to 24," in line
    assert connections(Database(50, 97), 4) == 200


def test_other_processes_count() -> None:
    line = warning(Database(20, 97), 2, [{CONNECTIONS: 40}, {CONNECTIONS: 40}])

    assert "40 may be opened here (2 workers with 20 each) and 80 by 2 other gokiq" in line
    assert "to 16," in line
