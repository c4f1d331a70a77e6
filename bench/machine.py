"""On what a benchmark ran: processors and versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from devtools.redis_server import RedisServer
from devtools.ruby import ruby_eval
from gokiq import __version__

_RUBY = """
require "sidekiq"
yjit = defined?(RubyVM::YJIT) ? (RubyVM::YJIT.enabled? ? "on" : "off") : "not built"
puts RUBY_VERSION, yjit, Sidekiq::VERSION
"""


def describe_machine(redis: RedisServer) -> dict[str, Any]:
    """Cores, CPU model and the versions of all that takes part. Raises DevError without Ruby."""
    ruby, yjit, sidekiq = ruby_eval(_RUBY).splitlines()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "ruby": ruby,
        "yjit": yjit,
        "redis": str(redis.info("server")["redis_version"]),
        "sidekiq": sidekiq,
        "gokiq": __version__,
        "load_average": list(os.getloadavg()),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
