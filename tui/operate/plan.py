"""Before anything is done: what it would hit, the exact commands, how to take it back, what to type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.sqltext import identifier, string
from tui.admin.target import APPLICATION, DATABASE
from tui.operate.actions import Action, Risk
from tui.operate.journal import HIDDEN, masked
from tui.operate.operator import Operator
from tui.operate.outcome import Outcome, Result
from tui.operate.situation import Row, client_text, count, plural
from tui.operate.subject import Key, Kind, Subject, key_text, row_key

_SHOWN: Final = 8
"""Lines of a list in a dialog."""

_MANY: Final = 20
"""Of more clients than this the number has to be typed: a selection is quickly greater than meant."""

_DIES: Final = "a PgBouncer dies if it is told to kill the connection that tells it"

_IDENTITY: Final = ("connect_time", "addr", "port", "user", "database")
"""What a client keeps as long as it is the same one."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a plan. `identity` is what was there under `key` when the plan was made."""

    text: str
    target: str
    key: Key | None = None
    identity: tuple[Any, ...] | None = None

    @property
    def shown(self) -> str:
        """For a screen: without secrets."""
        return masked(self.text)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done. It does not change any more: what it speaks of is fixed."""

    action: Action
    subject: Subject
    commands: tuple[Command, ...]
    effect: tuple[str, ...]
    """What will be hit, a sentence each."""
    undo: str
    risk: Risk
    typed: str = ""
    """What has to be typed before it is carried out; empty where nothing has."""
    problem: str = ""
    """Why it makes no sense; then there are no commands."""
    is_job: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`Pause: database app`."""
        if "key" in self.arguments:
            return f"{self.action.title}: {self.arguments['key']}"
        variant = self.action.variant(self.arguments.get("variant", ""))
        how = f", {variant.title}" if variant is not None else ""
        return f"{self.action.title}: {self.subject}{how}"


async def make_plan(
    connection: AdminConnection,
    action: Action,
    subject: Subject,
    pooler: str,
    arguments: Mapping[str, str] | None = None,
) -> Plan:
    """Find out what an action would do. Nothing is done, and nothing but SHOW is asked.

    `pooler` is the name that has to be typed for what hits everything. Raises AdminError, and ValueError for
    what cannot be a command.
    """
    given = dict(arguments or {})
    if subject.kind not in action.scopes:
        raise ValueError(f"{action.verb} is not for {subject}")
    draft = _Draft(connection, action, subject, given)
    if action.parameters:
        await draft.set_a_value()
    elif subject.kind is Kind.POOLER:
        await draft.everything()
    elif subject.kind is Kind.DATABASE:
        await draft.databases()
    else:
        await draft.clients()
    risk = action.scopes[subject.kind]
    if risk is Risk.CONFIRM and len(draft.commands) > _MANY:
        risk = Risk.NAME
    return Plan(
        action=action,
        subject=subject,
        commands=() if draft.problem else tuple(draft.commands),
        effect=tuple(draft.effect),
        undo=draft.undo or action.no_undo,
        risk=risk,
        typed=_to_type(risk, subject, pooler),
        problem=draft.problem,
        is_job=action.waits(given.get("variant", "")),
        arguments=given,
    )


def _to_type(risk: Risk, subject: Subject, pooler: str) -> str:
    if risk < Risk.NAME:
        return ""
    if risk is Risk.POOLER:
        return pooler
    return key_text(subject.keys[0]) if len(subject.keys) == 1 else str(subject)


class _Draft:
    """A plan that is being made."""

    def __init__(
        self, connection: AdminConnection, action: Action, subject: Subject, arguments: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._action = action
        self._subject = subject
        self._arguments = arguments
        self.commands: list[Command] = []
        self.effect: list[str] = []
        self.undo = ""
        self.problem = ""

    async def everything(self) -> None:
        action = self._action
        self._add(None, "the whole pooler")
        self.effect.append(f"{await count(self._connection)}, in all databases")
        if action.verb == "RELOAD":
            await self._preview()
        elif action.verb == "KILL":
            self.undo = "RESUME of each database. Clients have to connect again."
        elif action.undo:
            self.undo = action.undo
        if action.verb == "SHUTDOWN" and self._arguments.get("variant") == "WAIT_FOR_CLIENTS":
            self.effect.append("Connections to the admin database count as clients, this console's too.")

    async def databases(self) -> None:
        names = [str(key) for key in self._subject.keys]
        known = {row["name"]: row for row in (await self._connection.rows("SHOW DATABASES")).dicts()}
        found = await count(self._connection, names)
        self.effect.append(str(found))
        if self._action.verb == "KILL_CLIENT":
            if found.clients or DATABASE in names:
                await self._clients_of(names)
            if not self.commands:
                self.problem = self.problem or f"{self._subject} has no clients"
            return
        for name in names:
            row = known.get(name)
            self._add(name, name, None if row is None else (name,))
            if row is None:
                self.effect.append(f"{name} is not in SHOW DATABASES")
            elif (note := self._already(row)) is not None:
                self.effect.append(f"{name} {note}")
        if self._action.undo:
            self.undo = ", ".join(f"{self._action.undo} {identifier(name)}" for name in names[:_SHOWN])
            if self._action.verb == "KILL":
                self.undo += ". Clients have to connect again."

    def _already(self, row: Row) -> str | None:
        if self._action.verb in ("PAUSE", "KILL") and row.get("paused"):
            return "is paused already"
        if self._action.verb == "DISABLE" and row.get("disabled"):
            return "is disabled already"
        return None

    async def clients(self) -> None:
        """Those that are selected; of servers, those that they work for."""
        rows = list((await self._connection.rows("SHOW CLIENTS")).dicts())
        wanted = set(self._subject.keys)
        if self._subject.kind is Kind.SERVER:
            servers = (await self._connection.rows("SHOW SERVERS")).dicts()
            links = {row["link"] for row in servers if row_key(row) in wanted and row["link"]}
            found = [row for row in rows if row["ptr"] in links]
            if not found:
                self.problem = f"no client has {self._subject} any more"
        else:
            found = [row for row in rows if row_key(row) in wanted]
            if not found:
                self.problem = f"{self._subject}: gone already"
            elif len(found) < len(wanted):
                self.effect.append(f"{len(wanted) - len(found)} of {len(wanted)} are gone already")
        self._hit(found)

    async def _clients_of(self, names: list[str]) -> None:
        """All of some databases: in one command where the pooler has one for it."""
        if self._connection.capabilities.has_command("KILL_CLIENTS"):
            for name in names:
                text = f"KILL_CLIENTS WHERE database = {string(name)}"
                self.commands.append(Command(text, name))
            return
        rows = (await self._connection.rows("SHOW CLIENTS")).dicts()
        self._hit([row for row in rows if row["database"] in names])

    def _hit(self, found: list[dict[str, Any]]) -> None:
        rows = [row for row in found if not self._is_fatal(row)]
        if len(rows) < len(found):
            left_out = plural(len(found) - len(rows), "connection")
            self.effect.append(f"{left_out} of a console left out: {_DIES}")
            if not rows:
                self.problem = f"this is a connection of a console: {_DIES}"
        # Administrators last: one of them may be ours, and nothing can be sent after that.
        for row in sorted(rows, key=lambda row: row["database"] == DATABASE):
            self._add(row_key(row), client_text(row), _identity(row))
        active = sum(bool(row["link"]) for row in rows)
        if len(rows) > 1:
            self.effect.append(f"{plural(len(rows), 'client')}, {active} with a server")
        self.effect += [_described(row) for row in rows[:_SHOWN]]
        if len(rows) > _SHOWN:
            self.effect.append(f"... and {len(rows) - _SHOWN:,} more")

    def _is_fatal(self, row: Row) -> bool:
        """Whether it may be the connection that a PgBouncer would be told on to close it."""
        if self._action.verb != "KILL_CLIENT" or self._connection.capabilities.sql:
            return False
        return row["database"] == DATABASE and str(row.get("application_name")).startswith(APPLICATION)

    async def set_a_value(self) -> None:
        name = self._arguments["key"]
        rows = {row["key"]: row for row in (await self._connection.rows("SHOW CONFIG")).dicts()}
        row = rows.get(name)
        command = self._action.statement(None, self._arguments)
        if row is None:
            self.problem = f"this pooler has no setting {name}"
        elif str(row.get("changeable", "yes")) not in ("yes", "True"):
            self.problem = f"{name} takes a restart"
        else:
            self.commands.append(Command(command, name))
            old = string(str(row["value"] or ""))
            self.undo = f"SET {name} = {old}"
            if masked(self.undo) == self.undo:
                self.effect.append(f"{name} is {row['value']} now, its default is {row.get('default', '?')}")
            else:
                self.undo = f"SET {name} = {HIDDEN}"

    async def _preview(self) -> None:
        """What RELOAD would change, where the pooler can say so."""
        if "DRY RUN" not in self._connection.capabilities.commands.get("RELOAD", ()):
            return
        try:
            rows = list((await self._connection.rows("RELOAD DRY RUN")).dicts())
        except AdminError as error:
            if error.lost:
                raise
            self.effect.append(f"It would fail: {error.detail or error.message}")
            return
        if not rows:
            self.effect.append("It would change nothing.")
        for row in rows[:_SHOWN]:
            change = f"{row['section']} {row['key']}: {row['old'] or '-'} -> {row['new'] or '-'}"
            self.effect.append(f"{change} ({row['needs'] or row['change']})")
        if len(rows) > _SHOWN:
            self.effect.append(f"... and {len(rows) - _SHOWN} more changes")

    def _add(self, key: Key | None, target: str, identity: tuple[Any, ...] | None = None) -> None:
        text = self._action.statement(key, self._arguments)
        self.commands.append(Command(text, target, key, identity))


def _described(row: Row) -> str:
    admin = ": a connection of an administrator" if row["database"] == DATABASE else ""
    return f"{client_text(row)}: {row['state']}{admin}"


def _identity(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in _IDENTITY)


async def carry_out(
    connection: AdminConnection, plan: Plan, operator: Operator, timeout: float | None = None
) -> tuple[Outcome, ...]:
    """Do it. Every target is read again just before: what is gone is passed over, and so is a client whose
    number somebody else has by now.

    Raises AdminError if what is there cannot be read, and ValueError for a job, which `jobs` runs.
    """
    if plan.is_job:
        raise ValueError("this is a job")
    present = await present_targets(connection, plan)
    outcomes: list[Outcome] = []
    for command in plan.commands:
        if connection.closed:
            outcome = Outcome(command.shown, command.target, Result.LOST, "not sent: the connection is lost")
            operator.note(plan.action.verb, outcome)
        elif (gone := gone_text(command, present)) is not None:
            outcome = Outcome(command.shown, command.target, Result.GONE, gone)
            operator.note(plan.action.verb, outcome)
        else:
            verb = plan.action.verb
            outcome = await operator.send(connection, verb, command.text, command.target, timeout)
        outcomes.append(outcome)
    return tuple(outcomes)


async def present_targets(connection: AdminConnection, plan: Plan) -> Mapping[Key, tuple[Any, ...]]:
    """What is there now under the keys of a plan. Raises AdminError.

    A connection belongs to one process of the pooler, and numbers are not used again within it: once for all
    commands is soon enough.
    """
    if not any(command.identity for command in plan.commands):
        return {}
    if plan.subject.kind is Kind.DATABASE and plan.action.verb != "KILL_CLIENT":
        return {row["name"]: (row["name"],) for row in (await connection.rows("SHOW DATABASES")).dicts()}
    return {row_key(row): _identity(row) for row in (await connection.rows("SHOW CLIENTS")).dicts()}


def gone_text(command: Command, present: Mapping[Key, tuple[Any, ...]]) -> str | None:
    """Why a command is not to be sent: its target is gone, or is not the same any more."""
    if command.identity is None or command.key is None:
        return None
    found = present.get(command.key)
    if found is None:
        return "gone already"
    return None if found == command.identity else "gone: another client has this number now"
