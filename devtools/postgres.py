"""A private PostgreSQL on a Unix socket, without a TCP port, gone when its block is left."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from devtools.child import Child, uninterrupted
from devtools.failure import DevError
from devtools.programs import ROOT, find_program
from devtools.ruby import ruby_eval

#: Time that initdb, a start, a stop and one statement may take, in seconds.
TIMEOUT_S = 60.0
#: Who runs it when we are root, whom it refuses.
UNPRIVILEGED = "nobody"
#: What to do when there is none.
ADVICE = "Run script/setup --postgres"

# No flush to the disk: what is measured is not this disk, and the data is thrown away.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "timezone": "GMT",
    "log_timezone": "GMT",
}


def check_postgres() -> None:
    """Raises DevError unless there is a server, and a Ruby that can speak to it."""
    find_program("postgres")
    ruby_eval('require "pg"')


class PostgresServer:
    """A server with its data in a temporary folder; user and database are "postgres".

    `settings` are those of postgresql.conf. Leaving the block ends the server and removes the
    folder.
    """

    def __init__(
        self,
        *,
        max_connections: int = 100,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        # Short on purpose: the path of a Unix socket holds about 100 bytes.
        self.folder = Path(tempfile.gettempdir(), f"gokiq-postgres-{secrets.token_hex(4)}")
        self.url = f"postgres:///postgres?user=postgres&host={self.folder}"
        self.log = log or self.folder / "postgres.log"
        self._data = self.folder / "data"
        all_settings = {
            "unix_socket_directories": str(self.folder),
            "max_connections": str(max_connections),
            **_SETTINGS,
            **(settings or {}),
        }
        options = [part for key, value in all_settings.items() for part in ("-c", f"{key}={value}")]
        command = [*_as_unprivileged(), _program("postgres"), "-D", self._data]
        self._child = Child(
            [*command, *options],
            log=self.log,
            cwd=Path("/"),
            name="postgres",
        )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def start(self) -> Self:
        """Make its data folder, start it and wait until it answers. Raises DevError."""
        self.folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        arguments = ("-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync")
        _run([*_as_unprivileged(), _program("initdb"), "-D", self._data, *arguments], "initdb")
        self._child.start()
        self._child.wait_until(
            self._is_ready, timeout_s=TIMEOUT_S, what="it was ready to accept connections"
        )
        return self

    def execute(self, sql: str) -> list[list[str]]:
        """Run statements, all or none, and return the rows as text. Raises DevError."""
        options = ("-X", "-qAt", "-F", "\t", "-1", "-v", "ON_ERROR_STOP=1", "-f", "-")
        said = _run([_program("psql"), *options, "-d", self.url], "psql", sql)
        return [line.split("\t") for line in said.splitlines()]

    def close(self) -> None:
        """End it, whoever is connected, and remove its folder."""
        with uninterrupted():
            if self._child.is_running:
                # Its fast shutdown; at TERM it would wait for its clients.
                self._child.send_signal(signal.SIGINT)
                try:
                    self._child.wait(TIMEOUT_S)
                finally:
                    self._child.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ready(self) -> bool:
        said = self.log.read_text(encoding="utf-8", errors="replace")
        return "ready to accept connections" in said


def bring_postgres(say: Callable[[str], object]) -> None:
    """Have script/setup bring one where there is none, after a line that says so. Raises DevError
    when there is none afterwards.
    """
    try:
        _program("postgres")
    except DevError:
        say("No PostgreSQL here yet: script/setup --postgres brings one (80 MB)")
        subprocess.run([str(ROOT / "script" / "setup"), "--postgres"], check=False)  # noqa: S603 - our own script
        _program("postgres")


def _program(name: str) -> Path:
    try:
        return find_program(name)
    except DevError as error:
        raise DevError(error.cause, advice=ADVICE) from error


def _as_unprivileged() -> list[str | Path]:
    """What to put before a command that root may not run."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(UNPRIVILEGED)
    return [
        find_program("setpriv"),
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
    ]


def _run(command: list[str | Path], name: str, text: str | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - running programs is what this is for
            [str(part) for part in command],
            input=text,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DevError(f"{name} does not run: {error}", advice=ADVICE) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        # psql shows the place of the error below it.
        said = next((line for line in lines if "ERROR" in line or "FATAL" in line), lines[-1])
        raise DevError(f"{name} failed: {said}")
    return done.stdout
