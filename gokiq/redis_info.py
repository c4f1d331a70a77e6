"""Boot checks of the Redis server: version and eviction policy."""

from __future__ import annotations

from gokiq.app import AppInfo
from gokiq.errors import BootError, ReplyError
from gokiq.log import get_logger
from gokiq.redis_link import RedisLink

log = get_logger("redis")

#: Oldest servers that the app's own Sidekiq accepts: (Sidekiq from, Redis from). Source: sidekiq
#: lib/sidekiq/cli.rb, run.
_MINIMUM = (((8, 0), (7, 0)), ((0, 0), (6, 2)))


async def check_server(link: RedisLink, app: AppInfo) -> None:
    """Refuse a server that is too old, warn of one that may evict jobs. Raises BootError,
    ConnectionLost, ReplyError.
    """
    try:
        info = _fields(await link.call("INFO"))
    except ReplyError as error:
        if (
            "unknown command" in str(error).lower()
        ):  # managed services that hide INFO: as Sidekiq, assume the best
            return
        raise
    version = _version(info.get("redis_version", "9.9"))
    needed = next(redis for sidekiq, redis in _MINIMUM if _version(app.sidekiq) >= sidekiq)
    if version < needed:
        raise BootError(
            f"Redis {info['redis_version']} is too old: "
            f"Sidekiq {app.sidekiq} needs {needed[0]}.{needed[1]} or later"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        log.warning(
            "Redis may evict your jobs: maxmemory-policy is '%s'; set it to 'noeviction' "
            "(CONFIG SET maxmemory-policy noeviction)",
            policy,
        )


async def uptime_s(link: RedisLink) -> float:
    """How long the server has been up, seconds; 0 where it does not say. Raises ConnectionLost,
    ReplyError.
    """
    return float(_fields(await link.call("INFO", "server")).get("uptime_in_seconds", 0))


def _fields(info: bytes | str) -> dict[str, str]:
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else info
    return dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return int(major) if major.isdigit() else 0, int(minor) if minor.isdigit() else 0
