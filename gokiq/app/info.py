"""What the sidecar's HELLO says about the app: versions, capsules, Redis. Values only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gokiq.errors import ProtocolError
from gokiq.log import LEVELS, Style

#: Sidekiq's own default address.
DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where the app's Sidekiq keeps its data. `str()` of it never shows a password."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    db: int = 0
    username: str | None = None
    password: str | None = None
    path: str | None = None
    ssl: bool = False
    tls_verify: bool = True
    tls_verify_hostname: bool = True
    tls_ca_file: str | None = None
    tls_ca_path: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    #: The same two where they are no files.
    tls_cert_pem: str | None = None
    tls_key_pem: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    #: Whether the sentinels speak TLS too.
    sentinel_ssl: bool = False
    master_name: str | None = None
    #: What an operator would change to change it.
    origin: str = "REDIS_URL"

    def __str__(self) -> str:
        if self.sentinels:
            return f"sentinel master {self.master_name}/{self.db}"
        if self.path:
            return f"unix://{self.path}?db={self.db}"
        return f"{'rediss' if self.ssl else 'redis'}://{self.host}:{self.port}/{self.db}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Route:
    """A queue as one capsule reads it; its index in AppInfo.routes is what BATCH frames carry."""

    capsule: str
    queue: str


@dataclass(frozen=True, slots=True)
class Capsule:
    """A group of queues with its own concurrency. `queues` keeps the configured order, `(name,
    weight)`, 0 = no weight.
    """

    name: str
    concurrency: int
    mode: str
    queues: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Database:
    """Connections of one worker, and of all clients."""

    connections: int
    max_connections: int


@dataclass(frozen=True, slots=True)
class AppInfo:
    """The app as its first worker described it. `routes` are those of the capsules, and after a
    reload also those that no capsule has any more: claims name them by index.
    """

    versions: dict[str, str | None]
    environment: str
    tag: str
    labels: tuple[str, ...]
    capsules: tuple[Capsule, ...]
    routes: tuple[Route, ...]
    redis: RedisAddress
    slots: int
    lane: str
    timeout_s: float
    dead_max_jobs: int
    dead_timeout_s: int
    poll_interval_average_s: float | None
    average_poll_interval_s: float
    #: Whether the app's Sidekiq client does no more to a due job than fill in Sidekiq's defaults.
    has_stock_client: bool = True
    log_style: Style = Style.PRETTY
    #: One of log.LEVELS.
    log_level: str = "info"
    #: The `gokiq:` section of the app's Sidekiq configuration, as it stands there.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: What job classes say of themselves: name -> `limit`, `cluster_limit`, `rate`, `dependency`.
    classes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The job classes that were loaded when the app had booted.
    job_classes: tuple[str, ...] = ()
    #: What gems of the app limit and pause: name -> settings as above, and where they keep more.
    gems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: How many connections one worker may open to the database, and how many that has for all.
    database: Database | None = None
    #: How many workers the sidecar forks; 0 when it does not say.
    workers: int = 0

    @property
    def sidekiq(self) -> str:
        """Version of the sidekiq gem in the app's bundle, `8.1.7`."""
        return self.versions.get("sidekiq") or "0"

    @property
    def major(self) -> int:
        """Major version of that gem."""
        return int(self.sidekiq.split(".")[0])

    @property
    def uses_ms(self) -> bool:
        """True when this Sidekiq writes payload times as integer milliseconds (8.0+), else float
        seconds.
        """
        return self.major >= 8

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Every queue of every capsule once, in order."""
        return tuple(dict.fromkeys(queue for c in self.capsules for queue, _ in c.queues))

    @property
    def live_routes(self) -> frozenset[int]:
        """Indexes of the routes that a capsule has."""
        live = {Route(c.name, queue) for c in self.capsules for queue, _ in c.queues}
        return frozenset(i for i, route in enumerate(self.routes) if route in live)

    def wire_routes(self) -> list[dict[str, str]]:
        """The routes for WELCOME. One that no capsule has keeps its place, under the name of a
        capsule that is there: no job will be sent by it.
        """
        names = [c.name for c in self.capsules]
        return [
            {"capsule": r.capsule if r.capsule in names else names[0], "queue": r.queue}
            for r in self.routes
        ]

    def following(self, former: AppInfo) -> AppInfo:
        """The same app with the routes of `former` at their old indexes, new ones behind them."""
        new = [route for route in self.routes if route not in former.routes]
        return replace(self, routes=(*former.routes, *new))


def parse_hello(body: bytes) -> dict[str, Any]:
    """Decode a HELLO body. Raises ProtocolError when it is no JSON object, speaks no version that
    we know, or names a process that can be none.
    """
    try:
        hello = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"HELLO is not JSON: {error}") from error
    if not isinstance(hello, dict):
        raise ProtocolError("HELLO is not a JSON object")
    spoken = hello.get("protocol")
    if not isinstance(spoken, list) or 1 not in spoken:
        raise ProtocolError(
            f"no common protocol version: we speak 1, the sidecar {spoken!r:.100}; "
            "install the gokiq-sidecar gem of this gokiq release"
        )
    for key in ("pid", "ppid"):
        number = hello.get(key)
        if number is not None and (type(number) is not int or number < 0):
            raise ProtocolError(f"HELLO has the {key} {number!r:.100}, which is no process")
    return hello


def app_info(hello: dict[str, Any]) -> AppInfo:
    """Read a HELLO (docs/protocol.md 3) into values. Raises ProtocolError naming the key that is
    missing or wrong.
    """
    try:
        return _app_info(hello)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ProtocolError(f"HELLO is incomplete: {type(error).__name__} {error}") from error


def _app_info(hello: dict[str, Any]) -> AppInfo:
    sidekiq = hello["sidekiq"]
    capsules = tuple(
        Capsule(
            name=str(c["name"]),
            concurrency=int(c["concurrency"]),
            mode=str(c["mode"]),
            queues=tuple((str(q), int(w)) for q, w in c["queues"]),
        )
        for c in sidekiq["capsules"]
    )
    average = sidekiq.get("poll_interval_average")
    return AppInfo(
        versions={str(k): v for k, v in hello["versions"].items()},
        environment=str(hello.get("environment") or ""),
        tag=str(hello.get("tag") or ""),
        labels=tuple(map(str, hello.get("labels") or ())),
        capsules=capsules,
        routes=tuple(Route(c.name, q) for c in capsules for q, _ in c.queues),
        redis=_redis(hello["redis"]),
        slots=int(hello["slots"]),
        lane=str(hello["lane"]),
        timeout_s=float(sidekiq["timeout"]),
        dead_max_jobs=int(float(sidekiq["dead_max_jobs"])),
        dead_timeout_s=int(float(sidekiq["dead_timeout_in_seconds"])),
        poll_interval_average_s=None if average is None else float(average),
        average_poll_interval_s=float(sidekiq["average_scheduled_poll_interval"]),
        has_stock_client=hello.get("client") != "app",
        log_style=next((s for s in Style if s == hello.get("log_style")), Style.PRETTY),
        log_level=LEVELS[min(int(hello.get("logger_level") or 0), len(LEVELS) - 1)],
        settings=_mapping(hello, "gokiq"),
        classes=_mapping(hello, "classes"),
        job_classes=tuple(map(str, hello.get("job_classes") or ())),
        gems=_mapping(hello, "gems"),
        database=_database(hello.get("database")),
        workers=int(hello.get("workers") or 0),
    )


def _mapping(hello: dict[str, Any], key: str) -> dict[str, Any]:
    found = hello.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{key} is no mapping")
    return found


def _database(raw: dict[str, Any] | None) -> Database | None:
    return Database(int(raw["connections"]), int(raw["max_connections"])) if raw else None


def _redis(raw: dict[str, Any]) -> RedisAddress:
    tls = raw.get("tls") or {}
    return RedisAddress(
        host=raw.get("host") or "127.0.0.1",
        port=int(raw.get("port") or DEFAULT_PORT),
        db=int(raw.get("db") or 0),
        username=raw.get("username"),
        password=raw.get("password"),
        path=raw.get("path"),
        ssl=bool(raw.get("ssl")),
        tls_verify=tls.get("verify", True) is not False,
        tls_verify_hostname=tls.get("verify_hostname", True) is not False,
        tls_ca_file=tls.get("ca_file"),
        tls_ca_path=tls.get("ca_path"),
        tls_cert_file=tls.get("cert_file"),
        tls_key_file=tls.get("key_file"),
        tls_cert_pem=tls.get("cert_pem"),
        tls_key_pem=tls.get("key_pem"),
        sentinels=tuple((str(s["host"]), int(s["port"])) for s in raw.get("sentinels") or ()),
        sentinel_username=raw.get("sentinel_username"),
        sentinel_password=raw.get("sentinel_password"),
        sentinel_ssl=bool(raw.get("sentinel_ssl")),
        master_name=raw.get("name"),
        origin=raw.get("variable") or "Sidekiq's redis configuration in Ruby",
    )
