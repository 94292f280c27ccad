"""What an action would hit, and that it hits nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.fake_admin import TARGET, FakePooler, client, database, pool, server, table
from tests.unit.console_operate.conftest import POOLER
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.table import Table
from tui.operate.actions import BY_VERB, Risk
from tui.operate.journal import Journal
from tui.operate.operator import Operator
from tui.operate.outcome import Outcome, Result
from tui.operate.plan import Plan, carry_out, make_plan
from tui.operate.subject import Subject


async def planned(
    connection: AdminConnection, verb: str, subject: Subject, arguments: Mapping[str, str] | None = None
) -> Plan:
    return await make_plan(connection, BY_VERB[verb], subject, POOLER, arguments)


def texts(plan: Plan) -> list[str]:
    return [command.text for command in plan.commands]


async def test_a_database(pooler: FakePooler, connection: AdminConnection) -> None:
    pooler.tables["POOLS"] = table(
        pool("app", "web", cl_active=400, cl_waiting=12, sv_active=37, sv_idle=3),
        pool("app", "ana", cl_active=1, sv_login=1, pool_mode="session"),
        pool("other", cl_active=7),
    )
    plan = await planned(connection, "KILL", Subject.databases("app"))
    assert texts(plan) == ["KILL app"]
    assert plan.effect == ("413 clients (37 with a server, 12 waiting), 41 servers",)
    assert (plan.risk, plan.typed) == (Risk.NAME, "app")
    assert plan.undo == "RESUME app. Clients have to connect again."
    assert plan.title == "Kill: database app"
    assert pooler.commands == []


async def test_the_whole_pooler(pooler: FakePooler, connection: AdminConnection) -> None:
    plan = await planned(connection, "PAUSE", Subject.pooler())
    assert texts(plan) == ["PAUSE"]
    # The admin database is left out of the count.
    assert plan.effect == ("3 clients (1 in a transaction), 2 servers, in all databases",)
    assert (plan.typed, plan.undo, plan.is_job) == (POOLER, "RESUME", True)


async def test_databases_with_names_that_need_quotes(pooler: FakePooler, connection: AdminConnection) -> None:
    pooler.tables["DATABASES"] = table(database("My-DB", paused=1))
    plan = await planned(connection, "PAUSE", Subject.databases("My-DB", 'a"b'))
    assert texts(plan) == ['PAUSE "My-DB"', 'PAUSE "a""b"']
    assert plan.typed == "2 databases"
    assert plan.undo == 'RESUME "My-DB", RESUME "a""b"'
    assert plan.effect[1:] == ("My-DB is paused already", 'a"b is not in SHOW DATABASES')


async def test_what_is_disabled_already(pooler: FakePooler, connection: AdminConnection) -> None:
    pooler.tables["DATABASES"] = table(database("app", disabled=1))
    plan = await planned(connection, "DISABLE", Subject.databases("app"))
    assert plan.effect[-1] == "app is disabled already"


async def test_clients(connection: AdminConnection, pooler: FakePooler, operator: Operator) -> None:
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1, 3, 99))
    assert texts(plan) == ["KILL_CLIENT 1", "KILL_CLIENT 3"]
    assert plan.effect == (
        "1 of 3 are gone already",
        "2 clients, 1 with a server",
        "client 1, user web, database app, from 10.0.0.7:40001 (shop): active",
        "client 3, user ana, database reports, from 10.0.0.9:40003 (psql): active",
    )
    assert (plan.risk, plan.typed) == (Risk.CONFIRM, "")
    outcomes = await carry_out(connection, plan, operator)
    assert [outcome.result for outcome in outcomes] == [Result.DONE, Result.DONE]
    assert pooler.commands == ["KILL_CLIENT 1", "KILL_CLIENT 3"]


async def test_connections_of_administrators_are_killed_last(
    pooler: FakePooler, connection: AdminConnection
) -> None:
    """One of them may be the one that sends this: with it gone, nobody else would be hit."""
    pooler.tables["CLIENTS"] = table(client(1, database="pgbouncer"), client(2), client(3))
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1, 2, 3))
    assert texts(plan) == ["KILL_CLIENT 2", "KILL_CLIENT 3", "KILL_CLIENT 1"]


async def test_a_pgbouncer_is_not_told_to_kill_who_tells_it() -> None:
    pooler = FakePooler(commands=("KILL_CLIENT", "SHOW"))
    ours = {"database": "pgbouncer", "application_name": "pooldeck - 127.0.0.1:6432"}
    pooler.tables["CLIENTS"] = table(client(1, **ours), client(2), client(3, database="pgbouncer"))
    connection = await pooler.connect(TARGET)
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1, 2, 3))
    assert texts(plan) == ["KILL_CLIENT 2", "KILL_CLIENT 3"]
    assert plan.effect[0].startswith("1 connection of a console left out")
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1))
    assert plan.commands == ()
    assert plan.problem.startswith("this is a connection of a console")


async def test_many_clients_are_counted_and_not_listed(
    pooler: FakePooler, connection: AdminConnection
) -> None:
    pooler.tables["CLIENTS"] = table(*(client(number, state="idle") for number in range(1, 2001)))
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(*range(1, 2001)))
    assert plan.effect[0] == "2,000 clients, 0 with a server"
    assert plan.effect[-1] == "... and 1,992 more"
    assert len(plan.commands) == 2000
    assert (plan.risk, plan.typed) == (Risk.NAME, "2000 clients")


async def test_clients_that_are_gone_before_the_dialog(connection: AdminConnection) -> None:
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(99))
    assert (plan.problem, plan.commands) == ("client 99: gone already", ())


async def test_the_client_that_a_server_works_for(connection: AdminConnection) -> None:
    assert texts(await planned(connection, "CANCEL_CLIENT", Subject.servers(17))) == ["CANCEL_CLIENT 1"]
    plan = await planned(connection, "KILL_CLIENT", Subject.servers(18))
    assert plan.problem == "no client has server 18 any more"


async def test_all_clients_of_a_database(pooler: FakePooler, connection: AdminConnection) -> None:
    pooler.tables["POOLS"] = table(pool("o'clock", cl_active=1), pool("pgbouncer"))
    plan = await planned(connection, "KILL_CLIENT", Subject.databases("o'clock"))
    assert texts(plan) == ["KILL_CLIENTS WHERE database = 'o''clock'"]
    assert plan.risk is Risk.NAME
    # A name that is mistyped is no success.
    plan = await planned(connection, "KILL_CLIENT", Subject.databases("o'click"))
    assert (plan.problem, plan.commands) == ("database o'click has no clients", ())
    assert texts(await planned(connection, "KILL_CLIENT", Subject.databases("pgbouncer")))
    stock = FakePooler(commands=("KILL_CLIENT", "SHOW"))
    other = await stock.connect(TARGET)
    assert texts(await planned(other, "KILL_CLIENT", Subject.databases("app"))) == [
        "KILL_CLIENT 1",
        "KILL_CLIENT 2",
    ]
    assert (await planned(other, "KILL_CLIENT", Subject.databases("none"))).problem


async def test_a_client_that_goes_while_the_dialog_is_open(
    pooler: FakePooler, connection: AdminConnection, operator: Operator
) -> None:
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1, 2))
    pooler.tables["CLIENTS"] = table(client(2, state="idle"))
    gone, killed = await carry_out(connection, plan, operator)
    assert (gone.result, gone.text) == (Result.GONE, "gone already")
    assert killed.result is Result.DONE
    assert pooler.commands == ["KILL_CLIENT 2"]


async def test_a_number_that_belongs_to_another_by_now(
    pooler: FakePooler, connection: AdminConnection, operator: Operator
) -> None:
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1))
    pooler.tables["CLIENTS"] = table(client(1, user="boss", connect_time="2026-03-01 12:00:00 UTC"))
    (outcome,) = await carry_out(connection, plan, operator)
    assert (outcome.result, outcome.text) == (Result.GONE, "gone: another client has this number now")
    assert pooler.commands == []


async def test_a_database_that_goes_while_the_dialog_is_open(
    pooler: FakePooler, connection: AdminConnection, operator: Operator
) -> None:
    plan = await planned(connection, "KILL", Subject.databases("app"))
    pooler.tables["DATABASES"] = table(database("other"))
    (outcome,) = await carry_out(connection, plan, operator)
    assert outcome.result is Result.GONE
    assert pooler.commands == []


@pytest.mark.parametrize(
    ("error", "result", "words"),
    [
        (AdminError("client not found"), Result.GONE, "client not found"),
        (AdminError("client 1 runs no query that could be cancelled"), Result.GONE, "runs no query"),
        (AdminError("admin access needed"), Result.FAILED, "stats_users"),
        (AdminError("already suspended/paused"), Result.FAILED, "RESUME it first"),
        (AdminError("SET failed", detail="too big"), Result.FAILED, "too big"),
        (AdminError("gone away", lost=True), Result.LOST, "gone away"),
    ],
)
async def test_errors_in_words(
    pooler: FakePooler,
    connection: AdminConnection,
    operator: Operator,
    error: AdminError,
    result: Result,
    words: str,
) -> None:
    pooler.refuse("CANCEL_CLIENT 1", error)
    plan = await planned(connection, "CANCEL_CLIENT", Subject.clients(1))
    (outcome,) = await carry_out(connection, plan, operator)
    assert outcome.result is result
    assert words in str(outcome)


async def test_a_connection_that_breaks_in_the_middle(
    pooler: FakePooler, connection: AdminConnection, operator: Operator
) -> None:
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1, 2))
    pooler.effects["KILL_CLIENT 1"] = pooler.stop
    done, lost = await carry_out(connection, plan, operator)
    assert (done.result, lost.result) == (Result.DONE, Result.LOST)
    assert "not sent" in lost.text
    assert pooler.commands == ["KILL_CLIENT 1"]


async def test_a_shutdown_is_answered_by_the_end(
    pooler: FakePooler, connection: AdminConnection, operator: Operator
) -> None:
    plan = await planned(connection, "SHUTDOWN", Subject.pooler(), {"variant": ""})
    assert (plan.title, plan.typed) == ("Shut down: the whole pooler, immediately", POOLER)
    pooler.refuse("SHUTDOWN", AdminError("connection lost", lost=True))
    assert await carry_out(connection, plan, operator) == (
        Outcome("SHUTDOWN", "the whole pooler", Result.DONE, "SHUTDOWN"),
    )


async def test_read_only_is_refused_where_commands_are_sent(
    pooler: FakePooler, connection: AdminConnection
) -> None:
    journal = Journal()
    reader = Operator(POOLER, "ops", journal, read_only=True)
    for verb, subject in (("RESUME", Subject.databases("app")), ("KILL_CLIENT", Subject.clients(1))):
        (outcome,) = await carry_out(connection, await planned(connection, verb, subject), reader)
        assert (outcome.result, outcome.text) == (Result.REFUSED, "this console is read-only")
    assert pooler.commands == []
    assert [entry.result for entry in journal.entries] == ["refused", "refused"]


async def test_a_job_is_not_carried_out_here(connection: AdminConnection, operator: Operator) -> None:
    plan = await planned(connection, "PAUSE", Subject.databases("app"))
    with pytest.raises(ValueError, match="job"):
        await carry_out(connection, plan, operator)
    with pytest.raises(ValueError, match="not for client 1"):
        await planned(connection, "PAUSE", Subject.clients(1))


async def test_set_says_what_it_was(
    pooler: FakePooler, connection: AdminConnection, operator: Operator
) -> None:
    pooler.tables["CONFIG"] = Table(
        ("key", "value", "default", "changeable"),
        [
            ("max_client_conn", "100", "100", "yes"),
            ("listen_port", "6432", "6432", "no"),
            ("auth_ldap_options", "secret", "", "yes"),
        ],
    )
    arguments = {"key": "max_client_conn", "value": "200"}
    plan = await planned(connection, "SET", Subject.pooler(), arguments)
    assert plan.title == "Set: max_client_conn"
    assert texts(plan) == ["SET max_client_conn = '200'"]
    assert plan.undo == "SET max_client_conn = '100'"
    assert plan.effect[0] == "max_client_conn is 100 now, its default is 100"
    plan = await planned(connection, "SET", Subject.pooler(), {"key": "listen_port", "value": "1"})
    assert plan.problem == "listen_port takes a restart"
    plan = await planned(connection, "SET", Subject.pooler(), {"key": "nothing", "value": "1"})
    assert plan.problem == "this pooler has no setting nothing"
    plan = await planned(connection, "SET", Subject.pooler(), {"key": "auth_ldap_options", "value": "pw"})
    shown = [plan.undo, *plan.effect, *(command.shown for command in plan.commands)]
    assert not any("secret" in text or "pw" in text for text in shown)
    (outcome,) = await carry_out(connection, plan, operator)
    assert outcome.command == "SET auth_ldap_options = ***"
    assert operator.journal.entries[-1].command == "SET auth_ldap_options = ***"
    assert pooler.commands == ["SET auth_ldap_options = 'pw'"]


async def test_reload_shows_what_it_would_change(pooler: FakePooler) -> None:
    pooler.forms["RELOAD"] = ("", "DRY RUN")
    connection = await pooler.connect(TARGET)
    row = {"section": "pgbouncer", "key": "pool_mode", "change": "changed", "old": "session"}
    pooler.answers["RELOAD DRY RUN"] = table({**row, "new": "statement", "needs": "now"})
    plan = await planned(connection, "RELOAD", Subject.pooler())
    assert "pgbouncer pool_mode: session -> statement (now)" in plan.effect
    pooler.answers["RELOAD DRY RUN"] = Table(("section",), [])
    assert "It would change nothing." in (await planned(connection, "RELOAD", Subject.pooler())).effect
    del pooler.answers["RELOAD DRY RUN"]
    pooler.refuse("RELOAD DRY RUN", AdminError("RELOAD failed", detail="line 3: nonsense"))
    plan = await planned(connection, "RELOAD", Subject.pooler())
    assert plan.effect[-1] == "It would fail: line 3: nonsense"


async def test_sockets_and_servers_without_names(pooler: FakePooler, connection: AdminConnection) -> None:
    pooler.tables["CLIENTS"] = table(client(1, addr="unix", port=0, application_name=""))
    plan = await planned(connection, "KILL_CLIENT", Subject.clients(1))
    assert plan.effect == ("client 1, user web, database app, from unix: active",)
    pooler.tables["SERVERS"] = table(server(17, link="0xc0000001"))
    assert texts(await planned(connection, "KILL_CLIENT", Subject.servers(17))) == ["KILL_CLIENT 1"]
