"""Random faults for a soak. Two gokiq-fast share the load: processes of the fragile one are killed,
the steady one sees everything else, so that what it uses can be followed from start to end.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable

from devtools.gokiq import GokiqFast

from .registry import SEEN_MS, UNSETTLED_MS, kill, workers
from .stand import Stand, now_ms

#: Slots and processes of each of the two.
SIZE = ("-c", "60", "--workers", "2", "-t", "5")
#: Within this, work must go on after a fault, seconds.
RECOVERY_S = 25.0


class Fleet:
    """The two servers, and who may touch Redis itself."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        #: Its own: the load takes from the other one meanwhile.
        self.rng = random.Random(f"{stand.seed} faults")
        self._starts = 0
        self.steady = self._server("steady")
        self.fragile = self._server("fragile")
        #: Held by whoever talks to Redis past the proxy, or stops it.
        self.redis_lock = threading.RLock()

    def start(self) -> None:
        """Both."""
        self.steady.start()
        self.fragile.start()
        self.steady.wait_ready()
        self.fragile.wait_ready()

    def stop(self) -> list[int | None]:
        """Both; their exit codes."""
        return [server.stop() for server in (self.steady, self.fragile)]

    def renew_fragile(self) -> None:
        """Another one in its place."""
        self.fragile.stop()
        self._starts += 1
        self.fragile = self._server(f"fragile-{self._starts}")
        self.fragile.start()
        self.fragile.wait_ready()

    def processed(self) -> int:
        """Sidekiq's counter."""
        with self.redis_lock:
            return self.stand.processed()

    def go_on(self) -> None:
        """Wait until work goes on. Raises DevError."""
        before = self.processed()
        self.stand.until(self.steady, lambda: self.processed() > before, "work went on", RECOVERY_S)

    def _server(self, name: str) -> GokiqFast:
        return self.stand.gokiq(*SIZE, name=name)


def kill_a_worker(fleet: Fleet) -> None:
    """SIGKILL."""
    stand = fleet.stand
    since, victim = now_ms(), fleet.rng.choice(workers(fleet.fragile)[1:])
    kill(victim)
    stand.excuse(since, pids=[victim])


def kill_the_root(fleet: Fleet) -> None:
    """SIGKILL; its workers end too."""
    since, (root, *orphans) = now_ms(), workers(fleet.fragile)
    kill(root)
    fleet.stand.excuse(since, since + SEEN_MS, orphans)


def kill_an_orchestrator(fleet: Fleet) -> None:
    """SIGKILL; its peer adopts, another one starts."""
    since, orphans = now_ms(), workers(fleet.fragile)
    fleet.fragile.kill()
    fleet.stand.excuse(since - UNSETTLED_MS, since + SEEN_MS, orphans)
    fleet.renew_fragile()


def kill_everything(fleet: Fleet) -> None:
    """SIGKILL to one whole gokiq-fast."""
    since, orphans = now_ms(), workers(fleet.fragile)
    kill(fleet.fragile.pid, *orphans)
    fleet.stand.excuse(since - UNSETTLED_MS, pids=orphans)
    fleet.renew_fragile()


def deploy(fleet: Fleet) -> None:
    """TERM, and a new one."""
    assert fleet.fragile.stop() == 0
    fleet.renew_fragile()


def reload(fleet: Fleet) -> None:
    """USR2: new processes beside the old."""
    before = set(workers(fleet.fragile))
    fleet.fragile.send_signal(signal.SIGUSR2)
    fleet.stand.until(
        fleet.fragile, lambda: not before & set(workers(fleet.fragile)), "the old had left", 60
    )


def restart_redis(fleet: Fleet) -> None:
    """SIGKILL; its append-only file brings all back."""
    with fleet.redis_lock:
        fleet.stand.redis.kill()
        time.sleep(fleet.rng.uniform(0, 3))  # the state itself
        fleet.stand.redis.start()


def partition(fleet: Fleet) -> None:
    """Bytes are lost, in one direction or both."""
    stand = fleet.stand
    stand.proxy.partition(**fleet.rng.choice(({"to_server": True}, {"to_client": True}, {})))
    time.sleep(fleet.rng.uniform(0.5, 4))  # the state itself
    stand.proxy.heal()


def slow_network(fleet: Fleet) -> None:
    """Latency and jitter."""
    stand = fleet.stand
    stand.proxy.delay(0.1, 0.1)
    time.sleep(fleet.rng.uniform(2, 6))  # the state itself
    stand.proxy.heal()


def lose_a_reply(fleet: Fleet) -> None:
    """Of a script that was executed."""
    stand = fleet.stand
    lost = stand.proxy.lost
    stand.proxy.lose_reply(b"EVALSHA")
    stand.until(fleet.steady, lambda: stand.proxy.lost > lost, "a reply was lost", 20)


def kill_clients(fleet: Fleet) -> None:
    """CLIENT KILL of all connections of both."""
    with fleet.redis_lock:
        client = fleet.stand.client
        for one in client.client_list():
            if one.get("name", "").startswith("gokiq-"):
                client.client_kill_filter(_id=one["id"])


def forget_scripts(fleet: Fleet) -> None:
    """SCRIPT FLUSH."""
    with fleet.redis_lock:
        fleet.stand.client.script_flush()


def fill_redis(fleet: Fleet) -> None:
    """Writes are refused; ours wait."""
    with fleet.redis_lock:
        fleet.stand.client.config_set("maxmemory", "1")
        time.sleep(fleet.rng.uniform(1, 3))  # the state itself
        fleet.stand.client.config_set("maxmemory", "0")


def pause_an_orchestrator(fleet: Fleet) -> None:
    """SIGSTOP, for less than its lease."""
    _pause(fleet, fleet.rng.choice((fleet.steady, fleet.fragile)).pid)


def pause_a_worker(fleet: Fleet) -> None:
    """SIGSTOP: nobody else may get its jobs."""
    _pause(fleet, fleet.rng.choice(workers(fleet.fragile)[1:]))


def _pause(fleet: Fleet, pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(fleet.rng.uniform(1, 7))  # the state itself
    os.kill(pid, signal.SIGCONT)


FAULTS: tuple[Callable[[Fleet], None], ...] = (
    kill_a_worker,
    kill_a_worker,
    kill_the_root,
    kill_an_orchestrator,
    kill_everything,
    deploy,
    reload,
    restart_redis,
    partition,
    slow_network,
    lose_a_reply,
    kill_clients,
    forget_scripts,
    fill_redis,
    pause_an_orchestrator,
    pause_a_worker,
)
