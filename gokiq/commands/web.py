"""`gokiq-fast web`: Sidekiq's own Web UI for an app that has no web process at hand. Checks what
was asked, then becomes the app's Ruby (`sidecar/bin/gokiq-web`).
"""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gokiq.errors import BootError, ConfigError
from gokiq.workers.supervisor import ruby_command

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9292
#: What the Ruby side can serve with, in the order in which it looks for them.
SERVERS = ("puma", "falcon", "webrick")
#: Holds user:password, as the file of --auth-file does.
AUTH_VARIABLE = "GOKIQ_WEB_AUTH"

EPILOG = """\
examples:
  gokiq-fast web                           the Rails app in this folder, http://127.0.0.1:9292
  gokiq-fast web -r ./app.rb -p 4567
  GOKIQ_WEB_AUTH=admin:secret gokiq-fast web -b 0.0.0.0

The app is loaded as its web process would load it, with its Redis and its extensions of the Web
UI. Beyond this host put a proxy with TLS before it: a browser sends what protects the buttons only
over https or to localhost.

environment: REDIS_URL REDIS_PROVIDER RAILS_ENV GOKIQ_RUBY GOKIQ_WEB_AUTH
"""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What is served, and where. `auth` is "user:password", or None on the loopback interface."""

    app: Path
    host: str
    port: int
    server: str | None
    environment: str | None
    ruby: str | None
    auth: str | None

    @property
    def app_directory(self) -> Path:
        """The folder to run in, as the server does."""
        return self.app if self.app.is_dir() else Path.cwd()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.description = "Serve the app's own Sidekiq Web UI, on this host only unless told."
    parser.epilog = EPILOG
    parser.add_argument(
        "-r", "--require", metavar="PATH", default=".", help="Rails app folder, or Ruby file"
    )
    parser.add_argument("-e", "--environment", metavar="ENV", help="application environment")
    parser.add_argument(
        "-b",
        "--bind",
        metavar="HOST",
        default=DEFAULT_HOST,
        help=f"address to listen on (default {DEFAULT_HOST}); any but this host's own needs a "
        "user and a password",
    )
    parser.add_argument(
        "-p",
        "--port",
        metavar="NUM",
        default=str(DEFAULT_PORT),
        help=f"port (default {DEFAULT_PORT}; 0: a free one)",
    )
    parser.add_argument(
        "--auth-file", metavar="PATH", help="file with user:password, instead of GOKIQ_WEB_AUTH"
    )
    parser.add_argument(
        "--server", choices=SERVERS, help="web server (default: the first that the app has)"
    )
    parser.add_argument("--ruby", metavar="PATH", help="Ruby to run the app with")


def from_arguments(arguments: argparse.Namespace, environ: Mapping[str, str]) -> WebConfig:
    """Raises ConfigError naming the flag or variable and what is allowed; never the password."""
    auth = _auth(arguments.auth_file, environ)
    host = DEFAULT_HOST if arguments.bind == "localhost" else arguments.bind
    if auth is None and not _is_loopback(host):
        raise ConfigError(
            f"-b {host}: others could read and delete jobs there; "
            f"set {AUTH_VARIABLE}=user:password or give --auth-file, or leave -b out"
        )
    return WebConfig(
        app=_app(arguments.require),
        host=host,
        port=_port(arguments.port),
        server=arguments.server,
        environment=arguments.environment,
        ruby=arguments.ruby or environ.get("GOKIQ_RUBY") or None,
        auth=auth,
    )


def run(config: WebConfig, environ: Mapping[str, str]) -> NoReturn:
    """Become the Ruby process that serves. Raises BootError when it cannot be started."""
    program = ruby_command(config.ruby, config.app_directory, "gokiq-web")
    argv = [*program, str(config.app), config.host, str(config.port), config.server or ""]
    env = {key: value for key, value in environ.items() if key != AUTH_VARIABLE}
    if config.auth is not None:
        env[AUTH_VARIABLE] = config.auth
    if config.environment is not None:
        env |= dict.fromkeys(("APP_ENV", "RAILS_ENV", "RACK_ENV"), config.environment)
    try:
        os.chdir(config.app_directory)
        os.execvpe(argv[0], argv, env)  # noqa: S606 - becoming Ruby is the command
    except OSError as error:
        raise BootError(
            f"cannot run {argv[0]}: {error.strerror}; set GOKIQ_RUBY to a Ruby 3.3 or later"
        ) from error


def _app(named: str) -> Path:
    path = Path(named).resolve()
    if path.is_file() or (path / "config" / "application.rb").is_file():
        return path
    raise ConfigError(
        f"-r {named}: no Ruby file, and no Rails app (config/application.rb is missing)"
    )


def _port(value: str) -> int:
    port = int(value) if value.isascii() and value.isdigit() else -1
    if not 0 <= port <= 65_535:
        raise ConfigError(f"-p {value}: must be a port, 0 to 65535")
    return port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _auth(file: str | None, environ: Mapping[str, str]) -> str | None:
    source, value = AUTH_VARIABLE, environ.get(AUTH_VARIABLE) or None
    if file is not None:
        source = f"--auth-file {file}"
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"{source}: cannot be read: {cause}") from error
    if value is None:
        return None
    user, colon, password = value.partition(":")
    if not (user and colon and password):
        raise ConfigError(f"{source}: must hold user:password")
    return value
