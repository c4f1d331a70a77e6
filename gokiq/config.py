"""One frozen Config from flags and environment; what the app itself configures comes later, with
HELLO.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gokiq.errors import ConfigError
from gokiq.host.address import PATH_BYTES, Address, parse_address
from gokiq.host.cpus import usable_cpus
from gokiq.limits.in_force import check_flags
from gokiq.log import LEVELS

#: Default shutdown timeout, seconds (Sidekiq's own).
DEFAULT_TIMEOUT_S = 25
LANES = ("auto", "fiber", "thread")
#: In which workers the app's lifecycle events fire.
EVENTS = ("auto", "every", "one")


@dataclass(frozen=True, slots=True)
class Config:
    """What the operator asked for. None means: the app's own Sidekiq configuration decides."""

    concurrency: int | None
    timeout_s: int | None
    workers: int
    #: Jobs at once in one worker.
    slots: int | None
    lane: str
    events: str
    #: Longest run of a job that says nothing itself, and of a worker's silence; None: for ever.
    job_timeout_s: float | None
    hang_timeout_s: float | None
    #: Of one worker: resident memory in MB, jobs, seconds; None: unlimited.
    max_rss_mb: int | None
    max_jobs: int | None
    max_age_s: float | None
    #: `TARGET=N` and the like, as given.
    limits: tuple[str, ...]
    #: `TARGET` or `TARGET=MIN..MAX`, as given.
    adaptive: tuple[str, ...]
    #: Where probes are answered; None: nowhere.
    health: Address | None
    ruby: str | None
    #: Socket of a sidecar that runs already; None: start one.
    sidecar: str | None
    #: With links in it as the operator has named it.
    app_directory: Path
    #: Arguments for Sidekiq's own command line in the sidecar.
    sidekiq_args: tuple[str, ...]
    tag: str | None
    verbose: bool
    #: Of our own lines; None: as the app's Sidekiq logs.
    log_level: str | None


def from_arguments(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """Merge flags and environment. Raises ConfigError naming the flag or variable, its value and
    what is allowed.
    """
    here = _here(environ)
    check_flags(arguments.limit or (), arguments.adaptive or ())
    require = arguments.require
    directory = Path(require) if require and Path(require).is_dir() else Path(".")
    _check_paths(arguments, directory)
    workers = _workers(arguments.workers, arguments.concurrency, environ)
    slots = _positive("WORKER_CONCURRENCY", environ.get("WORKER_CONCURRENCY") or None)
    concurrency = _positive("-c", arguments.concurrency)
    if concurrency is None and slots is not None:
        concurrency = slots * workers
    verbose = bool(arguments.verbose) or environ.get("DEBUG_INVOCATION") == "1"
    return Config(
        concurrency=concurrency,
        timeout_s=_positive("-t", arguments.timeout),
        workers=workers,
        slots=slots,
        lane=_choice("--lane", arguments.lane, "GOKIQ_LANE", environ, LANES),
        events=_choice("--events", arguments.events, "GOKIQ_EVENTS", environ, EVENTS),
        job_timeout_s=_seconds("--job-timeout", arguments, environ, "GOKIQ_JOB_TIMEOUT"),
        hang_timeout_s=_seconds("--hang-timeout", arguments, environ, "GOKIQ_HANG_TIMEOUT"),
        max_rss_mb=_count("--max-rss", arguments, environ, "GOKIQ_MAX_RSS"),
        max_jobs=_count("--max-jobs", arguments, environ, "GOKIQ_MAX_JOBS"),
        max_age_s=_seconds("--max-age", arguments, environ, "GOKIQ_MAX_AGE"),
        limits=tuple(arguments.limit or ()),
        adaptive=tuple(arguments.adaptive or ()),
        health=_health(arguments.health, environ),
        sidecar=_sidecar(arguments.sidecar),
        ruby=arguments.ruby or environ.get("GOKIQ_RUBY") or None,
        app_directory=here / directory,
        sidekiq_args=tuple(_sidekiq_args(arguments, concurrency, here)),
        tag=arguments.tag,
        verbose=verbose,
        log_level=_log_level(environ) or ("debug" if verbose else None),
    )


def _here(environ: Mapping[str, str]) -> Path:
    """Our folder as the shell names it: a link that the next deploy moves is still a link then."""
    named = Path(environ.get("PWD", ""))
    try:
        if named.is_absolute() and named.samefile("."):
            return named
    except OSError:
        pass
    return Path.cwd()


def _sidekiq_args(arguments: argparse.Namespace, concurrency: int | None, here: Path) -> list[str]:
    args: list[str] = []
    flags = (
        ("-c", concurrency),
        ("-e", arguments.environment),
        ("-g", arguments.tag),
        ("-t", arguments.timeout),
    )
    for flag, value in flags:
        if value is not None:
            args += [flag, str(value)]
    for queue in arguments.queue or ():
        args += ["-q", queue]
    # The sidecar runs in the app's folder; paths are given as the operator sees them.
    for flag, path in (("-r", arguments.require), ("-C", arguments.config)):
        if path is not None:
            args += [flag, str(here / path)]
    if arguments.verbose:
        args.append("-v")
    return args


def _check_paths(arguments: argparse.Namespace, directory: Path) -> None:
    named, file = arguments.require, arguments.config
    if arguments.sidecar is not None:
        return  # whoever started it has loaded the app
    if file is not None and not Path(file).is_file():
        raise ConfigError(f"-C {file}: no such file")
    if named is not None and not Path(named).exists():
        raise ConfigError(
            f"-r {named}: no such file or folder; give a Ruby file or a Rails app's folder"
        )
    if named is not None and Path(named).is_file():
        return
    if (directory / "config" / "application.rb").is_file():
        return
    if named is not None:
        raise ConfigError(f"-r {named}: no Rails app there (config/application.rb is missing)")
    # A configuration file may name what to load.
    if file is None and not list(directory.glob("config/sidekiq.yml*")):
        raise ConfigError(
            "no Rails app in this folder (config/application.rb is missing); "
            "run it in one, or give -r PATH"
        )


def _workers(flag: str | None, concurrency: str | None, environ: Mapping[str, str]) -> int:
    if flag is not None:
        return _positive("--workers", flag) or 1
    named = environ.get("GOKIQ_WORKERS")
    if named:
        return _positive("GOKIQ_WORKERS", named) or 1
    # A worker without a slot would be idle for ever.
    return min(usable_cpus(), _positive("-c", concurrency) or sys.maxsize)


def _sidecar(value: str | None) -> str | None:
    if value is None:
        return None
    path = value.removeprefix("unix:")
    if path == value or not path:
        raise ConfigError(f"--sidecar {value}: must be unix:PATH, the socket of a running sidecar")
    size = len(os.fsencode(path))
    if size > PATH_BYTES:
        raise ConfigError(
            f"--sidecar {value}: the path has {size} bytes, at most {PATH_BYTES} are allowed"
        )
    return path


def _health(flag: str | None, environ: Mapping[str, str]) -> Address | None:
    if flag is not None:
        return parse_address("--health", flag)
    named = environ.get("GOKIQ_HEALTH")
    return parse_address("GOKIQ_HEALTH", named) if named else None


def _log_level(environ: Mapping[str, str]) -> str | None:
    if not environ.get("GOKIQ_LOG_LEVEL"):
        return None
    return _choice("", None, "GOKIQ_LOG_LEVEL", environ, LEVELS)


def _choice(
    flag: str, value: str | None, variable: str, environ: Mapping[str, str], allowed: Sequence[str]
) -> str:
    """The first of `allowed` is the default."""
    chosen = value or environ.get(variable) or allowed[0]
    if chosen not in allowed:
        name = flag if value else variable
        raise ConfigError(f"{name} {chosen}: must be one of {', '.join(allowed)}")
    return chosen


def _count(
    flag: str, arguments: argparse.Namespace, environ: Mapping[str, str], variable: str
) -> int | None:
    """A flag or its variable as a positive number, None when neither is given."""
    given: str | None = getattr(arguments, flag.strip("-").replace("-", "_"))
    if given is not None:
        return _positive(flag, given)
    return _positive(variable, environ.get(variable) or None)


def _seconds(
    flag: str, arguments: argparse.Namespace, environ: Mapping[str, str], variable: str
) -> float | None:
    """A flag or its variable as positive seconds, None when neither is given."""
    given = getattr(arguments, flag.strip("-").replace("-", "_"))
    value = given if given is not None else environ.get(variable) or None
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        name = flag if given is not None else variable
        raise ConfigError(f"{name} {value}: must be a positive number of seconds")
    return seconds


def _positive(name: str, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigError(f"{name} {value}: must be a whole number, 1 or more")
    return number
