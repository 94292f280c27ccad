"""The one way by which a command that acts leaves the console."""

from __future__ import annotations

import getpass

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.operate.journal import Journal, masked
from tui.operate.outcome import Outcome, Result, outcome_of

READ_ONLY = "this console is read-only"


class Operator:
    """Who acts, on which pooler. It alone sends commands, refuses if it is read-only, keeps the journal.

    `pooler` is the pooler's name, which has to be typed for what ends it; `user` the one at the pooler.
    """

    def __init__(self, pooler: str, user: str, journal: Journal, *, read_only: bool = False) -> None:
        self.pooler = pooler
        self.journal = journal
        self.read_only = read_only
        self._who = f"{_account()} as {user}"

    async def send(
        self, connection: AdminConnection, verb: str, command: str, target: str, timeout: float | None = None
    ) -> Outcome:
        """Send one command and put down what came of it. Without `timeout` it waits as long as it takes.

        What goes wrong is in the outcome.
        """
        outcome = await self.ask(connection, command, target, timeout)
        self.note(verb, outcome)
        return outcome

    async def ask(
        self, connection: AdminConnection, command: str, target: str, timeout: float | None = None
    ) -> Outcome:
        """The same, for jobs, which put down themselves how they end."""
        if self.read_only:
            return Outcome(masked(command), target, Result.REFUSED, READ_ONLY)
        try:
            tag = await connection.command(command, timeout)
        except AdminError as error:
            return outcome_of(masked(command), target, error)
        return Outcome(masked(command), target, Result.DONE, masked(tag))

    def note(self, verb: str, outcome: Outcome) -> None:
        """Put down something that was found out otherwise than by the answer."""
        self._note(verb, outcome.command, outcome.target, outcome.result.value, outcome.reason)

    def note_start(self, verb: str, command: str, target: str) -> None:
        """Put down that a job begins: its end may be long after, or never seen."""
        self._note(verb, command, target, "started", "")

    def _note(self, verb: str, command: str, target: str, result: str, text: str) -> None:
        self.journal.note(
            who=self._who,
            pooler=self.pooler,
            verb=verb,
            target=target,
            command=command,
            result=result,
            text=text,
        )


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
