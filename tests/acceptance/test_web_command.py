"""`gokiq-fast web` serves the app's own Web UI: to this host alone, or to those with a password."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from devtools.browser import Browser
from devtools.child import Child
from devtools.programs import ROOT
from devtools.redis_server import RedisServer
from tests.compat.harness import V7, V8, Version, payload

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

HERE = Path(__file__).parent
APP = HERE / "app" / "web.rb"
READY = re.compile(r"Web UI is at http://(\S+):(\d+)/ \(Sidekiq (\S+), (\w+)\)")


@pytest.fixture(params=[V8, V7], ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        yield redis


class Site:
    """A running `gokiq-fast web`."""

    def __init__(self, child: Child, port: int, server: str) -> None:
        self.child = child
        self.port = port
        self.server = server
        self.url = f"http://127.0.0.1:{port}"

    def ask(
        self, path: str, method: str = "GET", body: str = "", **headers: str
    ) -> tuple[int, str]:
        """Status and text of an answer; `_` in a header's name stands for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextmanager
def site(
    redis: RedisServer,
    folder: Path,
    *args: str,
    version: Version = V8,
    app: Path = APP,
    env: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    log = folder / "web.log"
    own = {
        "REDIS_URL": redis.url,
        "TEST_REDIS": redis.url,
        "GOKIQ_RUBY": str(version.ruby),
        **(env or {}),
    }
    argv = [sys.executable, "-m", "gokiq", "web", "-r", str(app), "-p", "0", *args]
    with Child(argv, log=log, env=own, cwd=ROOT, name="gokiq-fast web") as child:
        child.wait_until(
            lambda: bool(READY.search(log.read_text())), timeout_s=60, what="it served"
        )
        found = READY.search(log.read_text())
        assert found is not None
        yield Site(child, int(found[2]), found[4])


def run(*args: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of a `gokiq-fast web` that does not come up."""
    command = [sys.executable, "-m", "gokiq", "web", *args]
    own = {"TEST_REDIS": "redis://127.0.0.1:1/0", "GOKIQ_RUBY": str(V8.ruby)}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **own, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    return child.returncode, output


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_the_apps_own_web_ui_is_served_and_its_buttons_work(
    redis: RedisServer, tmp_path: Path, version: Version
) -> None:
    jobs = [payload(version, "HelloJob", i) for i in range(2)]
    redis.client.sadd("queues", "default")
    redis.client.lpush("queue:default", *jobs)
    jid = json.loads(jobs[0])["jid"]
    with (
        site(redis, tmp_path, version=version, env={"REDIS_URL": "redis://127.0.0.1:1/0"}) as web,
        Browser(web.url) as browser,
    ):
        assert browser.visit("/shop") == 200
        assert "shop: server=nil environment=development,development" in browser.text()
        assert browser.visit("/queues/default") == 200
        browser.press("Delete", within=browser.page.locator(f"tr[title='{jid}']"))
        assert redis.client.lrange("queue:default", 0, -1) == [jobs[1]]

        forged = f"authenticity_token=x&key_val={jobs[1].decode()}"
        form = "application/x-www-form-urlencoded"
        status, _ = web.ask("/queues/default/delete", "POST", forged, Content_Type=form)
        assert status == 403
        assert redis.client.llen("queue:default") == 1


@pytest.mark.parametrize("server", ["puma", "falcon", "webrick"])
def test_each_web_server_serves_and_stops(redis: RedisServer, tmp_path: Path, server: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with site(redis, tmp_path, "--server", server) as web:
            assert web.server == server
            idle = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
            with closing(idle):
                idle.request("GET", "/busy")
                answer = idle.getresponse()
                assert answer.status == 200
                assert "Sidekiq" in answer.read().decode()
                assert web.ask("/nowhere")[0] == 404
                web.child.send_signal(number)
                assert web.child.wait(20) == 0
        lines = web.child.log.read_text().splitlines()
        assert [line for line in lines if not READY.search(line) and "INFO" not in line] == []
        web.child.log.unlink()


def test_a_rails_app_is_served_with_the_tabs_of_its_routes(
    redis: RedisServer, tmp_path: Path, version: Version
) -> None:
    app = HERE / "web_rails_app"
    with site(redis, tmp_path, "-e", "staging", version=version, app=app) as web:
        status, text = web.ask("/till")
        assert status == 200
        assert f"till: WebShop::Application in {app}, staging" in text
        assert ">Till<" in re.sub(r"\s", "", web.ask("/")[1])


def test_only_this_host_is_served_without_a_password(redis: RedisServer, tmp_path: Path) -> None:
    with site(redis, tmp_path) as web:
        for name in ("127.0.0.1", "localhost", f"localhost:{web.port}", "[::1]:80", "127.1.2.3"):
            assert web.ask("/", Host=name)[0] == 200, name
        for name in ("shop.example", "localhost.shop.example", "127.0.0.1.shop.example", ""):
            assert web.ask("/", Host=name)[0] in (400, 403), name
        listening = Path(f"/proc/{web.child.pid}/net/tcp").read_text()
        assert f"0100007F:{web.port:04X}" in listening
        assert f"00000000:{web.port:04X}" not in listening


def test_others_need_the_password(redis: RedisServer, tmp_path: Path) -> None:
    secret = "sésame:with:colons"
    file = tmp_path / "auth"
    file.write_text(f"admin:{secret}\n")
    ways: list[tuple[list[str], dict[str, str]]] = [
        ([], {"GOKIQ_WEB_AUTH": f"admin:{secret}"}),
        (["--auth-file", str(file)], {"GOKIQ_WEB_AUTH": "other:one"}),
    ]
    for args, env in ways:
        with site(redis, tmp_path, "-b", "0.0.0.0", *args, env=env) as web:
            assert web.ask("/")[0] == 401
            for user, password in (
                ("admin", "wrong"),
                ("other", "one"),
                ("admin", ""),
                ("", secret),
                ("admin", secret[:-1]),
            ):
                assert web.ask("/", Authorization=basic(user, password))[0] == 401, user
            known = basic("admin", secret)
            assert web.ask("/", Authorization=known, Host="shop.example")[0] == 200
            assert "password=nil" in web.ask("/shop", Authorization=known)[1]
            title = Path(f"/proc/{web.child.pid}/cmdline").read_bytes()
            assert b"gokiq-web" in title
            for place in (title, web.child.log.read_bytes()):
                assert b"with:colons" not in place
        web.child.log.unlink()


def test_what_cannot_be_served_is_told_in_one_line(redis: RedisServer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.rb"
    broken.write_text('raise "out of order"\n')
    leaving = tmp_path / "leaving.rb"
    leaving.write_text("exit 3\n")
    open_to_all = "others could read and delete jobs there; set GOKIQ_WEB_AUTH"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        here = {"TEST_REDIS": redis.url}
        for args, env, line in (
            (["-r", str(APP), "-b", "0.0.0.0"], here, f"-b 0.0.0.0: {open_to_all}"),
            (["-r", str(APP), "-b", "::"], here, f"-b ::: {open_to_all}"),
            (
                ["-r", str(APP), "-p", port],
                here,
                f"cannot listen on 127.0.0.1, port {port}: Address",
            ),
            (["-r", str(APP), "-p", "0"], {}, "Redis does not answer: "),
            (
                ["-r", str(broken), "-p", "0"],
                here,
                "the app failed to boot: RuntimeError: out of order",
            ),
            (
                ["-r", str(leaving), "-p", "0"],
                here,
                "the app failed to boot: SystemExit: the app called",
            ),
            (["-r", str(tmp_path / "none.rb")], here, f"-r {tmp_path}/none.rb: no Ruby file"),
            (["-r", str(APP), "--ruby", "/no/ruby"], here, "no Ruby found (/no/ruby)"),
            (["--frobnicate"], here, "unrecognized arguments: --frobnicate"),
        ):
            code, output = run(*args, env=env)
            assert code == 1, output
            assert output.startswith(f"gokiq-fast: {line}"), output
            assert output.count("\n") == 1, output
