"""Which app is served now, and what it takes to serve another version of it without a pause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gokiq.app.info import AppInfo
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.plan import check
from gokiq.errors import BootError, ConfigError, ConnectionLost, ReplyError
from gokiq.host.identity import Identity
from gokiq.limits.gems import Gems
from gokiq.limits.in_force import Regime
from gokiq.limits.target import Rules
from gokiq.sidekiq.heartbeat import Heartbeat
from gokiq.sidekiq.poller import Poller
from gokiq.store.broker import Broker
from gokiq.store.operators import Control
from gokiq.store.server import check_server
from gokiq.workers.quarantine import Quarantine


@dataclass(slots=True)
class Switchboard:
    """The parts that go by what the app says of itself."""

    app: AppInfo
    identity: Identity
    broker: Broker
    dispatcher: Dispatcher
    quarantine: Quarantine
    heartbeat: Heartbeat
    poller: Poller
    regime: Regime
    #: Told of every switch.
    on_switch: Callable[[AppInfo], None]
    #: What the gems of the app that is prepared have set in Redis.
    _live: Rules = field(default_factory=Rules)

    async def prepare(self, app: AppInfo) -> AppInfo:
        """Make sure that `app` can be served in place of the present one, whose routes it keeps.
        Raises BootError when it cannot.
        """
        if difference := _other_redis(self.app, app):
            raise BootError(f"{difference}; restart gokiq-fast to change it")
        app = app.following(self.app)
        queues = [route.queue for route in app.routes]
        try:
            self.regime.check(app)
            check(app)
            await check_server(self.broker.link, app)
            self._live = (await Control(self.broker.link).start(Gems.of(app))).gems.rules
            self.broker.reloaded(
                queues, dead_max_jobs=app.dead_max_jobs, dead_timeout_s=app.dead_timeout_s
            )
            # Peers find our claims by the register: a new queue is in it before its first claim.
            await self.broker.renew(self.identity.about())
        except ConfigError as error:
            raise BootError(str(error)) from error
        except (ConnectionLost, ReplyError) as error:
            raise BootError(f"Redis did not answer: {error}; try again when it does") from error
        return app

    def switch(self, app: AppInfo) -> None:
        """From now on this app, which `prepare` has returned, is served."""
        self.app = app
        self.quarantine.reloaded(app)
        self.poller.reloaded(app)
        self.heartbeat.reloaded(app)
        self.regime.serve(app, self._live)
        self.dispatcher.reloaded(app, self.regime.rules, self.regime.needs)
        self.on_switch(app)


def _other_redis(old: AppInfo, new: AppInfo) -> str:
    if replace(new.redis, origin=old.redis.origin) == old.redis:
        return ""
    if str(new.redis) == str(old.redis):
        return f"the new code has other credentials or TLS settings for {new.redis}"
    return f"the new code uses {new.redis}, we are at {old.redis}"
