"""Session parameters: each client keeps its own, whichever server it gets."""

from __future__ import annotations

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Connection, backend_pid, value
from tests.support.bouncer import USER, PoolerProcess
from tests.support.rawclient import RawClient, startup_message

TRACKED = {
    "client_encoding": ("LATIN1", "UTF8"),
    "DateStyle": ("German, DMY", "SQL, MDY"),
    "TimeZone": ("Asia/Tokyo", "Europe/Rome"),
    "standard_conforming_strings": ("off", "on"),
    "application_name": ("one", "two"),
    "IntervalStyle": ("iso_8601", "sql_standard"),
}


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """One server, shared in transaction mode."""
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})


def _assert_each_keeps_its_own(name: str, one: Connection, two: Connection) -> None:
    mine, yours = TRACKED[name]
    for _ in range(3):
        assert value(one, f"SHOW {name}") == mine
        assert value(two, f"SHOW {name}") == yours
    assert backend_pid(one) == backend_pid(two)


@pytest.mark.parametrize("name", TRACKED)
def test_parameter_of_the_start_goes_with_its_client(process: PoolerProcess, name: str) -> None:
    def options(text: str) -> str:
        escaped = text.replace(" ", "\\ ")
        return f"-c {name}={escaped}"

    mine, yours = TRACKED[name]
    with (
        process.connect(DATABASE, options=options(mine)) as one,
        process.connect(DATABASE, options=options(yours)) as two,
    ):
        _assert_each_keeps_its_own(name, one, two)


@pytest.mark.parametrize("name", TRACKED)
def test_parameter_that_a_client_sets_goes_with_it(process: PoolerProcess, name: str) -> None:
    mine, yours = TRACKED[name]
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute(f"SET {name} = '{mine}'".encode())
        two.execute(f"SET {name} = '{yours}'".encode())
        _assert_each_keeps_its_own(name, one, two)
        assert one.info.parameter_status(name) == mine


def test_parameter_set_in_a_transaction_that_is_undone_is_undone_for_the_client(
    process: PoolerProcess,
) -> None:
    with process.connect(DATABASE, options="-c timezone=UTC") as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        one.execute("SET timezone = 'Asia/Tokyo'")
        one.execute("ROLLBACK")
        two.execute("SET timezone = 'Europe/Rome'")
        assert value(one, "SHOW timezone") == "UTC"


def test_parameter_of_one_client_is_not_seen_by_a_newcomer(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as plain:
        usual = value(plain, "SHOW timezone")
        with process.connect(DATABASE, options="-c timezone=Asia/Tokyo") as other:
            assert value(other, "SHOW timezone") == "Asia/Tokyo"
        assert value(plain, "SHOW timezone") == usual
    with process.connect(DATABASE) as newcomer:
        assert newcomer.info.parameter_status("TimeZone") == usual
        assert value(newcomer, "SHOW timezone") == usual


def test_value_with_quotes_stays_one_value(process: PoolerProcess) -> None:
    name = """it's "one" \\ name"""
    with process.connect(DATABASE, application_name=name) as one, process.connect(DATABASE) as two:
        for _ in range(2):
            assert value(one, "SHOW application_name") == name
            assert value(two, "SHOW application_name") == ""


def test_extra_parameter_that_the_server_reports_is_tracked_when_asked_for(pooler: PoolerFactory) -> None:
    extra = "IntervalStyle, default_transaction_read_only"
    process = pooler(
        settings={"pool_mode": "transaction", "default_pool_size": 1, "track_extra_parameters": extra}
    )
    with (
        process.connect(DATABASE, options="-c default_transaction_read_only=on") as one,
        process.connect(DATABASE, options="-c default_transaction_read_only=off") as two,
    ):
        for _ in range(2):
            assert value(one, "SHOW default_transaction_read_only") == "on"
            assert value(two, "SHOW default_transaction_read_only") == "off"


def test_search_path_is_tracked_where_the_server_reports_it(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    extra = {"track_extra_parameters": "search_path"}
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1, **extra})
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("SET search_path = 'pg_catalog'")
        reported = one.info.parameter_status("search_path")
        two.execute("SET search_path = 'public'")
        # PostgreSQL reports it since 18; before that, SET is only the server's.
        expected = "public" if reported is None else "pg_catalog"
        assert value(one, "SHOW search_path") == expected


def test_startup_parameter_that_cannot_be_tracked_is_refused(process: PoolerProcess) -> None:
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(USER, DATABASE, work_mem="1MB"))
        fields = client.expect_error()
    assert (fields["S"], fields["C"]) == ("FATAL", "08P01")
    assert fields["M"] == "unsupported startup parameter: work_mem"
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter in options: work_mem"):
        process.connect(DATABASE, options="-c work_mem=1MB")


def test_options_other_than_settings_are_refused(process: PoolerProcess) -> None:
    with pytest.raises(psycopg.OperationalError, match="unsupported options startup parameter"):
        process.connect(DATABASE, options="-B 100")


def test_ignored_startup_parameters_are_ignored(pooler: PoolerFactory) -> None:
    process = pooler(settings={"ignore_startup_parameters": "work_mem, extra_float_digits"})
    with process.connect(DATABASE, options="-c work_mem=1MB -c extra_float_digits=3") as client:
        assert value(client, "SHOW work_mem") == "4MB"


def test_ignored_options_are_ignored_as_a_whole(pooler: PoolerFactory) -> None:
    process = pooler(settings={"ignore_startup_parameters": "options"})
    with process.connect(DATABASE, options="-c work_mem=1MB -c timezone=Asia/Tokyo") as client:
        assert value(client, "SHOW work_mem") == "4MB"


def test_long_form_of_options_is_understood(process: PoolerProcess) -> None:
    with process.connect(DATABASE, options="--timezone=Asia/Tokyo -cdatestyle=German") as client:
        assert value(client, "SHOW timezone") == "Asia/Tokyo"


def test_value_that_the_server_refuses_costs_the_client_its_connection(process: PoolerProcess) -> None:
    with (
        process.connect(DATABASE, options="-c timezone=Nowhere/Land") as client,
        pytest.raises(psycopg.OperationalError, match="invalid server parameter"),
    ):
        client.execute("SELECT 1")
    with process.connect(DATABASE) as other:
        assert value(other, "SELECT 1") == 1


def test_welcome_reports_what_the_server_reports(process: PoolerProcess, postgres: TemporaryPostgres) -> None:
    with (
        psycopg.connect(host="127.0.0.1", port=postgres.port, user=USER, dbname=DATABASE) as direct,
        process.connect(DATABASE) as through,
    ):
        for name in ("server_version", "server_encoding", "integer_datetimes", "is_superuser", "TimeZone"):
            assert through.info.parameter_status(name) == direct.info.parameter_status(name)
            assert through.info.parameter_status(name) is not None
