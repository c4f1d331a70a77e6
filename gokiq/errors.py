"""The whole error tree: what is raised when gokiq cannot go on; a failed job is a value."""

from __future__ import annotations


class GokiqError(Exception):
    """Base of all errors that gokiq raises; its text is one line: the cause, then what to do."""


class ConfigError(GokiqError):
    """A flag, an environment variable or a setting of the app has a value that cannot be used."""


class PayloadError(GokiqError):
    """A payload that is not one JSON object; `offset` is the byte (from 0) where that shows."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset

    def __str__(self) -> str:
        return (
            f"the payload stops being one JSON object at byte {self.offset}; "
            "look at what the client pushed"
        )


class ProtocolError(GokiqError):
    """The other end of a connection broke the sidecar protocol; close, requeue, reconnect."""


class ReplyError(GokiqError):
    """Redis answered a command with an error; the connection itself is sound."""


class ConnectionLost(GokiqError):  # noqa: N818 - the field's word for it, as in redis and asyncpg
    """A connection is gone, or did not answer in time; what was under way on it is unknown.

    `to_correct` is what the address has wrong, for a server that answers and turns us away: `the
    password`; empty when it does not answer.
    """

    def __init__(self, text: str, to_correct: str = "") -> None:
        super().__init__(text)
        self.to_correct = to_correct

    def next_step(self, origin: str) -> str:
        """What to do where the address stands in `origin`."""
        if self.to_correct:
            return f"correct {self.to_correct} in {origin}"
        return f"start Redis or correct {origin}"


class BootError(GokiqError):
    """gokiq or the app's sidecar did not come up, and trying again would not help."""


class ExecutorUnavailable(GokiqError):  # noqa: N818 - names a state of the sidecar, not a mistake
    """No worker of the sidecar takes jobs now."""
