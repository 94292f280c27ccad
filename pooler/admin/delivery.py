"""Answers on their way to a console client: step by step, with room for everybody else between."""

from collections.abc import Callable, Generator
from typing import Final

from pooler.admin.console import Wait
from pooler.admin.errors import AdminError
from pooler.admin.replies import TURN, Step
from pooler.pool.registry import Registry
from pooler.relay.client import ClientConnection

UNSENT_LIMIT: Final = 1024 * 1024
"""Bytes that a client has not taken yet, above which it gets no more."""

SENT_AT_ONCE: Final = 64 * 1024
"""Bytes of answers before the event loop gets its turn, in milliseconds. Short answers count for more."""

_LEAST: Final = SENT_AT_ONCE // 100


class Delivery:
    """Sends one answer at a time; `done` is called after one that did not end at once."""

    def __init__(self, client: ClientConnection, registry: Registry, done: Callable[[], None]) -> None:
        self._client = client
        self._registry = registry
        self._done = done
        self._steps: Generator[Step, None, None] | None = None
        self._wait: Wait | None = None
        self._forget: Callable[[], None] = _nothing
        self._sent = 0

    @property
    def busy(self) -> bool:
        """An answer is on its way, or the client has to read first."""
        return self._wait is not None

    @property
    def awaits_command(self) -> bool:
        """The client waits for a command to be done, such as PAUSE."""
        return self._wait is not None and self._wait.outcome is not None

    def start(self, steps: Generator[Step, None, None]) -> None:
        """Sends this answer, as far as it goes at once. Nothing else may be under way."""
        self._steps = steps
        self._advance()

    def stop(self, reason: str) -> None:
        """Gives up the answer."""
        self._steps = None
        self._abandon(reason)

    def fail(self, error: AdminError) -> None:
        """The command that is waited for is cancelled with this; its answer has to make something of it."""
        steps = self._steps
        assert steps is not None
        self._abandon("cancelled")
        if self._take(steps.throw(error)):
            self._advance()
        self._go_on()

    def _advance(self) -> None:
        steps = self._steps
        if steps is None:
            return
        for step in steps:
            if self._steps is not steps:
                return  # the command has closed its own connection
            if not self._take(step):
                return
        if self._steps is not steps:
            return
        self._steps = None
        self._sent += _LEAST
        if self._sent > SENT_AT_ONCE or not self._has_read():
            self._wait_for(TURN)

    def _take(self, step: Step) -> bool:
        """Does one step; False if the next has to wait."""
        if isinstance(step, Wait):
            self._wait_for(step)
            return False
        self._client.send(step)
        self._sent += len(step)
        return True

    def _wait_for(self, wait: Wait) -> None:
        self._wait = wait
        self._sent = 0
        over = self._has_read if wait is TURN else wait.over
        self._forget = self._registry.when(over, self._waited)

    def _has_read(self) -> bool:
        return self._client.unsent() <= UNSENT_LIMIT

    def _waited(self) -> None:
        self._stop_waiting()
        self._advance()
        self._go_on()

    def _go_on(self) -> None:
        if self._wait is None:
            self._done()

    def _abandon(self, reason: str) -> None:
        wait = self._wait
        self._stop_waiting()
        if wait is not None and wait.abandoned is not None:
            wait.abandoned(reason)

    def _stop_waiting(self) -> None:
        self._forget()
        self._forget = _nothing
        self._wait = None


def _nothing() -> None:
    pass
