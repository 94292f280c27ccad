"""What a console client has open: its transaction, its prepared statements, its portals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pooler.admin.console import Column, Result, Row
from pooler.admin.errors import AdminError

if TYPE_CHECKING:
    from pooler.admin.commands import Prepared

STATEMENTS: Final = 1000
"""Prepared statements of one client."""

PORTALS: Final = 20
"""Portals of one client: each may hold the rows of a whole table."""

SAVEPOINTS: Final = 100

KEPT_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the messages that a client's statements and portals came in; a portal keeps its statement."""

FAILED_TRANSACTION: Final = "25P02"
NO_TRANSACTION: Final = "25P01"
NO_STATEMENT: Final = "26000"
NO_PORTAL: Final = "34000"
NO_SAVEPOINT: Final = "3B001"
LIMIT_EXCEEDED: Final = "54000"


@dataclass(frozen=True, slots=True)
class Statement:
    """A prepared statement."""

    prepared: "Prepared"
    parameters: tuple[int, ...]
    """Type oids: what the client said in Parse, else what the statement takes."""
    size: int


@dataclass(slots=True)
class Portal:
    """A statement with its parameters, and how far it has run. `result` is None before that."""

    prepared: "Prepared"
    values: tuple[object, ...]
    formats: tuple[int, ...]
    size: int
    result: Result | None = None
    rows: Iterator[Row] = field(default_factory=lambda: iter(()))

    @property
    def columns(self) -> Sequence[Column] | None:
        return self.prepared.columns


@dataclass(slots=True)
class Transaction:
    """BEGIN and what follows. A command takes effect at once, and ROLLBACK takes nothing back."""

    status: str = "I"
    """As in ReadyForQuery: `I` none, `T` open, `E` failed."""
    savepoints: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.status = "T"

    def end(self) -> None:
        self.status = "I"
        self.savepoints.clear()

    def fail(self) -> None:
        """A command has failed."""
        if self.status == "T":
            self.status = "E"

    def require_open(self, command: str) -> None:
        """Raises AdminError outside of a transaction."""
        if self.status == "I":
            raise AdminError(f"{command} can only be used in transaction blocks", NO_TRANSACTION)

    def save(self, name: str) -> None:
        """SAVEPOINT. Raises AdminError if there are too many."""
        if len(self.savepoints) >= SAVEPOINTS:
            raise AdminError("too many savepoints", LIMIT_EXCEEDED)
        self.savepoints.append(name)

    def release(self, name: str) -> None:
        """RELEASE: forgets this savepoint and those behind it. Raises AdminError if there is none."""
        del self.savepoints[self._find(name) :]

    def roll_back_to(self, name: str) -> None:
        """ROLLBACK TO: a failed transaction goes on. Raises AdminError if there is no such savepoint."""
        del self.savepoints[self._find(name) + 1 :]
        self.status = "T"

    def _find(self, name: str) -> int:
        for position in reversed(range(len(self.savepoints))):
            if self.savepoints[position] == name:
                return position
        raise AdminError(f'savepoint "{name}" does not exist', NO_SAVEPOINT)


@dataclass(slots=True)
class Conversation:
    """All of it. The name of what has none is empty."""

    transaction: Transaction = field(default_factory=Transaction)
    statements: dict[str, Statement] = field(default_factory=dict)
    portals: dict[str, Portal] = field(default_factory=dict)

    def check(self, prepared: "Prepared") -> None:
        """Raises AdminError in a failed transaction, for all that does not end it."""
        if self.transaction.status == "E" and not prepared.ends_transaction:
            raise AdminError(
                "current transaction is aborted, commands ignored until end of transaction block",
                FAILED_TRANSACTION,
            )

    def failed(self) -> None:
        """A command has failed: its transaction too, and no portal survives."""
        self.transaction.fail()
        self.portals.clear()

    def synced(self) -> None:
        """A simple query or a Sync: outside of a transaction nothing lives longer than that."""
        if self.transaction.status == "I":
            self.portals.clear()

    def statement(self, name: str) -> Statement:
        """Raises AdminError if there is no such statement."""
        found = self.statements.get(name)
        if found is None:
            said = f'prepared statement "{name}"' if name else "unnamed prepared statement"
            raise AdminError(f"{said} does not exist", NO_STATEMENT)
        return found

    def portal(self, name: str) -> Portal:
        """Raises AdminError if there is no such portal."""
        found = self.portals.get(name)
        if found is None:
            raise AdminError(f'portal "{name}" does not exist', NO_PORTAL)
        return found

    def add_statement(self, name: str, statement: Statement) -> None:
        """Raises AdminError if the name is taken, or if there is no room."""
        if name in self.statements:
            raise AdminError(f'prepared statement "{name}" already exists', "42P05")
        if len(self.statements) >= STATEMENTS:
            raise AdminError("too many prepared statements", LIMIT_EXCEEDED)
        self._require_room(statement.size)
        self.statements[name] = statement

    def add_portal(self, name: str, portal: Portal) -> None:
        """Raises AdminError if the name is taken, or if there is no room."""
        if name in self.portals:
            raise AdminError(f'portal "{name}" already exists', "42P03")
        if len(self.portals) >= PORTALS:
            raise AdminError("too many portals", LIMIT_EXCEEDED)
        self._require_room(portal.size)
        self.portals[name] = portal

    def _require_room(self, size: int) -> None:
        kept = sum(statement.size for statement in self.statements.values())
        kept += sum(portal.size for portal in self.portals.values())
        if kept + size > KEPT_BYTES:
            raise AdminError("prepared statements and portals are too large", LIMIT_EXCEEDED)
