"""gokiq-fast with one of its safeguards taken out, to see whether the checker notices.

python -m tests.chaos.sabotage NAME [ARGUMENT …]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from gokiq.claiming import adoption as reaper
from gokiq.claiming import dispatcher
from gokiq.commands import main as cli
from gokiq.store import broker

SABOTAGES: dict[str, Callable[[], None]] = {}


def sabotage(function: Callable[[], None]) -> Callable[[], None]:
    """Register it under the name of its function."""
    SABOTAGES[function.__name__] = function
    return function


@sabotage
def no_fence() -> None:
    """Outcomes are written whether or not the claim is still held."""
    _rewrite(
        "settle_claim",
        ("if not claim then", "if not claim and ARGV[at + 6] == '' then"),
        ("dropped = dropped + (stop - first + 1 - held)", ""),
    )
    # The same, as an orchestrator does it that has lost its connection.
    broker.Settlement.keep = lambda self, held: {}  # type: ignore[method-assign]


@sabotage
def ack_before_run() -> None:
    """A job leaves its queue for the memory of the orchestrator alone, as with a plain BRPOP."""
    _rewrite(
        "settle_claim",
        ("redis.pcall('HSET', claims_of(r), unpack(pairs_))", "1"),
        ("redis.call('HDEL', claims_of(r), unpack(ARGV, first, stop))", "stop - first + 1"),
        ("if not claim then", "if not claim and ARGV[at + 6] == '' then"),
    )


@sabotage
def drop_requeues() -> None:
    """What nobody runs any more is released and not given back."""
    broker._OP_OF_STATUS[dispatcher.REFUSED] = broker._RELEASE


@sabotage
def promote_and_keep() -> None:
    """A due member is pushed and removed only when it has been pushed a second time."""
    remove = "redis.call('ZREM', KEYS[1], member)"
    once_more = f"if redis.call('SADD', 'sabotaged', member) == 0 then {remove} end"
    _rewrite("promote", (remove, once_more))


@sabotage
def reconcile_knows_nothing() -> None:
    """After an outage jobs that are out at workers count as unheard of."""
    original = dispatcher.Dispatcher._reconcile

    async def reconcile(self: dispatcher.Dispatcher) -> None:
        self.running = list  # type: ignore[method-assign]
        try:
            await original(self)
        finally:
            del self.running  # type: ignore[method-assign]

    dispatcher.Dispatcher._reconcile = reconcile  # type: ignore[method-assign]


@sabotage
def adopt_the_living() -> None:
    """Every other owner is taken for dead."""
    reaper.is_proved_dead = lambda about: True  # type: ignore[attr-defined]


def _rewrite(script: str, *changes: tuple[str, str]) -> None:
    original = broker.Script.__init__

    def init(self: broker.Script, *names: str) -> None:
        original(self, *names)
        if script not in names:
            return
        text = self.source.decode()
        for old, new in changes:
            assert text.count(old) == 1, f"{script}.lua has no longer one {old!r}"
            text = text.replace(old, new)
        self.source = text.encode()
        self.digest = broker.sha1(self.source, usedforsecurity=False).hexdigest()

    broker.Script.__init__ = init  # type: ignore[method-assign]


if __name__ == "__main__":
    SABOTAGES[sys.argv[1]]()
    cli.main(sys.argv[2:])
