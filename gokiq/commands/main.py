"""gokiq-fast: arguments in, exit code out. Flags and codes are those of Sidekiq's own command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol

from gokiq import __version__, log
from gokiq.commands import give_back, web
from gokiq.commands import reload as reload_command
from gokiq.commands import status as status_command
from gokiq.commands.limit import LimitCommand, PauseCommand
from gokiq.config import EVENTS, LANES, from_arguments
from gokiq.errors import GokiqError

#: Clean stop, also when jobs had to be pushed back.
EXIT_OK = 0
#: Bad flag or value, app or Redis that does not come up; and -h, as Sidekiq has it.
EXIT_FAILURE = 1


class Command(Protocol):
    """A word that may stand in place of the server's flags."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Its own flags."""


#: Those that talk to running processes over Redis.
LIMIT, PAUSE, RESUME = LimitCommand(), PauseCommand(is_pause=True), PauseCommand(is_pause=False)
COMMANDS: dict[str, Command] = {
    "give-back": give_back,
    "limit": LIMIT,
    "pause": PAUSE,
    "reload": reload_command,
    "resume": RESUME,
    "status": status_command,
    "web": web,
}

EPILOG = """\
examples:
  gokiq-fast                               the Rails app in this folder, config/sidekiq.yml
  gokiq-fast -c 500 -q critical,3 -q default
  gokiq-fast -r ./app.rb --workers 4
  gokiq-fast status                        what waits and runs in each queue, and why not more
  gokiq-fast limit mailers 10              at most so many at once, from now on, see its -h
  gokiq-fast pause mailers                 claim no more jobs of a queue; resume: claim them again
  gokiq-fast reload                        load new code without a gap, see its -h
  gokiq-fast web                           Sidekiq's Web UI for the app, see its -h
  gokiq-fast give-back                     return the jobs of dead gokiq processes, see its -h

Everything that the app's own Sidekiq configuration sets (config/sidekiq.yml, initializers) counts.
environment: REDIS_URL REDIS_PROVIDER RAILS_ENV RAILS_MAX_THREADS WORKER_CONCURRENCY GOKIQ_RUBY
GOKIQ_WORKERS GOKIQ_LANE GOKIQ_EVENTS GOKIQ_HEALTH GOKIQ_LOG_LEVEL
"""


class _Parser(argparse.ArgumentParser):
    """Errors are one line with the next step; exit 1 as Sidekiq's (argparse's would be 2)."""

    def error(self, message: str) -> NoReturn:
        fail(f"{message}; see {self.prog} -h")

    def print_help(self, file: object = None) -> None:
        super().print_help(sys.stdout)
        sys.exit(EXIT_FAILURE)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = _Parser(
        prog="gokiq-fast",
        description="Run the Sidekiq jobs of an app, in fibers, losing none.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "-c", "--concurrency", metavar="INT", help="jobs at once in all workers together"
    )
    p.add_argument("-e", "--environment", metavar="ENV", help="application environment")
    p.add_argument("-g", "--tag", metavar="TAG", help="process tag for the Busy page")
    p.add_argument(
        "-q",
        "--queue",
        metavar="QUEUE[,WEIGHT]",
        action="append",
        help="queues to process, with weights",
    )
    p.add_argument(
        "-r", "--require", metavar="PATH", help="Rails app folder, or Ruby file with the jobs"
    )
    p.add_argument("-t", "--timeout", metavar="NUM", help="shutdown timeout in seconds")
    p.add_argument("-v", "--verbose", action="store_true", help="log more")
    p.add_argument("-C", "--config", metavar="PATH", help="path of the YAML configuration file")
    p.add_argument("-V", "--version", action="version", version=f"gokiq {__version__}")
    ours = p.add_argument_group("gokiq's own")
    ours.add_argument("--workers", metavar="NUM", help="Ruby processes to fork (default: cores)")
    ours.add_argument("--lane", choices=LANES, help="run jobs in fibers or in threads")
    ours.add_argument(
        "--events",
        choices=EVENTS,
        help="fire startup, quiet, shutdown in every worker, in one of them, or (auto, default) in "
        "every one but for schedulers, reapers and ports, which are for one",
    )
    ours.add_argument(
        "--job-timeout",
        metavar="SEC",
        help="longest run of a job without gokiq_timeout of its own (default: none)",
    )
    ours.add_argument(
        "--hang-timeout",
        metavar="SEC",
        help="kill a worker that gives no sign of life for so long (default: never)",
    )
    ours.add_argument(
        "--max-rss", metavar="MB", help="replace a worker whose resident memory is larger"
    )
    ours.add_argument(
        "--max-jobs", metavar="NUM", help="replace a worker that has run so many jobs"
    )
    ours.add_argument("--max-age", metavar="SEC", help="replace a worker that is so old")
    ours.add_argument(
        "--limit",
        metavar="TARGET=N",
        action="append",
        help="run at most N jobs of a queue, a class, or total at once; N/s: start so many a "
        "second; cluster:TARGET=N: in all processes together; repeatable",
    )
    ours.add_argument(
        "--adaptive",
        metavar="TARGET[=MIN..MAX]",
        action="append",
        help="find the limit of a queue, or total, by how long jobs take; repeatable",
    )
    ours.add_argument(
        "--health",
        metavar="ADDRESS",
        help="answer /live, /ready and /metrics on HOST:PORT, PORT or unix:PATH (default: nowhere)",
    )
    ours.add_argument("--ruby", metavar="PATH", help="Ruby to run the app with")
    ours.add_argument("--sidecar", metavar="unix:PATH", help="use a sidecar that runs already")
    return p


def fail(message: str) -> NoReturn:
    """One line on stderr, exit 1."""
    sys.stderr.write(f"gokiq-fast: {message}\n")
    sys.exit(EXIT_FAILURE)


def command_parser(name: str) -> argparse.ArgumentParser:
    """The command line of `gokiq-fast NAME`, NAME being one of COMMANDS."""
    p = _Parser(
        prog=f"gokiq-fast {name}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    COMMANDS[name].add_arguments(p)
    return p


def _run_command(name: str, argv: Sequence[str]) -> NoReturn:
    """Run one of COMMANDS to its exit. Raises GokiqError."""
    arguments = command_parser(name).parse_args(argv)
    if name == "give-back":
        sys.exit(give_back.run(arguments, os.environ))
    for word, command in (("limit", LIMIT), ("pause", PAUSE), ("resume", RESUME)):
        if name == word:
            sys.exit(command.run(arguments, os.environ))
    if name == "status":
        sys.exit(status_command.run(arguments, os.environ))
    if name == "reload":
        sys.exit(reload_command.run(arguments))
    web.run(web.from_arguments(arguments, os.environ), os.environ)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        try:
            _run_command(argv[0], argv[1:])
        except GokiqError as error:
            fail(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
    arguments = parser().parse_args(argv)
    from gokiq.runner import run  # after the parser: -V and -h answer at once

    try:
        config = from_arguments(arguments, os.environ)
        log.configure(level=config.log_level or "info")
        run(config)
    except GokiqError as error:
        log.flush()  # what led to it comes first
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
