"""The session of a model backend: what it has to say, its parameters, its transaction."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from tests.support.rawclient import message
from tests.unit.relay.sql import Plan, SqlError

DEFAULTS: Final[Mapping[str, str]] = {
    "server_version": "17.0",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
    "application_name": "",
}

LATE: Final = "late"
"""The channel whose notifications come only behind ReadyForQuery, when the server is idle already."""


class Violation(AssertionError):
    """The other side has sent what no correct pooler sends."""


class ClientError(AssertionError):
    """The other side has sent what a client must not send. PostgreSQL answers this with an error."""


class Fatal(Exception):
    """PostgreSQL closes the connection."""


class Session:
    """Collects what is said, until it is sent.

    `hesitant` and `reports_at_once` are those of the backend. `status` is that of ReadyForQuery.
    """

    def __init__(self, hesitant: bool, reports_at_once: bool) -> None:
        self.status = "I"
        self.values: dict[str, str] = {}
        self._startup_values: dict[str, str] = {}
        self._before: dict[str, str] | None = None
        self._reported: dict[str, str] = {}
        self._notified: list[tuple[str, str]] = []
        self._hesitant = hesitant
        self._reports_at_once = reports_at_once
        self._unsent = bytearray()
        self._sent = bytearray()

    # Messages ----------------------------------------------------------------------------------------------

    @property
    def holds_back(self) -> bool:
        """It has something to say that nothing has made it send."""
        return bool(self._unsent)

    def sent(self) -> bytes:
        """What has gone out since the last call."""
        data = bytes(self._sent)
        self._sent.clear()
        return data

    def say(self, kind: str, body: bytes = b"") -> None:
        self._unsent += message(kind, body)
        if not self._hesitant:
            self.flush()

    def flush(self) -> None:
        self._sent += self._unsent
        self._unsent.clear()

    def complain(self, kind: str, severity: str, sqlstate: str, text: str) -> None:
        """An error or a notice, which PostgreSQL sends at once."""
        self.say(kind, f"S{severity}\0C{sqlstate}\0M{text}\0\0".encode(errors="replace"))
        self.flush()

    def complete(self, tag: str) -> None:
        if self._reports_at_once:
            self._report()
        self.say("C", tag.encode() + b"\0")

    def describe_rows(self, plan: Plan | None) -> None:
        if plan is None or not plan.returns_rows:
            self.say("n")
        else:
            self.say("T", struct.pack("!H", 1) + b"text\0" + struct.pack("!IHIHIH", 0, 0, 25, 65535, 0, 0))

    def ready(self) -> None:
        """ReadyForQuery, and all that has waited for it."""
        self._report()
        if self.status == "I":
            self._before = None
            self._notify([payload for channel, payload in self._notified if channel != LATE])
        self.say("Z", self.status.encode())
        if self.status == "I":
            self._notify([payload for channel, payload in self._notified if channel == LATE])
            self._notified.clear()
        self.flush()

    def _report(self) -> None:
        for name, value in self.values.items():
            if self._reported.get(name) != value:
                self._reported[name] = value
                self.say("S", f"{name}\0{value}\0".encode())

    def _notify(self, payloads: list[str]) -> None:
        for payload in payloads:
            self.say("A", struct.pack("!I", 4711) + f"channel\0{payload}\0".encode())

    # Parameters and notifications --------------------------------------------------------------------------

    def start(self, given: dict[str, str], key: bytes) -> None:
        """The StartupMessage had these parameters; everybody is let in."""
        self._startup_values = {name: given.get(name, value) for name, value in DEFAULTS.items()}
        self.values = dict(self._startup_values)
        self.say("R", bytes(4))
        self._report()
        self.say("K", key)
        self.ready()

    def parameter(self, name: str) -> str:
        """How a parameter is spelled. Raises SqlError."""
        found = {key.lower(): key for key in self.values}.get(name.lower())
        if found is None:
            raise SqlError("42704", f'unrecognized configuration parameter "{name}"')
        return found

    def reset(self) -> None:
        self.values = dict(self._startup_values)

    def notify(self, channel: str, payload: str) -> None:
        self._notified.append((channel, payload))

    # Transactions ------------------------------------------------------------------------------------------

    def begin_statement(self, plan: Plan | None) -> None:
        """Raises SqlError for what a failed transaction does not run."""
        if self.status == "E" and plan is not None and not plan.ends_transaction:
            raise SqlError("25P02", "current transaction is aborted")
        if self._before is None:
            self._before = dict(self.values)

    def fail(self, error: SqlError) -> None:
        self._roll_back()
        if self.status == "T":
            self.status = "E"
        self.complain("E", "ERROR", error.sqlstate, error.text)

    def begin(self) -> None:
        if self.status != "I":
            self.complain("N", "WARNING", "25001", "there is already a transaction in progress")
        self.status = "T"

    def end(self, verb: str) -> str:
        """COMMIT or ROLLBACK; returns which of them it was in the end."""
        if self.status == "I":
            self.complain("N", "WARNING", "25P01", "there is no transaction in progress")
        if verb == "ROLLBACK":
            self._roll_back()
        tag = "ROLLBACK" if self.status == "E" else verb
        self.status = "I"
        self._before = None
        return tag

    def _roll_back(self) -> None:
        self._notified.clear()
        if self._before is not None:
            self.values, self._before = self._before, None
