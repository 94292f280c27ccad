"""What can go wrong with a pooler that is looked at from outside."""

from __future__ import annotations


class TargetError(ValueError):
    """Where to connect to cannot be made out; the text says why, and has no password in it."""


class AdminError(Exception):
    """The pooler refused, could not be reached, or did not answer.

    `sqlstate` is None where the reason is not the pooler's own: network, time limit, driver. `lost` says that
    there is no connection any more, or never was.
    """

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str | None = None,
        detail: str | None = None,
        hint: str | None = None,
        lost: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.detail = detail
        self.hint = hint
        self.lost = lost


class NoAnswerInTime(AdminError):
    """What was sent has been given up, and the connection with it."""

    def __init__(self, asked: object, seconds: float) -> None:
        super().__init__(f"{asked}: no answer within {seconds:g} s", lost=True)
