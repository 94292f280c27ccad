"""What each command does, answers and logs. Texts and the order of checks were read off PgBouncer."""

import pytest

from pooler.admin.commands import COMMAND_TABLE, FAKE_SETTINGS, Risk
from pooler.config.errors import ConfigError, ConfigErrors
from pooler.config.settings import Settings
from pooler.pool.registry import Pause, Shutdown
from pooler.wire.messages import TEXT
from tests.unit.admin.fakes import FakeConsole, FakePooler, databases

HELP = """
\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
\tSHOW PEERS|PEER_POOLS
\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
\tSHOW DNS_HOSTS|DNS_ZONES
\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
\tSHOW LOGINS|CERTIFICATES
\tSHOW CONFIG_DIFF|AUDIT|LOG
\tSHOW LATENCY|WAITS|WAIT_STATS|CLIENT_STATS|ERRORS|SERVER_STATS|UNSAFE
\tSET key = arg
\tRELOAD
\tRELOAD DRY RUN
\tSAVE CONFIG
\tPAUSE [<db>]
\tPAUSE [<db>] TIMEOUT <seconds>
\tRESUME [<db>]
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tKILL [<db>]
\tKILL_CLIENT <client_id>
\tCANCEL_CLIENT <client_id>
\tKILL_CLIENTS WHERE <condition>
\tSUSPEND
\tSHUTDOWN
\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
\tSHUTDOWN IMMEDIATE
\tWAIT_CLOSE [<db>]"""
"""The detail of PgBouncer's notice, and what is our own."""


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h", p1="host=h", _="host=h"))


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def done(tag: str) -> list[tuple[str, str]]:
    return [("C", tag), ("Z", "I")]


# Errors and who may ----------------------------------------------------------------------------------


def test_an_error_is_sent_and_logged(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask("show all") == [
        ("E", {"S": "ERROR", "C": "08P01", "M": "invalid command 'show all', use SHOW HELP;"}),
        ("Z", "I"),
    ]
    assert pooler.log.lines == [
        "ERROR invalid command 'show all', use SHOW HELP;",
        f"WARNING {console.client.describe()}pooler error: invalid command 'show all', use SHOW HELP;",
    ]


def test_without_log_pooler_errors_it_is_logged_once(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.registry.settings = Settings(log_pooler_errors=0)
    console.ask("show all")
    assert pooler.log.lines == ["ERROR invalid command 'show all', use SHOW HELP;"]


@pytest.mark.parametrize(
    "sql",
    [
        *("", ";", "x", "begin x", "commit x;", "selec 2", "set x", "show", 'show ""', "show x"),
        *("reload now", "suspend x", "shutdown x", "save", "save x", "reload dry"),
    ],
)
@pytest.mark.parametrize("is_admin", [True, False])
def test_unknown_commands_and_arguments_are_no_command_for_anybody(
    sql: str, is_admin: bool, pooler: FakePooler
) -> None:
    assert pooler.console(is_admin).error(sql) == f"invalid command '{sql}', use SHOW HELP;"


@pytest.mark.parametrize(
    "sql",
    [
        *("pause", "pause p0", "resume", "resume p0", "suspend", "reload", "set stats_period = 1"),
        *("kill", "kill p0", "kill_client 1", "kill_client x", "reconnect", "reconnect p0", "show fds"),
        *("disable", "disable p0", "enable", "enable p0", "wait_close", "wait_close p0"),
        *("shutdown", "shutdown wait_for_clients", "shutdown immediate", "reload dry run", "save config"),
        *("pause timeout 3", "pause p0 timeout 3", "cancel_client 1", "cancel_client x"),
    ],
)
def test_stats_users_may_not(sql: str, pooler: FakePooler) -> None:
    console = pooler.console(is_admin=False)
    assert console.error(sql) == "admin access needed"
    assert pooler.pause() is Pause.NONE
    assert pooler.shutdowns == []
    assert pooler.settings_set == []


@pytest.mark.parametrize("sql", ["show pools", "select pools", "show stats;", "show help"])
def test_stats_users_may_look(sql: str, pooler: FakePooler) -> None:
    assert pooler.console(is_admin=False).ask(sql)[-2:] == done("SHOW")


def test_commands_that_cut_clients_off_say_so() -> None:
    close = {command.verb for command in COMMAND_TABLE if command.risk is Risk.CLOSE}
    hold = {command.verb for command in COMMAND_TABLE if command.risk is Risk.HOLD}
    assert close == {"kill", "kill_client", "kill_clients", "shutdown", "disable"}
    assert hold == {"pause", "suspend"}


# SHOW and SET ----------------------------------------------------------------------------------------


def test_show_sends_columns_and_rows(console: FakeConsole) -> None:
    assert console.ask("SHOW State") == [
        ("T", [("key", TEXT), ("value", TEXT)]),
        ("D", ("active", "yes")),
        ("D", ("paused", "no")),
        ("D", ("suspended", "no")),
        *done("SHOW"),
    ]


def test_null_is_not_an_empty_text(console: FakeConsole) -> None:
    (admin,) = (row for row in console.table("show databases") if row["name"] == "pgbouncer")
    assert admin["host"] is None
    (user,) = (row for row in console.table("show users") if row["name"] == "pgbouncer")
    assert user["pool_size"] == ""


def test_help_is_that_of_pgbouncer(console: FakeConsole) -> None:
    notice = {"S": "NOTICE", "C": "00000", "M": "Console usage", "D": HELP}
    assert console.ask("show help") == [("N", notice), *done("SHOW")]


@pytest.mark.parametrize("name", FAKE_SETTINGS)
@pytest.mark.parametrize("is_admin", [True, False])
def test_what_drivers_ask_for_and_set(name: str, is_admin: bool, pooler: FakePooler) -> None:
    console = pooler.console(is_admin)
    shown = [("T", [(name, TEXT)]), ("D", (FAKE_SETTINGS[name],)), *done("SHOW")]
    assert console.ask(f"show {name.upper()}") == shown
    ignored = {"S": "NOTICE", "C": "00000", "M": "SET ignored"}
    assert console.ask(f"SET {name.upper()} TO 'x'") == [("N", ignored), *done("SET")]
    assert pooler.settings_set == []


def test_set(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask("set stats_period = '6 1'") == done("SET stats_period=6 1")
    assert pooler.settings_set == [("stats_period", "6 1")]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (KeyError("nosuch"), "unknown parameter: pgbouncer/nosuch"),
        (ValueError("expected a number"), "expected a number"),
    ],
)
def test_set_of_what_cannot_be(
    failure: Exception, reason: str, pooler: FakePooler, console: FakeConsole
) -> None:
    pooler.failure = failure
    (kind, fields), _ = console.ask("set nosuch = 1")
    assert (kind, fields) == ("E", {"S": "ERROR", "C": "08P01", "M": "SET failed", "D": reason})
    assert pooler.log.lines[:2] == [f"ERROR {reason}", "ERROR SET failed"]


# RELOAD, SHUTDOWN ------------------------------------------------------------------------------------


def test_reload(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask("reload") == done("RELOAD")
    assert pooler.reloads == 1
    assert pooler.log.lines == ["LOG RELOAD command issued"]


def test_a_reload_that_fails_names_the_lines(pooler: FakePooler, console: FakeConsole) -> None:
    wrong = (ConfigError("a.ini", 3, "unknown parameter: x"), ConfigError("a.ini", 9, "invalid port: 0"))
    pooler.failure = ConfigErrors(wrong)
    message = "RELOAD failed, see logs for additional details"
    detail = "a.ini:3: unknown parameter: x\na.ini:9: invalid port: 0"
    (error, ready) = console.ask("reload")
    assert error == ("E", {"S": "ERROR", "C": "F0000", "M": message, "D": detail})
    assert ready == ("Z", "I")
    assert pooler.log.lines[1:3] == [
        "ERROR a.ini:3: unknown parameter: x",
        "ERROR a.ini:9: invalid port: 0",
    ]


@pytest.mark.parametrize(
    ("sql", "mode"),
    [
        ("SHUTDOWN WAIT_FOR_SERVERS", Shutdown.WAIT_FOR_SERVERS),
        ("shutdown wait_for_clients", Shutdown.WAIT_FOR_CLIENTS),
    ],
)
def test_shutdown_that_waits(sql: str, mode: Shutdown, pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask(sql) == done("SHUTDOWN")
    assert pooler.shutdowns == [mode]
    assert pooler.log.lines == [f"LOG {sql.upper()} command issued"]


@pytest.mark.parametrize("sql", ["shutdown", "SHUTDOWN IMMEDIATE"])
def test_shutdown_at_once_is_not_answered(sql: str, pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask(sql) == []
    assert console.ask("show state") == []
    assert pooler.shutdowns == [Shutdown.IMMEDIATE]
    assert not console.client.closed


# Databases -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("pause pgbouncer", "cannot pause admin db: pgbouncer"),
        ("disable pgbouncer", "cannot disable admin db: pgbouncer"),
        ("enable pgbouncer", "cannot enable admin db: pgbouncer"),
        ("reconnect pgbouncer", "cannot reconnect admin db: pgbouncer"),
        ("kill pgbouncer", "cannot kill admin db: pgbouncer"),
        ("wait_close pgbouncer", "cannot wait in admin db: pgbouncer"),
        ("resume pgbouncer", "database pgbouncer is not paused"),
        ("resume p0", "database p0 is not paused"),
        ("resume", "pooler is not paused/suspended"),
        ("resume nosuch", "no such database: nosuch"),
        ("enable nosuch", "no such database: nosuch"),
        ('pause "*"', "no such database: *"),
        ("disable", "a database is required"),
        ("enable", "a database is required"),
    ],
)
def test_what_cannot_be_done_to_a_database(sql: str, text: str, console: FakeConsole) -> None:
    assert console.error(sql) == text


@pytest.mark.parametrize("verb", ["pause", "disable", "reconnect", "kill", "wait_close"])
def test_databases_behind_the_star_are_known_from_the_first_command(
    verb: str, pooler: FakePooler, console: FakeConsole
) -> None:
    assert console.ask(f"{verb} fresh") == done(verb.upper())
    assert "fresh" in pooler.registry.databases
    prefix = console.client.describe()
    assert pooler.log.lines == [
        f"LOG {verb.upper()} 'fresh' command issued",
        f"LOG {prefix}registered new auto-database: fresh",
    ]


@pytest.mark.parametrize("verb", ["pause", "disable", "reconnect", "kill", "wait_close"])
def test_without_a_star_other_databases_do_not_exist(verb: str) -> None:
    console = FakePooler(databases(p0="host=h")).console()
    assert console.error(f"{verb} nosuch") == "no such database: nosuch"


def test_disable_and_enable(pooler: FakePooler, console: FakeConsole) -> None:
    disabled = [console.ask("disable p0"), pooler.registry.databases["p0"].disabled]
    enabled = [console.ask("enable p0"), pooler.registry.databases["p0"].disabled]
    assert disabled == [done("DISABLE"), True]
    assert enabled == [done("ENABLE"), False]
    assert pooler.log.lines == ["LOG DISABLE 'p0' command issued", "LOG ENABLE 'p0' command issued"]


def test_reconnect_of_one_database(pooler: FakePooler, console: FakeConsole) -> None:
    first, second = pooler.busy_server("p0", "bob"), pooler.busy_server("p1", "bob")
    assert console.ask("reconnect p0") == done("RECONNECT")
    assert (first.close_needed, second.close_needed) == (True, False)


def test_reconnect_of_all(pooler: FakePooler, console: FakeConsole) -> None:
    servers = [pooler.busy_server("p0", "bob"), pooler.busy_server("p1", "bob")]
    assert console.ask("reconnect") == done("RECONNECT")
    assert all(server.close_needed for server in servers)
    assert not console.client.closed


# KILL, KILL_CLIENT -----------------------------------------------------------------------------------


def test_kill_of_one_database(pooler: FakePooler, console: FakeConsole) -> None:
    killed, spared = pooler.busy_server("p0", "bob"), pooler.busy_server("p1", "bob")
    client = killed.link
    assert client is not None
    assert console.ask("kill p0") == done("KILL")
    assert [killed.closed, spared.closed] == [True, False]
    assert any("closing because: database removed" in line for line in pooler.log.lines)
    assert client.place is None
    assert [pool.database.name for pool in pooler.registry.sorted_pools()] == ["p1", "pgbouncer"]


def test_kill_of_all_pauses_each_database_that_was_in_use(pooler: FakePooler, console: FakeConsole) -> None:
    servers = [pooler.busy_server("p0", "bob"), pooler.busy_server("p0", "alice")]
    assert console.ask("kill") == done("KILL")
    assert all(server.closed for server in servers)
    assert not console.client.closed
    assert pooler.is_paused("p0")
    assert not pooler.is_paused("p1")
    assert console.error("resume") == "pooler is not paused/suspended"
    assert console.ask("resume p0") == done("RESUME")
    assert not pooler.is_paused("p0")


def test_kill_is_refused_while_paused(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    pooler.registry.set_pause(Pause.PAUSE)
    assert console.error("kill p0") == "already suspended/paused"
    assert not server.closed


def test_kill_client(pooler: FakePooler, console: FakeConsole) -> None:
    client, other = pooler.client("p0", "bob"), pooler.client("p0", "bob")
    transport = client.transport
    assert console.ask(f"kill_client {client.id}") == done("KILL_CLIENT")
    assert client.closed
    assert not other.closed
    assert b"FATAL\x00C08P01\x00Madmin forced disconnect\x00" in transport.sent


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("", "invalid client pointer supplied"),
        ("x", "invalid client pointer supplied"),
        ("999", "client not found"),
        ('"999x"', "client not found"),
        ('"-1"', "client not found"),
    ],
)
def test_kill_client_of_nobody(argument: str, text: str, console: FakeConsole) -> None:
    assert console.error(f"kill_client {argument}") == text


def test_kill_client_does_not_find_one_that_logs_in(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.error(f"kill_client {pooler.connecting_client().id}") == "client not found"


def test_an_admin_may_kill_itself(console: FakeConsole) -> None:
    console.ask(f"kill_client {console.client.id}")
    assert console.client.closed
    assert console.transport.closed
