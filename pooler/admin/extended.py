"""The extended query protocol of the console: Parse, Bind, Describe, Execute, Close, Flush, Sync."""

import struct
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, Protocol

from pooler.admin import formats, replies, statements
from pooler.admin.commands import Prepared
from pooler.admin.console import Console, Result, Wait
from pooler.admin.conversation import LIMIT_EXCEEDED, Conversation, Portal, Statement
from pooler.admin.errors import AdminError
from pooler.admin.replies import Step, Steps
from pooler.wire import messages
from pooler.wire.errors import ProtocolError
from pooler.wire.framing import BIND, CLOSE, DESCRIBE, EXECUTE, FLUSH, PARSE, SYNC

EXTENDED: Final = frozenset((PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, FLUSH, SYNC))

PARAMETERS: Final = 1000
"""Parameters of a statement."""

CANNOT_RUN_AGAIN: Final = "55000"

_UNSIGNED: Final = struct.Struct("!H")
_LENGTH: Final = struct.Struct("!i")


class Runner(Console, Protocol):
    """The session: what both protocols share."""

    conversation: Conversation

    def run(self, prepared: Prepared, values: Sequence[object]) -> Generator[Step, None, Result | None]:
        """Runs a statement, and waits where it does; None if nothing is said then. Raises AdminError."""

    def failed(self, error: AdminError) -> bytes:
        """Takes note of an error; its ErrorResponse."""

    def log_query(self, text: str) -> None:
        """For who wants to see everything."""


class ExtendedProtocol:
    """One client's. `skipping` from an error to the next Sync: what comes between is not looked at."""

    def __init__(self, session: Runner) -> None:
        self.skipping = False
        self._session = session
        self._handlers: dict[int, Callable[[_Body], Steps]] = {
            PARSE: self._parse,
            BIND: self._bind,
            DESCRIBE: self._describe,
            EXECUTE: self._execute,
            CLOSE: self._close,
            FLUSH: self._flush,
        }

    def answer(self, kind: int, body: bytes) -> Generator[Step, None, None]:
        """The answer to one message."""
        conversation = self._session.conversation
        if kind == SYNC:
            self.skipping = False
            conversation.synced()
            yield replies.ready(conversation.transaction.status)
            return
        if self.skipping:
            return
        try:
            yield from self._handlers[kind](_Body(body))
        except AdminError as error:
            yield self._failed(error)
        except ProtocolError as error:
            yield self._failed(AdminError(str(error)))

    def _failed(self, error: AdminError) -> bytes:
        self.skipping = True
        return self._session.failed(error)

    def _parse(self, body: "_Body") -> Steps:
        name, text = body.string(), body.string()
        declared = body.oids(body.count())
        body.end()
        if len(declared) > PARAMETERS:
            raise AdminError("too many parameters", LIMIT_EXCEEDED)
        self._session.log_query(text)
        conversation = self._session.conversation
        if not name:
            conversation.statements.pop("", None)
        prepared = statements.prepare_one(text)
        conversation.check(prepared)
        if prepared.study is not None:
            study = prepared.study(self._session)
            yield Wait(study.over)
            known = study.outcome()
            prepared = replace(prepared, columns=known.columns, parameters=known.parameters)
        parameters = _types(declared, prepared.parameters)
        conversation.add_statement(name, Statement(prepared, parameters, body.size))
        yield messages.PARSE_COMPLETE_MESSAGE

    def _bind(self, body: "_Body") -> Steps:
        portal_name, statement_name = body.string(), body.string()
        codes = body.codes(body.count())
        raw = body.values(body.count())
        result_codes = body.codes(body.count())
        body.end()
        conversation = self._session.conversation
        statement = conversation.statement(statement_name)
        conversation.check(statement.prepared)
        if len(raw) != len(statement.parameters):
            raise AdminError(
                f"bind message supplies {len(raw)} parameters, "
                f'but prepared statement "{statement_name}" requires {len(statement.parameters)}'
            )
        columns = statement.prepared.columns
        portal = Portal(
            statement.prepared,
            formats.parameter_values(statement.parameters, codes, raw)[: len(statement.prepared.parameters)],
            () if columns is None else formats.column_formats(result_codes, columns),
            body.size + statement.size,
        )
        if not portal_name:
            conversation.portals.pop("", None)
        conversation.add_portal(portal_name, portal)
        yield replies.BIND_COMPLETE

    def _describe(self, body: "_Body") -> Steps:
        kind, name = body.target("DESCRIBE")
        conversation = self._session.conversation
        if kind == "P":
            portal = conversation.portal(name)
            yield _description(portal.prepared, portal.formats)
            return
        statement = conversation.statement(name)
        oids = statement.parameters
        yield messages.message(b"t", struct.pack(f"!H{len(oids)}I", len(oids), *oids))
        yield _description(statement.prepared, ())

    def _execute(self, body: "_Body") -> Steps:
        name, limit = body.string(), body.number()
        body.end()
        portal = self._session.conversation.portal(name)
        if portal.prepared is statements.EMPTY:
            yield replies.EMPTY_QUERY
            return
        if portal.result is None:
            result = yield from self._session.run(portal.prepared, portal.values)
            if result is None:
                return
            portal.result, portal.rows = result, iter(result.rows)
            if result.notices:
                yield result.notices
        elif portal.columns is None:
            raise AdminError(f'portal "{name}" cannot be run anymore', CANNOT_RUN_AGAIN)
        yield from self._rows(portal, portal.result.tag, limit)

    def _rows(self, portal: Portal, tag: str, limit: int) -> Steps:
        if portal.columns is None:
            yield messages.command_complete(tag)
            return
        encode = formats.row_encoder(portal.columns, portal.formats)
        wanted = islice(portal.rows, limit) if limit > 0 else portal.rows
        count = yield from replies.rows(wanted, encode)
        if count == limit > 0:
            yield replies.PORTAL_SUSPENDED
        else:
            yield messages.command_complete(f"SELECT {count}" if tag.startswith("SELECT ") else tag)

    def _close(self, body: "_Body") -> Steps:
        kind, name = body.target("CLOSE")
        conversation = self._session.conversation
        if kind == "P":
            conversation.portals.pop(name, None)
        else:
            conversation.statements.pop(name, None)
        yield messages.CLOSE_COMPLETE_MESSAGE

    def _flush(self, body: "_Body") -> Steps:
        """Nothing is held back."""
        yield from ()


def _types(declared: Sequence[int], own: Sequence[int]) -> tuple[int, ...]:
    """Of the parameters: as the client declared them, where it did; at least as many as the statement has."""
    longest = max(len(declared), len(own))
    pairs = zip(
        (*declared, *(0,) * (longest - len(declared))),
        (*own, *(formats.UNKNOWN,) * (longest - len(own))),
        strict=True,
    )
    return tuple(said or taken for said, taken in pairs)


def _description(prepared: Prepared, format_codes: Sequence[int]) -> bytes:
    if prepared.columns is None:
        return replies.NO_DATA
    return formats.row_description(prepared.columns, format_codes)


class _Body:
    """The body of a message, read from front to back. All raise ProtocolError where it ends too early."""

    def __init__(self, raw: bytes) -> None:
        self.size = len(raw)
        self._raw = raw
        self._position = 0

    def string(self) -> str:
        text, self._position = messages.read_string(self._raw, self._position)
        return text

    def count(self) -> int:
        """An Int16 that says how many of something follow."""
        (count,) = _UNSIGNED.unpack(self._take(2))
        return int(count)

    def number(self) -> int:
        """An Int32."""
        (number,) = _LENGTH.unpack(self._take(4))
        return int(number)

    def codes(self, count: int) -> tuple[int, ...]:
        """So many format codes."""
        return struct.unpack(f"!{count}h", self._take(2 * count))

    def oids(self, count: int) -> tuple[int, ...]:
        """So many type oids."""
        return struct.unpack(f"!{count}I", self._take(4 * count))

    def values(self, count: int) -> list[bytes | None]:
        """So many values; None is NULL."""
        found: list[bytes | None] = []
        for _ in range(count):
            length = self.number()
            found.append(None if length == -1 else self._take(length))
        return found

    def target(self, command: str) -> tuple[str, str]:
        """What a Describe or Close is about: `S` or `P`, and its name."""
        kind = self._take(1).decode("latin-1")
        name = self.string()
        self.end()
        if kind not in ("S", "P"):
            raise ProtocolError(f"invalid {command} message subtype {ord(kind)}")
        return kind, name

    def end(self) -> None:
        """Raises ProtocolError if there is more."""
        if self._position != self.size:
            raise ProtocolError("invalid message format")

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= self.size - self._position:
            raise ProtocolError("insufficient data left in message")
        self._position += count
        return self._raw[self._position - count : self._position]
