"""Flags and environment: what they become, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gokiq.commands.main import main, parser
from gokiq.config import Config, from_arguments
from gokiq.errors import ConfigError


@pytest.fixture(autouse=True)
def rails_app(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that we are in holds a Rails app."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "config").mkdir()
    (folder / "config" / "application.rb").touch()
    monkeypatch.chdir(folder)
    return folder


def config(*argv: str, **environ: str) -> Config:
    return from_arguments(parser().parse_args(argv), environ)


def test_without_flags_the_app_decides() -> None:
    found = config()

    assert (found.concurrency, found.timeout_s, found.slots, found.lane) == (
        None,
        None,
        None,
        "auto",
    )
    assert found.sidekiq_args == ()
    assert found.workers >= 1


def test_sidekiqs_flags_reach_sidekiqs_own_parser_with_absolute_paths(tmp_path: Path) -> None:
    app, yaml = tmp_path / "app.rb", tmp_path / "s.yml"
    app.touch()
    yaml.touch()

    found = config(
        "-c",
        "7",
        "-e",
        "staging",
        "-g",
        "shop",
        "-t",
        "9",
        "-q",
        "a,3",
        "-q",
        "b",
        "-v",
        "-r",
        str(app),
        "-C",
        str(yaml),
    )

    expected = ["-c", "7", "-e", "staging", "-g", "shop", "-t", "9", "-q", "a,3", "-q", "b"]
    assert list(found.sidekiq_args) == [*expected, "-r", str(app), "-C", str(yaml), "-v"]


def test_a_rails_folder_is_where_the_sidecar_runs(rails_app: Path) -> None:
    assert config("-r", str(rails_app)).app_directory == rails_app


def test_a_folder_without_an_app_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no Rails app there"):
        config("-r", str(tmp_path))

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no Rails app in this folder.*give -r PATH"):
        config()


def test_a_configuration_file_may_name_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "sidekiq.yml.erb").touch()
    monkeypatch.chdir(tmp_path)

    assert config().app_directory == tmp_path


def test_a_link_stays_a_link(rails_app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next deploy moves it."""
    link = rails_app.parent / "current"
    link.symlink_to(rails_app)
    (rails_app / "jobs.rb").touch()
    monkeypatch.chdir(link)

    assert config(PWD=str(link)).app_directory == link
    assert config("-r", "jobs.rb", PWD=str(link)).sidekiq_args == ("-r", f"{link}/jobs.rb")
    assert config("-r", str(link)).app_directory == link
    for elsewhere in ("", "nowhere", "/", str(link / "missing")):
        assert config(PWD=elsewhere).app_directory == rails_app


def test_worker_concurrency_is_slots_per_process() -> None:
    found = config("--workers", "3", WORKER_CONCURRENCY="40")

    assert (found.slots, found.concurrency) == (40, 120)
    assert found.sidekiq_args[:2] == ("-c", "120")


def test_a_flag_beats_the_environment() -> None:
    found = config(
        "-c",
        "9",
        "--workers",
        "2",
        "--lane",
        "thread",
        WORKER_CONCURRENCY="40",
        GOKIQ_WORKERS="5",
        GOKIQ_LANE="fiber",
    )

    assert (found.concurrency, found.workers, found.lane) == (9, 2, "thread")


@pytest.mark.parametrize(
    ("argv", "environ", "says"),
    [
        (["-c", "0"], {}, "-c 0: must be a whole number, 1 or more"),
        (["-c", "many"], {}, "-c many: must be a whole number"),
        (["-t", "-1"], {}, "-t -1: must be a whole number"),
        (["--workers", "x"], {}, "--workers x: must be a whole number"),
        ([], {"WORKER_CONCURRENCY": "none"}, "WORKER_CONCURRENCY none: must be"),
        ([], {"GOKIQ_LANE": "turbo"}, "GOKIQ_LANE turbo: must be one of auto, fiber, thread"),
        ([], {"GOKIQ_EVENTS": "none"}, "GOKIQ_EVENTS none: must be one of auto, every, one"),
        (["--sidecar", "unix:"], {}, "--sidecar unix:: must be unix:PATH"),
        (["--sidecar", f"unix:/{'d' * 107}"], {}, "the path has 108 bytes, at most 107 are"),
        (["-C", "/nowhere.yml"], {}, "-C /nowhere.yml: no such file"),
        (["-r", "/nowhere"], {}, "-r /nowhere: no such file or folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_value_names_the_flag_the_value_and_what_is_allowed(
    argv: list[str], environ: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        config(*argv, **environ)


def test_an_unknown_flag_is_one_line_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--turbo"])

    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error == "gokiq-fast: unrecognized arguments: --turbo; see gokiq-fast -h\n"


def test_version_is_0_and_help_is_1_as_sidekiq_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    codes = []
    for flag in ("-V", "-h"):
        with pytest.raises(SystemExit) as stopped:
            main([flag])
        codes.append(stopped.value.code)

    assert codes == [0, 1]
    assert "gokiq 0." in capsys.readouterr().out


def test_limits_are_kept_as_given_and_a_wrong_one_is_named() -> None:
    assert config("--limit", "total=5", "--limit", "mailers=3/s").limits == (
        "total=5",
        "mailers=3/s",
    )
    assert config().limits == ()
    with pytest.raises(ConfigError, match=r"--limit total 'x': must be a whole number"):
        config("--limit", "total=x")
