"""A model of one PostgreSQL backend: deterministic, without I/O, and stricter than the real one.

It takes messages apart to the last byte, and raises `Violation` or `Malformed` where a pooler has sent what
it must not: something cut or doubled, or a statement name of its own that this server does not have.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from pooler.wire.prepared import NAME_PREFIX
from tests.support.rawclient import PROTOCOL_3
from tests.unit.relay.session import ClientError, Fatal, Session, Violation
from tests.unit.relay.sql import Plan, SqlError, UnknownSql, division_by_zero, plan, split
from tests.unit.wire.decoder import Body, Malformed

LARGEST: Final = 1 << 20
"""Bytes of a message; no test sends a longer one."""

LARGEST_OF_ALL: Final = (1 << 31) - 1
"""Bytes of a message that a pooler lets through (max_packet_size)."""

OWN_NAME: Final = NAME_PREFIX.decode()
EXTENDED: Final = "PBDEC"
PROTOCOL_VIOLATION: Final = "08P01"

Steps: TypeAlias = Generator[None, tuple[str, Body], None]
"""A part of a session: it is sent one message after the other."""


@dataclass(slots=True)
class Portal:
    """A statement with its arguments, and the rows that it has not sent yet."""

    plan: Plan
    rows: list[str] = field(default_factory=list)
    used: bool = False


class Postgres:
    """A backend, from the StartupMessage on.

    `hesitant`: output is kept until the protocol says that it must go, as PostgreSQL does unless it gets too
    much. `reports_at_once`: a changed parameter is reported before CommandComplete, as before version 14,
    rather than before ReadyForQuery. `forgiving`: mistakes of clients are answered with errors. `key` is what
    a cancel request for it says.
    """

    def __init__(
        self,
        hesitant: bool = True,
        reports_at_once: bool = False,
        forgiving: bool = False,
        pid: int = 4711,
    ) -> None:
        self.key = struct.pack("!II", pid, 815)
        self.closed = False
        self.own_statements = 0
        self._forgiving = forgiving
        self._session = Session(hesitant, reports_at_once)
        self._input = bytearray()
        self._started = False
        self._skipping = False
        self._copying = False
        self._open = False
        self._statements: dict[str, Plan | None] = {}
        self._portals: dict[str, Portal] = {}
        self._steps = self._serve()
        next(self._steps)

    # From outside ------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Bytes from the other side; returns what it sends because of them. Raises Fatal if `forgiving`."""
        if self.closed and data:
            raise Violation(f"sent behind Terminate: {data!r}")
        self._input += data
        while not self.closed and self._take():
            pass
        return self._session.sent()

    @property
    def names(self) -> list[str]:
        """The named statements that are prepared."""
        return [name for name in self._statements if name]

    @property
    def in_failed_transaction(self) -> bool:
        """All that it does now is to end the transaction."""
        return self._session.status == "E"

    @property
    def at_rest(self) -> bool:
        """It owes nothing, is in no transaction, and nothing is half way: another client may have it."""
        busy = self._open or self._skipping or self._copying or self._session.holds_back
        return self._started and not busy and not self._input and self._session.status == "I"

    def _take(self) -> bool:
        start = 1 if self._started else 0
        if len(self._input) < start + 4:
            return False
        length = int.from_bytes(self._input[start : start + 4], "big")
        if not 4 <= length <= (LARGEST_OF_ALL if self._forgiving else LARGEST):
            raise Violation(f"bad length: {bytes(self._input[:40])!r}")
        if length > LARGEST:
            raise Fatal("invalid message length")
        if len(self._input) < start + length:
            return False
        kind = chr(self._input[0])
        body = Body(bytes(self._input[start + 4 : start + length]))
        del self._input[: start + length]
        if self._started:
            self._steps.send((kind, body))
        else:
            self._start(body)
        return True

    # Messages ----------------------------------------------------------------------------------------------

    def _start(self, body: Body) -> None:
        if body.number("I") != PROTOCOL_3:
            raise Violation("not a StartupMessage")
        given: dict[str, str] = {}
        while name := body.text():
            given[name] = body.text()
        body.end()
        self._session.start(given, self.key)
        self._started = True

    def _serve(self) -> Steps:
        while True:
            kind, body = yield
            if self._skipping and kind not in "SX":
                continue
            try:
                yield from self._message(kind, body)
            except SqlError as error:
                self._fail(kind, error)
            except (Malformed, ClientError, UnknownSql, UnicodeDecodeError) as error:
                if not self._forgiving:
                    raise
                self._fail(kind, SqlError(PROTOCOL_VIOLATION, str(error)))

    def _message(self, kind: str, body: Body) -> Steps:
        self._open = self._open or kind in EXTENDED or kind == "H"
        if kind == "Q":
            yield from self._query(body)
        elif kind == "E":
            yield from self._execute(body)
        elif kind == "P":
            self._parse(body)
        elif kind == "B":
            self._bind(body)
        elif kind == "D":
            self._describe(body)
        elif kind == "C":
            self._close(body)
        elif kind == "F":
            self._call(body)
        elif kind == "S":
            self._skipping = False
            body.end()
            self._ready()
        elif kind == "H":
            body.end()
            self._session.flush()
        elif kind == "X":
            self.closed = True
        elif kind not in "dcf":  # these may be under way when a COPY has failed
            raise Violation(f"message of type {kind!r}")

    def _fail(self, kind: str, error: SqlError) -> None:
        self._copying = False
        self._portals.clear()
        self._session.fail(error)
        if kind in EXTENDED:
            self._skipping = True
        else:
            self._ready()

    def _ready(self) -> None:
        self._open = False
        if self._session.status == "I":
            self._portals.clear()
        self._session.ready()

    # Simple queries ----------------------------------------------------------------------------------------

    def _query(self, body: Body) -> Steps:
        sql = body.text()
        body.end()
        self._statements.pop("", None)
        statements = split(sql)
        if not statements:
            self._session.say("I")
        for statement in statements:
            what = plan(statement)
            self._session.begin_statement(what)
            what.analyse()
            if what.fails == "plan":
                raise division_by_zero()
            if what.returns_rows:
                self._session.describe_rows(what)
            yield from self._perform(self._portal(what, []), 0)
        self._ready()

    def _call(self, body: Body) -> None:
        oid = body.number("I")
        body.numbers("h")
        values = body.values()
        body.number("h")
        body.end()
        self._session.begin_statement(Plan("CALL"))
        if oid == 0:
            raise SqlError("42883", "function with OID 0 does not exist")
        result = b"".join(value or b"" for value in values)
        self._session.say("V", struct.pack("!I", len(result)) + result)
        self._ready()

    # Extended protocol -------------------------------------------------------------------------------------

    def _parse(self, body: Body) -> None:
        name, sql = body.text(), body.text()
        body.numbers("I")
        body.end()
        own = name.startswith(OWN_NAME)
        if name and name in self._statements:
            if own:
                raise Violation(f"{name} prepared twice")
            # PostgreSQL looks at the text first; which of two errors a client gets does not matter here.
            raise SqlError("42P05", f'prepared statement "{name}" already exists')
        if not name:
            self._statements.pop("", None)
        statements = split(sql)
        if len(statements) > 1:
            raise SqlError("42601", "cannot insert multiple commands into a prepared statement")
        what = plan(statements[0]) if statements else None
        self._session.begin_statement(what)
        if what is not None:
            what.analyse()
        self._statements[name] = what
        self.own_statements += own
        self._session.say("1")

    def _known(self, name: str) -> Plan | None:
        if name in self._statements:
            return self._statements[name]
        if name.startswith(OWN_NAME):
            raise Violation(f"{name} is not prepared")
        raise SqlError("26000", f'prepared statement "{name}" does not exist')

    def _bind(self, body: Body) -> None:
        portal, statement = body.text(), body.text()
        body.numbers("h")
        values = [(value or b"").decode() for value in body.values()]
        body.numbers("h")
        body.end()
        what = self._known(statement)
        self._session.begin_statement(what)
        if what is not None and what.parameters != len(values):
            raise SqlError(PROTOCOL_VIOLATION, f"bind message supplies {len(values)} parameters")
        if portal and portal in self._portals:
            raise SqlError("42P03", f'cursor "{portal}" already exists')
        if what is not None and what.fails == "plan":
            raise division_by_zero()
        self._portals[portal] = self._portal(what or Plan(""), values)
        self._session.say("2")

    def _portal(self, what: Plan, values: list[str]) -> Portal:
        if what.verb == "SHOW":
            return Portal(what, [self._session.values[self._session.parameter(what.name)]])
        return Portal(what, values if what.parameters else list(what.rows))

    def _found(self, name: str) -> Portal:
        if name not in self._portals:
            raise SqlError("34000", f'portal "{name}" does not exist')
        return self._portals[name]

    def _describe(self, body: Body) -> None:
        of, name = body.raw(1), body.text()
        body.end()
        if of == b"P":
            self._session.describe_rows(self._found(name).plan)
            return
        what = self._known(name)
        if what is not None and what.returns_rows:
            self._session.begin_statement(what)
        count = 0 if what is None else what.parameters
        self._session.say("t", struct.pack(f"!H{count}I", count, *[25] * count))
        self._session.describe_rows(what)

    def _close(self, body: Body) -> None:
        of, name = body.raw(1), body.text()
        body.end()
        if of == b"P":
            self._portals.pop(name, None)
        elif name.startswith(OWN_NAME) and name not in self._statements:
            raise Violation(f"{name} closed, but not prepared")
        else:
            self.own_statements -= name.startswith(OWN_NAME)
            self._statements.pop(name, None)
        self._session.say("3")

    def _execute(self, body: Body) -> Steps:
        name, limit = body.text(), body.number("I")
        body.end()
        portal = self._found(name)
        self._session.begin_statement(portal.plan)
        if not portal.plan.verb:
            self._session.say("I")
            return
        if portal.used and not portal.plan.returns_rows:
            raise SqlError("55000", f'portal "{name}" cannot be run')
        portal.used = True
        yield from self._perform(portal, limit)

    # Statements --------------------------------------------------------------------------------------------

    def _perform(self, portal: Portal, limit: int) -> Steps:
        what = portal.plan
        if what.returns_rows:
            self._rows(portal, limit)
        elif what.verb == "COPY IN":
            yield from self._copy_in()
        elif what.verb == "COPY OUT":
            self._copy_out(what)
        else:
            self._session.complete(self._utility(what))

    def _rows(self, portal: Portal, limit: int) -> None:
        count = limit or len(portal.rows)
        sent, portal.rows = portal.rows[:count], portal.rows[count:]
        for text in sent:
            raw = text.encode()
            self._session.say("D", struct.pack("!HI", 1, len(raw)) + raw)
        if limit > 0 and len(sent) == limit:
            self._session.say("s")
            return
        if portal.plan.fails == "run":
            raise division_by_zero()
        self._session.complete("SHOW" if portal.plan.verb == "SHOW" else f"SELECT {len(sent)}")

    def _copy_in(self) -> Steps:
        """What came in is told in a notice; a message that starts with "bad" is an error."""
        self._copying = True
        self._session.say("G", struct.pack("!BHH", 0, 1, 0))
        self._session.flush()
        copied = b""
        while True:
            kind, body = yield
            if kind == "d":
                copied += (data := body.rest())
                if data.startswith(b"bad"):
                    raise SqlError("22P02", "invalid input syntax")
            elif kind == "f":
                raise SqlError("57014", f"COPY from stdin failed: {body.text()}")
            elif kind == "c":
                break
            elif kind not in "SH":
                self.closed = kind == "X"
                raise (
                    SqlError(PROTOCOL_VIOLATION, "")
                    if self.closed
                    else ClientError(f"{kind!r} while copying")
                )
            body.end()
        self._copying = False
        self._session.complain("N", "NOTICE", "00000", f"{len(copied)} bytes, {zlib.crc32(copied)}")
        self._session.complete("COPY 1")

    def _copy_out(self, what: Plan) -> None:
        self._session.say("H", struct.pack("!BHH", 0, 1, 0))
        for text in what.rows:
            self._session.say("d", text.encode() + b"\n")
        self._session.say("c")
        self._session.complete(f"COPY {len(what.rows)}")

    def _utility(self, what: Plan) -> str:
        session = self._session
        if what.verb == "SET":
            session.values[session.parameter(what.name)] = what.text
        elif what.verb == "NOTIFY":
            session.notify(what.name, what.text)
        elif what.verb == "DO":
            session.complain("N", "NOTICE", "00000", what.text)
        elif what.verb == "BEGIN":
            session.begin()
        elif what.ends_transaction:
            self._portals.clear()
            return session.end(what.verb)
        elif what.verb in ("DISCARD ALL", "DEALLOCATE ALL"):
            self._forget(what.verb)
        return what.verb

    def _forget(self, verb: str) -> None:
        if verb == "DISCARD ALL":
            if self._session.status != "I":
                raise SqlError("25001", "DISCARD ALL cannot run inside a transaction block")
            self._session.reset()
            self._portals.clear()
        self._statements.clear()
        self.own_statements = 0
