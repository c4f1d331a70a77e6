"""Composition root: builds the parts, runs them in one task group, turns signals into quiet and
stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gokiq import __version__
from gokiq.app.info import AppInfo, app_info
from gokiq.claiming.adoption import Reaper
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.lease import Lease
from gokiq.claiming.queue_watch import Waker
from gokiq.claiming.slots import Valve
from gokiq.config import Config
from gokiq.errors import BootError, ConnectionLost, GokiqError, ReplyError
from gokiq.host import process_title as title
from gokiq.host import runfile, terminal
from gokiq.host.deadline import BOOT_LIMIT_S, Ending, within
from gokiq.host.identity import Identity, new_identity
from gokiq.host.orphans import Orphans
from gokiq.host.procstat import parent_of, rss_kb
from gokiq.host.systemd import Notifier
from gokiq.limits.in_force import Regime
from gokiq.log import configure, get_logger
from gokiq.observe import database as database_room
from gokiq.observe.http import HealthServer
from gokiq.observe.probes import Serving, Status
from gokiq.observe.queues import QueueStatus
from gokiq.sidekiq.heartbeat import Heartbeat, Sources
from gokiq.sidekiq.poller import Poller
from gokiq.store.broker import Broker
from gokiq.store.link import RedisLink
from gokiq.store.operators import Control, ControlWatch
from gokiq.store.owners import Owners
from gokiq.store.server import RedisWatch, check_server
from gokiq.workers.generations import Roots, socket_path
from gokiq.workers.pool import Fleet
from gokiq.workers.quarantine import Quarantine
from gokiq.workers.recycler import Limits, Recycler
from gokiq.workers.reload import Reloader
from gokiq.workers.serving import Switchboard
from gokiq.workers.stalls import Stalls
from gokiq.workers.timeouts import Timeouts
from gokiq.workers.vitals import Monitor

log = get_logger("main")

#: How often the jobs in queues are counted for metrics, seconds.
COUNT_S = 5.0


class Runner:
    """One gokiq-fast process from start to exit."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._systemd = Notifier(os.environ)
        self._identity: Identity = new_identity()
        self._stop = asyncio.Event()
        self._ending = Ending()
        self._is_quiet = False
        self._rng = random.Random()
        runfile.sweep()
        self._directory = Path(tempfile.mkdtemp(prefix=runfile.PREFIX))  # mode 0700
        self._lock = runfile.hold(self._directory)
        self._monitor = Monitor(str(self._directory / "monitor.sock"))
        if config.sidecar is not None:
            self._monitor.listen_beside(config.sidecar)
        self._fleet = Fleet(config.sidecar or socket_path(self._directory))
        self._fleet.on_gone = self._monitor.forget
        self._fleet.stands_still = self._monitor.stands_still
        self._monitor.on_stall = Stalls(self._fleet).seen
        self._monitor.on_exit = self._fleet.process_ended
        self._roots = Roots(
            config, self._monitor, self._fleet, self._directory, identity=self._identity.name
        )
        self._orphans = Orphans(self._roots.pids)
        self._trapped: list[signal.Signals] = []
        self._reloader = Reloader(config, self._roots, self._fleet, self._systemd, self._directory)
        self._links: list[RedisLink] = []
        self._status = Status(
            self._fleet,
            self._monitor,
            self._links,
            root_restarts=lambda: self._roots.restarts,
            is_quiet=lambda: self._is_quiet,
            is_stopping=self._stop.is_set,
        )
        pages = self._status.pages()
        self._health = HealthServer(config.health, pages) if config.health else None

    async def run(self) -> None:
        """Run until told to stop. Raises GokiqError when we cannot start."""
        self._trap_signals()
        try:
            self._monitor.open()
            if self._health is not None:
                await self._health.open()
            await self._roots.current.supervisor.start()
            async with asyncio.TaskGroup() as helpers:
                self._roots.run(helpers)
                try:
                    await self._serve()
                finally:
                    self._roots.terminate()
                    self._fleet.close()
                    await self._roots.stop(self._ending.over)
        finally:
            self._ignore_signals()
            if self._health is not None:
                await self._health.close()
            for link in self._links:
                await link.close()
            self._monitor.close()
            shutil.rmtree(self._directory, ignore_errors=True)
            os.close(self._lock)

    def _trap_signals(self) -> None:
        """Not with the loop's own means: it would bring back the default, which kills, before our
        process has ended.
        """
        for name in ("TERM", "INT", "TSTP", "TTIN", "USR2"):
            self._trap(f"SIG{name}", self._on_signal, name)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            self._trap("SIGHUP", self._on_hangup, terminal.is_there())
        self._orphans.start()

    def _trap(self, name: str, handler: Callable[[Any], None], argument: Any) -> None:
        loop = asyncio.get_running_loop()

        def wake(*_: object) -> None:
            loop.call_soon_threadsafe(handler, argument)

        signal.signal(getattr(signal, name), wake)
        self._trapped.append(getattr(signal, name))

    def _ignore_signals(self) -> None:
        """We are as good as gone: a second one changes nothing."""
        self._orphans.stop()
        for number in self._trapped:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, name: str) -> None:
        if name in ("TERM", "INT"):
            self._stop.set()
        elif name == "TSTP":
            self._quiet()
        elif name == "TTIN":
            self._dump()
        elif name == "USR2":
            self._reloader.ask()

    def _on_hangup(self, had_terminal: bool) -> None:
        """Somebody wants a reload, unless it says that our terminal is gone."""
        self._on_signal("TERM" if had_terminal and not terminal.is_there() else "USR2")

    def _dump(self) -> None:
        """What everything is doing now, as Sidekiq answers TTIN: the workers write it, in which the
        jobs run. Of ourselves it is for our own developers.
        """
        workers = self._fleet.workers
        jobs = sum(len(worker.open) for worker in workers)
        log.warning("TTIN: %d jobs are out at %d workers, which say more", jobs, len(workers))
        for task in asyncio.all_tasks():
            frames = task.get_stack(limit=1)
            where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "ended"
            log.debug("Task %s at %s", task.get_name(), where)
        for worker in workers:
            # The pid of one in another container is somebody else's here, whom TTIN stops.
            parent = parent_of(worker.pid) if worker.pid > 0 else None
            if parent is not None and parent == worker.hello.get("ppid"):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(worker.pid, signal.SIGTTIN)

    def _quiet(self) -> None:
        """Replaced by the serving part once there is something to quiet."""
        self._is_quiet = True

    async def _serve(self) -> None:
        app = await self._boot()
        if app is None:
            return
        self._configure_log(app)
        broker = self._broker(app)
        await self._check_redis(broker, app)
        valve = Valve({c.name: c.concurrency for c in app.capsules})
        dispatcher = Dispatcher(broker, valve, app, self._fleet, self._rng)
        regime = Regime(self._config.limits, self._config.adaptive, self._rng)
        regime.serve(app)
        quarantine = Quarantine(broker, self._fleet, self._monitor, dispatcher, app)
        dispatcher.screen = quarantine.screen
        config = self._config
        limits = Limits(config.max_rss_mb, config.max_jobs, config.max_age_s)
        hang_timeout_s = config.hang_timeout_s
        timeouts = Timeouts(self._fleet, self._monitor, quarantine, hang_timeout_s=hang_timeout_s)
        lease = Lease(broker, self._identity, dispatcher)
        reaper = Reaper(broker, dispatcher, lease)
        sources = Sources(
            running=dispatcher.running,
            rss_kb=self._rss_kb,
            is_quiet=lambda: self._is_quiet,
            on_signal=self._on_signal,
            on_beat=lambda: self._on_beat(board.app, dispatcher, queue_status),
        )
        heartbeat = Heartbeat(broker, app, self._identity, sources)
        poller = Poller(
            broker,
            app,
            self._rng,
            dispatcher.poke,
            self._fleet.client_push,
            has_app_client=lambda: self._fleet.has_app_client,
        )
        queue_status = QueueStatus(lambda: board.app, dispatcher, valve, self._fleet)

        async def on_question(word: str) -> None:
            answer = Control(broker.link).answer
            await answer(self._identity.name, word, queue_status.document())

        waker = Waker(self._link(app, "wake"), dispatcher)
        control = ControlWatch(broker.link, regime.order, on_question, lambda: regime.gems)
        redis_watch = RedisWatch(broker.link)
        broker.about = self._database(app)
        try:
            await lease.first()
            await reaper.look()
            await self._check_database(broker, app)
            await heartbeat.prune()
            await control.first()
        except ConnectionLost as error:
            raise BootError(str(error)) from error
        except ReplyError as error:
            raise BootError(
                f"Redis refuses to register us: {error} (its memory, or our permissions; "
                "see INFO memory and ACL LOG)"
            ) from error
        dispatcher.limit(regime.rules, regime.needs, is_first=True)
        regime.apply = dispatcher.limit
        self._fleet.on_finished = dispatcher.finished
        self._fleet.on_orphans = dispatcher.give_back
        self._fleet.on_room = quarantine.room_changed
        self._fleet.on_crash = quarantine.crashed
        self._fleet.on_solo = quarantine.solo_changed
        self._fleet.welcome_all(self._identity.name, app.wire_routes())

        def on_switch(app: AppInfo) -> None:
            self._on_switch(app)
            control.look_soon()

        board = Switchboard(
            app,
            self._identity,
            broker,
            dispatcher,
            quarantine,
            heartbeat,
            poller,
            regime,
            on_switch,
        )

        async with asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(dispatcher.run(), name="dispatcher")
            running = [
                tasks.create_task(poller.run(), name="poller"),
                loop,
                tasks.create_task(heartbeat.run(), name="heartbeat"),
                tasks.create_task(lease.run(), name="lease"),
                tasks.create_task(reaper.run(), name="reaper"),
                tasks.create_task(dispatcher.reconciler.run(dispatcher.audit), name="audit"),
                tasks.create_task(waker.run(), name="waker"),
                tasks.create_task(control.run(), name="control"),
                tasks.create_task(quarantine.run(), name="quarantine"),
                tasks.create_task(self._announce(app, heartbeat), name="announce"),
                tasks.create_task(self._reloader.run(board), name="reloader"),
                tasks.create_task(self._systemd.run(), name="systemd"),
                tasks.create_task(redis_watch.run(), name="redis-watch"),
            ]
            if limits and self._config.sidecar is None:  # nor is its root ours to ask
                recycler = Recycler(self._fleet, self._monitor, limits)
                running.append(tasks.create_task(recycler.run(), name="recycler"))
            if self._health is not None:
                counting = self._count_queues(queue_status, broker)
                running.append(tasks.create_task(counting, name="queues"))
            if self._config.sidecar is None:  # another's workers send their beats elsewhere
                running.append(tasks.create_task(timeouts.run(), name="timeouts"))
            self._status.serving = Serving(
                app, valve, dispatcher, lease, heartbeat, poller, redis_watch, queue_status, loop
            )

            def quiet() -> None:
                if not self._is_quiet:
                    log.info("Quiet: claiming no more jobs")
                    self._is_quiet = True
                    self._reloader.close("quiet, it claims no more jobs")
                    poller.quiet()
                    dispatcher.quiet()
                    heartbeat.beat_soon()
                    self._fleet.quiet()

            already_quiet, self._is_quiet = self._is_quiet, False
            self._quiet = quiet  # type: ignore[method-assign]
            if already_quiet:
                quiet()
            await self._stop.wait()
            quiet()
            self._reloader.close("stopping")
            self._systemd.stopping()
            quarantine.drain()
            await self._drain(board.app, dispatcher)
            for task in running:
                task.cancel()
        await self._sign_off(heartbeat, broker)

    def _configure_log(self, app: AppInfo) -> None:
        level = self._config.log_level or app.log_level
        configure(level=level, style=app.log_style, major=app.major)

    def _on_switch(self, app: AppInfo) -> None:
        self._configure_log(app)
        if self._status.serving is not None:
            self._status.serving = replace(self._status.serving, app=app)

    async def _boot(self) -> AppInfo | None:
        """Wait for the first worker's HELLO; None when we were told to stop meanwhile. Raises
        BootError.
        """
        log.info("gokiq %s starting: booting the app", __version__)
        hello: asyncio.Future[dict[str, Any]] = self._fleet.first_hello
        failed = asyncio.ensure_future(self._roots.current.supervisor.first_failure())
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {hello, failed, stop}
            done, _ = await asyncio.wait(
                waiting, timeout=BOOT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if hello in done:
                self._roots.current.supervisor.has_served = True
                return app_info(hello.result())
            if failed in done:
                raise failed.result()
            if stop in done:
                return None
            raise BootError(f"the app has not booted within {BOOT_LIMIT_S:g} s; see its log")
        finally:
            failed.cancel()
            stop.cancel()

    def _broker(self, app: AppInfo) -> Broker:
        return Broker(
            self._link(app, "claims"),
            self._link(app, "housekeeping"),
            lease=self._link(app, "lease"),
            identity=self._identity.name,
            queues=[route.queue for route in app.routes],
            dead_max_jobs=app.dead_max_jobs,
            dead_timeout_s=app.dead_timeout_s,
        )

    def _link(self, app: AppInfo, name: str) -> RedisLink:
        link = RedisLink(app.redis, name=f"gokiq-{name}")
        self._links.append(link)
        return link

    async def _check_redis(self, broker: Broker, app: AppInfo) -> None:
        try:
            await check_server(broker.link, app)
        except ConnectionLost as error:
            raise BootError(f"{error}; {error.next_step(app.redis.origin)}") from error
        except ReplyError as error:
            raise BootError(
                f"Redis at {app.redis} refuses: {error}; look at what our user may do (ACL LOG)"
            ) from error

    async def _count_queues(self, queue_status: QueueStatus, broker: Broker) -> None:
        """For metrics, which wait for nobody. Runs until cancelled."""
        while True:
            with contextlib.suppress(ConnectionLost, ReplyError):  # others say what is wrong
                await queue_status.count(broker)
            await asyncio.sleep(COUNT_S)

    def _database(self, app: AppInfo) -> dict[str, int]:
        wanted = database_room.connections(app.database, self._workers(app))
        return {database_room.CONNECTIONS: wanted} if wanted else {}

    async def _check_database(self, broker: Broker, app: AppInfo) -> None:
        if app.database is None:
            return
        owners = await Owners(broker.link).entries()
        owners.pop(broker.identity, None)
        if line := database_room.warning(app.database, self._workers(app), owners.values()):
            log.warning("%s", line)

    def _on_beat(self, app: AppInfo, dispatcher: Dispatcher, queue_status: QueueStatus) -> None:
        self._fleet.beat()
        queue_status.beat()
        concurrency = sum(c.concurrency for c in app.capsules)
        status = f"[{len(dispatcher.running())} of {concurrency} busy]"
        if self._is_quiet:
            status += " stopping"
        self._systemd.status(status)
        title.show(app.tag, status)

    def _rss_kb(self) -> int:
        return rss_kb() + self._roots.rss_kb + self._monitor.rss_kb

    async def _announce(self, app: AppInfo, heartbeat: Heartbeat) -> None:
        await self._fleet.served.wait()
        heartbeat.beat_soon()  # the workers' first
        self._systemd.ready()
        versions = app.versions
        log.info(
            "Sidecar ready: workers=%d slots=%d lane=%s ruby=%s sidekiq=%s async=%s falcon=%s",
            self._workers(app),
            sum(c.concurrency for c in app.capsules),
            app.lane,
            versions.get("ruby"),
            versions.get("sidekiq"),
            versions.get("async"),
            versions.get("falcon") or "none",
        )
        log.info(
            "Processing %s from %s as %s",
            ", ".join(app.queue_names),
            app.redis,
            self._identity.name,
        )

    def _workers(self, app: AppInfo) -> int:
        """How many there are to be: those of another's sidecar are not ours to set."""
        told = app.workers if self._config.sidecar is not None else 0
        return told or self._config.workers

    async def _drain(self, app: AppInfo, dispatcher: Dispatcher) -> None:
        """Let running jobs end within the timeout, then take back what still runs and give it to
        Redis.
        """
        timeout_s = self._config.timeout_s or app.timeout_s
        log.info("Stopping: %d jobs are running, they have %g s", dispatcher.in_flight, timeout_s)
        self._ending = Ending(timeout_s)
        dispatcher.drain()
        for worker in list(self._fleet.workers):
            worker.drain(timeout_s)
        self._roots.terminate()
        if not await within(dispatcher.settled(), self._ending.reported):
            if stuck := len(dispatcher.running()):
                log.warning("%d jobs did not stop in time and go back to their queues", stuck)
            self._fleet.close()  # what is still out comes back once the connections have ended
            if not await within(dispatcher.settled(), self._ending.settled):
                log.error(
                    "Redis did not take %d jobs back; a peer or the next start adopts them",
                    dispatcher.in_flight,
                )
        if not dispatcher.in_flight and (pushed := dispatcher.pushed_back()):
            log.info(
                "Pushed %d jobs back to their queues: %s",
                pushed.total(),
                ", ".join(f"{queue} {count}" for queue, count in sorted(pushed.items())),
            )
        await within(self._fleet.emptied(), self._ending.emptied)

    async def _sign_off(self, heartbeat: Heartbeat, broker: Broker) -> None:
        async def both() -> None:
            await heartbeat.sign_off()
            await broker.resign()

        try:
            async with asyncio.timeout(max(0.0, self._ending.signed_off - time.monotonic())):
                await both()
        except (TimeoutError, ConnectionLost, ReplyError) as error:
            log.warning("Could not sign off from Redis: %s", str(error) or "no answer in time")
        log.info("Bye!")


def run(config: Config) -> None:
    """Run gokiq-fast to its end on a fresh event loop. Raises GokiqError when it cannot start."""

    async def main() -> None:
        await Runner(config).run()

    try:
        asyncio.run(main())
    except BaseExceptionGroup as group:
        raise _first_cause(group) from group


def _first_cause(group: BaseExceptionGroup[Any]) -> BaseException:
    """The one error that matters of a task group's: ours when there is one."""
    ours = group.subgroup(GokiqError)
    found: BaseException = ours or group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
