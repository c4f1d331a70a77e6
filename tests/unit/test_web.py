"""What `gokiq-fast web` accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gokiq.commands.main import command_parser
from gokiq.commands.web import WebConfig, from_arguments
from gokiq.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.rb").write_text("")
    (tmp_path / "shop" / "config").mkdir(parents=True)
    (tmp_path / "shop" / "config" / "application.rb").write_text("")
    (tmp_path / "auth").write_text("admin:from the file\n")
    (tmp_path / "half").write_text("admin\n")
    monkeypatch.chdir(tmp_path)


def config(*argv: str, **environ: str) -> WebConfig:
    return from_arguments(command_parser("web").parse_args(["-r", "app.rb", *argv]), environ)


def test_it_serves_on_this_host_alone_unless_told() -> None:
    found = config()

    assert (found.host, found.port, found.auth, found.server) == ("127.0.0.1", 9292, None, None)
    assert found.app == Path("app.rb").resolve()
    assert found.app_directory == Path.cwd()


def test_a_rails_app_is_served_from_its_folder() -> None:
    assert config("-r", "shop").app_directory == Path("shop").resolve()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_addresses_need_no_password(host: str) -> None:
    assert config("-b", host).auth is None


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.0.7", "shop.example", "::ffff:10.0.0.1", "127.0.0.1 "]
)
def test_other_addresses_need_one(host: str) -> None:
    with pytest.raises(ConfigError, match="set GOKIQ_WEB_AUTH"):
        config("-b", host)

    assert config("-b", host, GOKIQ_WEB_AUTH="admin:x").host == host


def test_the_file_wins_over_the_variable() -> None:
    found = config("--auth-file", "auth", GOKIQ_WEB_AUTH="other:one")

    assert found.auth == "admin:from the file"


@pytest.mark.parametrize("value", ["secret", ":secret", "admin:", ":"])
def test_a_half_password_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        config(GOKIQ_WEB_AUTH=value)

    assert str(refusal.value) == "GOKIQ_WEB_AUTH: must hold user:password"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-p", "x"], "-p x: must be a port"),
        (["-p", "65536"], "-p 65536: must be a port"),
        (["-p", "-1"], "-p -1: must be a port"),
        (["-r", "none.rb"], "-r none.rb: no Ruby file"),
        (["-r", "."], "-r .: no Ruby file, and no Rails app"),
        (["--auth-file", "none"], "--auth-file none: cannot be read: No such file"),
        (["--auth-file", "half"], "--auth-file half: must hold user:password"),
    ],
)
def test_wrong_values_are_named(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(*argv)
