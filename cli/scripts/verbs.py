"""One sub-command for each action of the console: `pooldeck pause shop`, `pooldeck kill-client 17`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, TypeAlias

import typer

from cli.options import TargetOption
from tui.operate.actions import ACTIONS, Action, Risk
from tui.operate.subject import Kind, Subject

TimeoutOption = Annotated[
    float | None,
    typer.Option(min=0.1, help="Give it up after so many seconds: PAUSE is taken back. Default: never."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AllOption = Annotated[bool, typer.Option("--all", help="The whole pooler.")]
DatabasesArgument = Annotated[list[str], typer.Argument(metavar="DATABASE", show_default=False)]
OptionalDatabasesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="DATABASE", show_default=False)
]
ClientsArgument = Annotated[
    list[int] | None, typer.Argument(metavar="ID", help="The id of SHOW CLIENTS.", show_default=False)
]

Function: TypeAlias = Callable[..., None]


def register(app: typer.Typer) -> None:
    """Add all of them."""
    for action in ACTIONS:
        app.command(action.name, help=action.help)(_function(action))


def _function(action: Action) -> Function:
    if action.parameters:
        return _of_setting(action)
    if action.variants:
        return _of_shutdown(action)
    if Kind.CLIENT in action.scopes:
        return _of_clients_and_databases(action) if Kind.DATABASE in action.scopes else _of_clients(action)
    if Kind.DATABASE not in action.scopes:
        return _of_pooler(action)
    if Kind.POOLER not in action.scopes:
        return _of_databases(action)
    return _of_either_asking(action) if action.scopes[Kind.POOLER] is Risk.POOLER else _of_either(action)


def _of_either(action: Action) -> Function:
    def command(
        databases: OptionalDatabasesArgument = None,
        yes: YesOption = False,
        target: TargetOption = None,
        timeout: TimeoutOption = None,
    ) -> None:
        _run(action, _databases_or_all(databases), {}, target, yes, timeout)

    return command


def _of_either_asking(action: Action) -> Function:
    def command(
        databases: OptionalDatabasesArgument = None,
        everything: AllOption = False,
        yes: YesOption = False,
        target: TargetOption = None,
        timeout: TimeoutOption = None,
    ) -> None:
        # Without --all, a script whose variable is empty would hit everybody.
        if bool(databases) == everything:
            raise typer.BadParameter("name a database, or say --all for the whole pooler")
        _run(action, _databases_or_all(databases), {}, target, yes, timeout)

    return command


def _of_databases(action: Action) -> Function:
    def command(
        databases: DatabasesArgument,
        yes: YesOption = False,
        target: TargetOption = None,
        timeout: TimeoutOption = None,
    ) -> None:
        _run(action, _databases_or_all(databases), {}, target, yes, timeout)

    return command


def _of_clients(action: Action) -> Function:
    def command(
        clients: ClientsArgument = None,
        yes: YesOption = False,
        target: TargetOption = None,
        timeout: TimeoutOption = None,
    ) -> None:
        if not clients:
            raise typer.BadParameter("name a client")
        _run(action, Subject.clients(*clients), {}, target, yes, timeout)

    return command


def _of_clients_and_databases(action: Action) -> Function:
    def command(
        clients: ClientsArgument = None,
        database: Annotated[str | None, typer.Option(help="All clients of this database.")] = None,
        yes: YesOption = False,
        target: TargetOption = None,
        timeout: TimeoutOption = None,
    ) -> None:
        if bool(clients) == (database is not None):
            raise typer.BadParameter("name clients, or their --database")
        subject = Subject.clients(*clients) if clients else _databases_or_all([database or ""])
        _run(action, subject, {}, target, yes, timeout)

    return command


def _of_pooler(action: Action) -> Function:
    def command(yes: YesOption = False, target: TargetOption = None, timeout: TimeoutOption = None) -> None:
        _run(action, Subject.pooler(), {}, target, yes, timeout)

    return command


def _of_setting(action: Action) -> Function:
    def command(
        key: str,
        value: str,
        yes: YesOption = False,
        target: TargetOption = None,
        timeout: TimeoutOption = None,
    ) -> None:
        _run(action, Subject.pooler(), {"key": key, "value": value}, target, yes, timeout)

    return command


def _of_shutdown(action: Action) -> Function:
    def command(
        wait_for_servers: Annotated[
            bool, typer.Option("--wait-for-servers", help="End when all servers are free.")
        ] = False,
        wait_for_clients: Annotated[
            bool, typer.Option("--wait-for-clients", help="End when the last client has left.")
        ] = False,
        yes: YesOption = False,
        target: TargetOption = None,
        timeout: TimeoutOption = None,
    ) -> None:
        if wait_for_servers and wait_for_clients:
            raise typer.BadParameter("--wait-for-servers and --wait-for-clients exclude one another")
        variant = "WAIT_FOR_SERVERS" if wait_for_servers else "WAIT_FOR_CLIENTS" if wait_for_clients else ""
        _run(action, Subject.pooler(), {"variant": variant}, target, yes, timeout)

    return command


def _databases_or_all(names: list[str] | None) -> Subject:
    if not names:
        return Subject.pooler()
    try:
        return Subject.databases(*names)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _run(
    action: Action,
    subject: Subject,
    arguments: Mapping[str, str],
    target: str | None,
    yes: bool,
    timeout: float | None,
) -> None:
    from cli.scripts.acting import Request, run_action

    raise typer.Exit(run_action(Request(action, subject, arguments, target, yes, timeout)))
