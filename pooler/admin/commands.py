"""The one table of admin commands, and how a query becomes a reply."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from pooler.admin import actions, audit, reload_preview, save_config
from pooler.admin.console import Column, Console, Reply, Result, require_admin
from pooler.admin.errors import AdminError, AdminSyntaxError
from pooler.admin.parser import DRY_RUN, TIMEOUT, Statement, fold, invalid_command, parse
from pooler.admin.sql import query as sql
from pooler.admin.tables import HELP, SHOW_GROUPS, SHOW_TABLES
from pooler.wire.messages import TEXT, notice

FAKE_SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "client_encoding": "UTF-8",
        "default_transaction_isolation": "read committed",
        "standard_conforming_strings": "on",
        "datestyle": "ISO",
        "timezone": "GMT",
    }
)
"""What drivers ask for or set in every session: SHOW answers this, and SET is ignored."""


class Risk(IntEnum):
    """What a command can do to clients, for those who ask before they run it."""

    NONE = 0
    """Looks, or lets clients go on."""
    CHANGE = 1
    """Changes how connections are made from now on."""
    HOLD = 2
    """Clients wait until it is taken back."""
    CLOSE = 3
    """Clients lose their connections, or cannot get one."""


@dataclass(frozen=True, slots=True)
class Command:
    """A verb of the console."""

    verb: str
    forms: tuple[str, ...]
    """What may follow the verb, as SHOW HELP prints it, a line each."""
    run: Callable[[Console, Statement], Reply]
    risk: Risk
    help: str
    admin_only: bool = True
    """Whether stats_users may not run it."""
    words: tuple[str, ...] | None = None
    """The only arguments that there are, in lower case, empty for none; None where it can be any word."""
    option: str = ""
    """What makes it another command than that of the verb alone, as `Statement.option`."""
    columns: Sequence[Column] | None = None
    """Of its rows, where it has any; not of SHOW, which has those of the table."""
    acts: bool = True
    """Whether it is for the audit: it changes something, or tries to."""

    def takes(self, argument: str) -> bool:
        """Whether this may be its argument; otherwise the query is no command at all."""
        return self.words is None or fold(argument) in self.words


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query that is understood, and has not run yet: what the extended protocol prepares and describes.

    `columns` are those of its result, None if it has no rows; `parameters` the type oids of $1 and so on.
    `run` gets a value for each of them, raises AdminError, and may be called again.
    """

    run: Callable[[Console, Sequence[object]], Reply]
    columns: Sequence[Column] | None = None
    parameters: tuple[int, ...] = ()
    ends_transaction: bool = False
    """COMMIT and ROLLBACK: all that is let through in a transaction that has failed."""
    study: Callable[[Console], sql.Study] | None = None
    """Where it takes work to know columns and parameters: has it done, and what it says is what holds."""


def prepare(text: str) -> Prepared:
    """Understands one query. Raises AdminError."""
    try:
        statement = parse(text)
    except AdminSyntaxError:
        if (prepared := prepare_sql(text)) is None:
            raise
        return prepared
    if statement.verb == "select" and not shows(statement) and (prepared := prepare_sql(text)) is not None:
        return prepared
    command = find_command(statement)
    if command is None or not command.takes(statement.argument):
        raise invalid_command(text)

    def run_unaudited(console: Console) -> Reply:
        if command.admin_only:
            require_admin(console)
        return command.run(console, statement)

    def run(console: Console, values: Sequence[object]) -> Reply:
        if not command.acts or _is_ignored(statement):
            return run_unaudited(console)
        return audit.audited(console, statement, lambda: run_unaudited(console))

    return Prepared(run, shown_columns(statement) if command.run is show else command.columns)


def find_command(statement: Statement) -> Command | None:
    """What a statement asks for, if there is such a command."""
    if statement.option:
        return OPTION_COMMANDS.get((statement.verb, statement.option))
    return COMMANDS.get(statement.verb)


def _is_ignored(statement: Statement) -> bool:
    """What drivers set in every session, which changes nothing."""
    return statement.verb == "set" and (statement.value is None or fold(statement.argument) in FAKE_SETTINGS)


def prepare_sql(text: str) -> Prepared | None:
    """SELECT, and what else takes SQL, if it is one of these."""
    query = sql.query(text)
    if query is None:
        return None

    def run(console: Console, values: Sequence[object]) -> Reply:
        if not query.acts:
            return query.run(console, values)
        statement = Statement(query.verb, "", None, text)
        return audit.audited(console, statement, lambda: query.run(console, values))

    return Prepared(run, study=query.study)


def shows(statement: Statement) -> bool:
    """Whether this is something that SHOW has."""
    name = fold(statement.argument)
    return name in FAKE_SETTINGS or name in SHOW_TABLES


def shown_columns(statement: Statement) -> Sequence[Column] | None:
    """The columns of a SHOW; None where it has none, or fails."""
    name = fold(statement.argument)
    if name in FAKE_SETTINGS:
        return [(name, TEXT)]
    table = SHOW_TABLES.get(name)
    return None if table is None or table is HELP else table.columns


def show(console: Console, statement: Statement) -> Reply:
    """SHOW: one of the tables, the commands, or what a driver wants to hear."""
    name = fold(statement.argument)
    if name in FAKE_SETTINGS:
        return Result("SHOW", [(name, TEXT)], [(FAKE_SETTINGS[name],)])
    table = SHOW_TABLES.get(name)
    if table is None:
        raise invalid_command(statement.text)
    if table is HELP:
        return Result("SHOW", notices=notice("Console usage", help_text()))
    if table.admin_only:
        require_admin(console)
    return Result("SHOW", table.columns, table.rows(console.host))


def kill_clients(console: Console, statement: Statement) -> Reply:
    """KILL_CLIENTS without a condition."""
    raise AdminError("KILL_CLIENTS needs WHERE and a condition")


def set_value(console: Console, statement: Statement) -> Reply:
    """SET: a setting, or what a driver sets in every session."""
    if statement.value is None:
        raise invalid_command(statement.text)
    if fold(statement.argument) in FAKE_SETTINGS:
        return Result("SET", notices=notice("SET ignored"))
    require_admin(console)
    return actions.set_setting(console, statement)


def help_text() -> str:
    """The detail of the notice that SHOW HELP brings, as PgBouncer has it."""
    lines = (f"{command.verb.upper()} {form}".rstrip() for command in COMMAND_TABLE for form in command.forms)
    return "".join(f"\n\t{line}" for line in lines)


_SHOW_FORMS: Final = tuple("|".join(table.name.upper() for table in group) for group in SHOW_GROUPS)

COMMAND_TABLE: Final = (
    Command("show", _SHOW_FORMS, show, Risk.NONE, "Show one of these tables", admin_only=False, acts=False),
    Command("select", (), show, Risk.NONE, "The same as SHOW", admin_only=False, acts=False),
    Command(
        "set",
        ("key = arg",),
        set_value,
        Risk.CHANGE,
        "Change a setting until the next RELOAD",
        admin_only=False,  # the settings in FAKE_SETTINGS are for everybody
    ),
    Command("reload", ("",), actions.reload, Risk.CHANGE, "Take over the configuration file", words=("",)),
    Command(
        "reload",
        ("DRY RUN",),
        reload_preview.dry_run,
        Risk.NONE,
        "Show what RELOAD would change",
        words=("",),
        option=DRY_RUN,
        columns=reload_preview.COLUMNS,
        acts=False,
    ),
    Command(
        "save",
        ("CONFIG",),
        save_config.save,
        Risk.CHANGE,
        "Write what was SET into the configuration file",
        words=("config",),
        columns=save_config.COLUMNS,
    ),
    Command(
        "pause",
        ("[<db>]",),
        actions.pause,
        Risk.HOLD,
        "Let no more queries start, and close the server connections as they become free",
    ),
    Command(
        "pause",
        ("[<db>] TIMEOUT <seconds>",),
        actions.pause,
        Risk.HOLD,
        "The same, taken back if it is not complete in time",
        option=TIMEOUT,
    ),
    Command("resume", ("[<db>]",), actions.resume, Risk.NONE, "Go on after PAUSE, KILL or SUSPEND"),
    Command("disable", ("<db>",), actions.disable, Risk.CLOSE, "Refuse new clients of a database"),
    Command("enable", ("<db>",), actions.enable, Risk.NONE, "Accept clients of a database again"),
    Command(
        "reconnect",
        ("[<db>]",),
        actions.reconnect,
        Risk.CHANGE,
        "Replace the server connections as they become free",
    ),
    Command("kill", ("[<db>]",), actions.kill, Risk.CLOSE, "Pause, and close all connections at once"),
    Command(
        "kill_client", ("<client_id>",), actions.kill_client, Risk.CLOSE, "Close one client's connection"
    ),
    Command(
        "cancel_client",
        ("<client_id>",),
        actions.cancel_client,
        Risk.CHANGE,
        "Cancel the query that a client is running",
    ),
    Command(
        "kill_clients",
        ("WHERE <condition>",),
        kill_clients,
        Risk.CLOSE,
        "Close the connections of the clients that a condition on SHOW CLIENTS selects",
    ),
    Command(
        "suspend",
        ("",),
        actions.suspend,
        Risk.HOLD,
        "Stop reading from all connections, and pass on what was read",
        words=("",),
    ),
    Command(
        "shutdown",
        ("", "WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS", "IMMEDIATE"),
        actions.shutdown,
        Risk.CLOSE,
        "End the pooler: at once, or when servers or clients are through",
        words=("", "wait_for_servers", "wait_for_clients", "immediate"),
    ),
    Command(
        "wait_close",
        ("[<db>]",),
        actions.wait_close,
        Risk.NONE,
        "Wait until RECONNECT or RELOAD has replaced the server connections",
    ),
)
"""In the order of SHOW HELP."""

COMMANDS: Final[Mapping[str, Command]] = MappingProxyType(
    {command.verb: command for command in COMMAND_TABLE if not command.option}
)
"""By verb."""

OPTION_COMMANDS: Final[Mapping[tuple[str, str], Command]] = MappingProxyType(
    {(command.verb, command.option): command for command in COMMAND_TABLE if command.option}
)
"""By verb and option."""
