"""Every way in which Sidekiq can be told where its Redis is, and how to get in: the app's jobs and
the orchestrator both reach it.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from devtools.child import Child
from devtools.gokiq import GokiqFast
from devtools.programs import find_program
from devtools.redis_server import RedisServer

pytestmark = pytest.mark.acceptance

HERE = Path(__file__).parent
APP = str(HERE / "app" / "redis_in_ruby.rb")
PATIENCE_S = 45.0
JOB = json.dumps(
    {"class": "PingJob", "args": ["ping"], "jid": "c" * 24, "retry": False, "queue": "default"}
)
#: Certificate and key as redis-client takes them too.
OBJECTS = """cert: OpenSSL::X509::Certificate.new(File.read("CERTS/client.pem")),
    key: OpenSSL::PKey.read(File.read("CERTS/client.key"))"""


def ruby(options: str) -> dict[str, str]:
    """The environment in which the app sets these."""
    return {"TEST_REDIS": options}


def provided(url: str) -> dict[str, str]:
    """The environment in which that is the address."""
    return {"REDIS_PROVIDER": "OURS", "OURS": url}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what certificates.rb makes."""
    folder = tmp_path_factory.mktemp("certificates")
    command = [str(find_program("ruby")), str(HERE / "certificates.rb"), str(folder)]
    subprocess.run(command, check=True, timeout=PATIENCE_S)
    return folder


def tls(certificates: Path, port: int, name: str = "server", **more: str) -> dict[str, str]:
    """Settings of a Redis that speaks TLS on that port."""
    return {
        "tls-port": str(port),
        "bind": "127.0.0.1",
        "tls-ca-cert-file": str(certificates / "ca.pem"),
        "tls-cert-file": str(certificates / f"{name}.pem"),
        "tls-key-file": str(certificates / f"{name}.key"),
        "tls-auth-clients": "no",
        **more,
    }


def clients(redis: RedisServer) -> list[dict[str, Any]]:
    """Our connections, as Redis lists them."""
    return [c for c in redis.client.client_list() if c["name"].startswith("gokiq-")]


def reach(
    redis: RedisServer, log: Path, env: Mapping[str, str], cwd: Path | None = None
) -> list[dict[str, Any]]:
    """Run a job of gokiq-fast's that writes to Redis; returns our connections meanwhile."""
    redis.client.lpush("queue:default", JOB)
    args = ("-r", APP, "--workers", "1", "-c", "2")
    with GokiqFast(*args, redis=redis, log=log, env=env, cwd=cwd) as server:
        server.wait_until(
            lambda: (
                redis.client.get("ping") == b"ponged" and bool(redis.client.get("stat:processed"))
            ),
            timeout_s=PATIENCE_S,
            what="the job had run",
        )
        assert redis.client.scard("processes") == 1
        return clients(redis)


@pytest.mark.parametrize(
    "options",
    [
        '{url: "rediss://localhost:PORT", ssl_params: {ca_file: "CERTS/ca.pem"}}',
        '{"url" => "rediss://localhost:PORT/1", "ssl_params" => {"ca_file" => "CERTS/ca.pem"}}',
        '{host: "127.0.0.1", port: PORT, ssl: true, ssl_params: {ca_file: "CERTS/ca.pem"}}',
        '{url: "rediss://127.0.0.1:PORT", ssl_params: {verify_mode: OpenSSL::SSL::VERIFY_NONE}}',
    ],
    ids=["URL", "strings as keys", "host and port", "unverified"],
)
def test_tls(tmp_path: Path, certificates: Path, options: str) -> None:
    port = free_port()
    filled = options.replace("PORT", str(port)).replace("CERTS", str(certificates))
    with RedisServer(settings=tls(certificates, port)) as redis:
        if f"{port}/1" in filled:
            redis.client.select(1)
        ours = reach(redis, tmp_path / "log", {"TEST_REDIS": filled})

    assert ours
    assert all(client["laddr"] == f"127.0.0.1:{port}" for client in ours)


@pytest.mark.parametrize(
    "form",
    [
        'cert: "CERTS/client.pem", key: "CERTS/client.key"',
        'cert: File.read("CERTS/client.pem"), key: File.read("CERTS/client.key")',
        OBJECTS,
    ],
    ids=["files", "PEM", "objects"],
)
def test_tls_with_a_certificate_of_our_own(tmp_path: Path, certificates: Path, form: str) -> None:
    port = free_port()
    options = (
        f'{{url: "rediss://localhost:{port}", ssl_params: {{ca_file: "CERTS/ca.pem", {form}}}}}'
    )
    settings = tls(certificates, port, **{"tls-auth-clients": "yes"})
    with RedisServer(settings=settings) as redis:
        env = {"TEST_REDIS": options.replace("CERTS", str(certificates))}
        assert reach(redis, tmp_path / "log", env)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("server", "", "certificate verify failed"),
        ("elsewhere", 'ca_file: "CERTS/ca.pem"', "certificate verify failed"),
    ],
    ids=["unknown authority", "another host"],
)
def test_a_certificate_that_is_not_to_be_trusted_is_refused(
    tmp_path: Path, certificates: Path, name: str, params: str, said: str
) -> None:
    port = free_port()
    options = f'{{url: "rediss://localhost:{port}", ssl_params: {{{params}}}}}'
    env = {"TEST_REDIS": options.replace("CERTS", str(certificates))}
    log = tmp_path / "log"
    with (
        RedisServer(settings=tls(certificates, port, name)) as redis,
        GokiqFast("-r", APP, "--workers", "1", redis=redis, log=log, env=env) as server,
    ):
        assert server.wait(PATIENCE_S) == 1

    last = log.read_text().splitlines()[-1]
    assert last.startswith("gokiq-fast: Redis at rediss://localhost:")
    assert said in last
    assert last.endswith("start Redis or correct Sidekiq's redis configuration in Ruby")


def test_a_host_name_need_not_match_when_told_so(tmp_path: Path, certificates: Path) -> None:
    port = free_port()
    options = (
        f'{{url: "rediss://localhost:{port}", '
        f'ssl_params: {{ca_file: "{certificates}/ca.pem", verify_hostname: false}}}}'
    )
    with RedisServer(settings=tls(certificates, port, "elsewhere")) as redis:
        assert reach(redis, tmp_path / "log", {"TEST_REDIS": options})


@pytest.fixture
def guarded() -> Iterator[RedisServer]:
    """A Redis that lets in `shop` with `s3cret/+` and the default user with `pa55`."""
    with RedisServer(settings={"port": str(free_port()), "bind": "127.0.0.1"}) as redis:
        redis.client.acl_setuser("shop", enabled=True, passwords=["+s3cret/+"], **ALL)
        yield redis


ALL: dict[str, Any] = {"commands": ["+@all"], "keys": ["*"], "channels": ["*"]}


@pytest.mark.parametrize(
    ("env", "user"),
    [
        (ruby('{url: "redis://127.0.0.1:PORT", username: "shop", password: "s3cret/+"}'), "shop"),
        (ruby('{url: "unix://SOCKET", username: "shop", password: ->(_) { "s3cret/+" }}'), "shop"),
        (provided("redis://shop:s3cret%2F%2B@127.0.0.1:PORT/0"), "shop"),
        (provided("redis://:pa55@127.0.0.1:PORT"), "default"),
    ],
    ids=["user", "password from a block", "URL", "password alone"],
)
def test_users_and_passwords(
    tmp_path: Path, guarded: RedisServer, env: Mapping[str, str], user: str
) -> None:
    port = guarded.client.config_get("port")["port"]
    filled = {
        key: value.replace("PORT", str(port)).replace("SOCKET", str(guarded.socket))
        for key, value in env.items()
    }
    # The client of this test is in already.
    guarded.client.acl_setuser("default", enabled=True, reset_passwords=True, passwords=["+pa55"])
    ours = reach(guarded, tmp_path / "log", filled)
    log = (tmp_path / "log").read_text()

    assert {client["user"] for client in ours} == {user}
    assert "s3cret" not in log
    assert "pa55" not in log


def test_a_unix_socket_named_from_the_apps_folder(tmp_path: Path) -> None:
    with RedisServer() as redis:
        (tmp_path / "redis.sock").symlink_to(redis.socket)
        env = {"TEST_REDIS": '{path: "redis.sock", db: 0}'}
        ours = reach(redis, tmp_path / "log", env, cwd=tmp_path)

    assert ours


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "password and TLS"])
def test_sentinel(tmp_path: Path, certificates: Path, secure: bool) -> None:
    port, sentinel_port = free_port(), free_port()
    conf = tmp_path / "sentinel.conf"
    lines = [f"sentinel monitor shop 127.0.0.1 {port} 1", "bind 127.0.0.1", "protected-mode no"]
    settings = {"port": str(port), "bind": "127.0.0.1"}
    extra = ""
    if secure:
        settings = tls(certificates, port)
        lines += [f"{key} {value}" for key, value in tls(certificates, sentinel_port).items()]
        lines += ["port 0", "tls-replication yes", "requirepass gu4rd"]
        trusted = f'ssl: true, ssl_params: {{ca_file: "{certificates}/ca.pem"}}'
        extra = f', sentinel_password: "gu4rd", {trusted}'
    else:
        lines += [f"port {sentinel_port}"]
    conf.write_text("\n".join(lines) + "\n")
    # Nothing listens at the first address.
    listed = f'[{{host: "127.0.0.1", port: 1}}, {{host: "127.0.0.1", port: {sentinel_port}}}]'
    env = {"TEST_REDIS": f'{{name: "shop", sentinels: {listed}{extra}}}'}
    with (
        RedisServer(settings=settings) as redis,
        Child([find_program("redis-sentinel"), conf], log=tmp_path / "sentinel.log") as sentinel,
    ):
        sentinel.wait_until(
            lambda: "+monitor master shop" in (tmp_path / "sentinel.log").read_text(),
            timeout_s=PATIENCE_S,
            what="it watched the master",
        )
        ours = reach(redis, tmp_path / "log", env)

    assert ours
    assert all(client["laddr"] == f"127.0.0.1:{port}" for client in ours)
