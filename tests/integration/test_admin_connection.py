"""The console's connection, on our own pooler and on a real PgBouncer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from cli.demo.throwaway import ThrowawayDirectory
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE, Background, wait_for_pool
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, BouncerProcess
from tests.support.certificates import Authority
from tests.support.rawclient import RawClient, startup_message
from tui.admin import own, stock
from tui.admin.connection import AdminConnection, connect
from tui.admin.errors import AdminError
from tui.admin.overview import look, rates
from tui.admin.target import Target, parse_target


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def start(request: pytest.FixtureRequest) -> PoolerFactory | PgBouncerFactory:
    factory: PoolerFactory | PgBouncerFactory
    factory = request.getfixturevalue("pooler" if request.param == "pooldeck" else "pgbouncer")
    return factory


@pytest.fixture
def process(start: PoolerFactory, postgres: TemporaryPostgres) -> BouncerProcess:
    """Transaction mode, a pool of one server, passwords for everybody."""
    return start(
        {DATABASE: f"host=127.0.0.1 port={postgres.port}"},
        settings={
            "pool_mode": "transaction",
            "default_pool_size": 1,
            "auth_type": "scram-sha-256",
            "stats_users": "stats",
        },
        userlist={"stats": "stats-password"},
    )


def target(process: BouncerProcess, user: str = ADMIN, password: str = ADMIN_PASSWORD) -> Target:
    return parse_target(process.dsn("pgbouncer", user=user, password=password), {})


@pytest.fixture
async def connection(process: BouncerProcess) -> AsyncIterator[AdminConnection]:
    found = await connect(target(process))
    yield found
    await found.close()


def busy(process: BouncerProcess) -> psycopg.Connection[dict[str, Any]]:
    """A client in a transaction: no PAUSE is complete."""
    client = process.connect(DATABASE, password="postgres-password")
    client.execute("BEGIN")
    return client


async def test_the_driver_is_found_by_itself(process: BouncerProcess, connection: AdminConnection) -> None:
    is_own = "pooler.service.main" in process.program()
    assert isinstance(connection, own.OwnConnection if is_own else stock.StockConnection)
    assert connection.capabilities.sql is is_own
    assert connection.capabilities.has_table("WAITS") is is_own
    assert connection.capabilities.has_table("POOLS")
    assert connection.capabilities.has_command("PAUSE")
    assert "rror" not in process.log_text().replace("log_pooler_errors", "")


async def test_rows_are_typed(process: BouncerProcess, connection: AdminConnection) -> None:
    for _ in range(7):  # more often than psycopg asks before it prepares by itself
        (pool,) = (await connection.rows("SHOW POOLS")).dicts()
        assert (pool["database"], pool["cl_active"], pool["maxwait"]) == ("pgbouncer", 1, 0)
    databases = {row["name"]: row for row in (await connection.rows("SHOW DATABASES")).dicts()}
    assert databases[DATABASE]["pool_size"] == 1
    with busy(process) as client:
        client.rollback()
        (stats,) = [
            row for row in (await connection.rows("SHOW STATS")).dicts() if row["database"] == DATABASE
        ]
        assert isinstance(stats["total_received"], int | Decimal)
        assert stats["total_received"] > 0
    assert (await connection.rows("SHOW LISTS")).pairs()["databases"] == 2


async def test_a_table_without_rows_has_its_columns(connection: AdminConnection) -> None:
    table = await connection.rows("SHOW DNS_HOSTS")
    assert (len(table), table.columns[0]) == (0, "hostname")


async def test_names_that_are_not_utf_8(
    start: PoolerFactory, postgres: TemporaryPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may call itself what it likes, and the other rows are there all the same."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    process = start({DATABASE: f"host=127.0.0.1 port={postgres.port}"})
    with RawClient(process.host, process.port) as client:
        startup = startup_message("postgres", DATABASE, application_name="bad-byte Zoë")
        client.send(startup.replace(b"bad-byte", b"bad\xffbyte"))
        client.read_until("Z")
        found = await connect(target(process))
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(found.close)
            for _ in range(2):
                names = [row["application_name"] for row in (await found.rows("SHOW CLIENTS")).dicts()]
                assert sorted(names) == [r"bad\xffbyte Zoë", "pooldeck"]


async def test_commands_and_notices(connection: AdminConnection) -> None:
    assert await connection.command(f"PAUSE {DATABASE}") == "PAUSE"
    assert await connection.command(f"RESUME {DATABASE}") == "RESUME"
    reply = await connection.run("SHOW HELP", 10)
    assert "PAUSE" in (reply.notices[0].detail or "")
    with pytest.raises(AdminError, match="no rows"):
        await connection.rows("RELOAD")


async def test_an_error_leaves_the_connection(connection: AdminConnection) -> None:
    with pytest.raises(AdminError, match="invalid command 'NONSENSE'") as caught:
        await connection.rows("NONSENSE")
    assert not caught.value.lost
    assert caught.value.sqlstate
    assert len(await connection.rows("SHOW VERSION")) == 1


async def test_a_wrong_password_and_a_user_without_rights(process: BouncerProcess) -> None:
    with pytest.raises(AdminError) as caught:
        await connect(target(process, password="wrong"))
    assert caught.value.lost
    assert caught.value.sqlstate
    with pytest.raises(AdminError):
        await connect(target(process, user="postgres", password="postgres-password"))


async def test_stats_users_see_and_may_not_act(process: BouncerProcess) -> None:
    connection = await connect(target(process, user="stats", password="stats-password"))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(connection.close)
        assert len(await connection.rows("SHOW VERSION")) == 1
        with pytest.raises(AdminError, match="admin access needed"):
            await connection.command("RELOAD")


async def test_nobody_listens(process: BouncerProcess) -> None:
    found = target(process)
    process.stop()
    with pytest.raises(AdminError) as caught:
        await connect(found)
    assert caught.value.lost
    assert caught.value.sqlstate is None


async def test_a_pooler_that_goes_away(process: BouncerProcess, connection: AdminConnection) -> None:
    process.stop()
    with pytest.raises(AdminError) as caught:
        await connection.rows("SHOW VERSION")
    assert caught.value.lost
    assert connection.closed


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(AdminError, match=r"no answer within 0\.1 s"):
            await connect(Target("127.0.0.1", str(port), "ops"), timeout=0.1)


async def test_tls_is_verified(start: PoolerFactory) -> None:
    with ThrowawayDirectory("pooldeck-tls-", None) as throwaway:
        directory = throwaway.path
        authority = Authority()
        certificate, key = authority.issue("pooler", names=["localhost"]).write(directory, "pooler")
        if os.geteuid() == 0:
            shutil.chown(key, "nobody")
        process = start(
            settings={
                "client_tls_sslmode": "require",
                "client_tls_cert_file": certificate,
                "client_tls_key_file": key,
            }
        )
        ours, other = authority.write(directory), Authority("Other CA").write(directory, "other")
        for host, ca, is_right in (
            ("localhost", ours, True),
            ("127.0.0.1", ours, False),
            ("localhost", other, False),
        ):
            text = f"host={host} port={process.port} user={ADMIN} sslmode=verify-full sslrootcert={ca}"
            if not is_right:
                with pytest.raises(AdminError):
                    await connect(parse_target(text, {}))
                continue
            connection = await connect(parse_target(text, {}))
            (client,) = (await connection.rows("SHOW CLIENTS")).dicts()
            assert client["tls"].startswith("TLSv1.")
            await connection.close()


async def test_a_pause_is_cancelled(process: BouncerProcess, connection: AdminConnection) -> None:
    with busy(process) as client:
        pause = asyncio.create_task(connection.command("PAUSE"))
        await asyncio.to_thread(process.wait_for_log, "PAUSE command issued")
        connection.cancel()
        with pytest.raises(AdminError) as caught:
            await pause
        assert caught.value.sqlstate == "57014"
        client.execute("COMMIT")
        # Nobody is served as long as a PAUSE is in force.
        await asyncio.to_thread(Background(lambda: client.execute("SELECT 1")).result)


async def test_a_look_and_the_rates_between_two(process: BouncerProcess, connection: AdminConnection) -> None:
    before = await look(connection)
    with busy(process) as client:
        for _ in range(9):
            client.execute("SELECT 1")
        await asyncio.to_thread(wait_for_pool, process, sv_active=1)
        during = await look(connection)
        client.execute("COMMIT")
        after = await look(connection)
    assert (during.pools[0]["database"], during.pools[0]["sv_active"]) == (DATABASE, 1)
    # The state is not to be had of every release.
    assert during.state == ("active" if connection.capabilities.has_table("STATE") else "unknown")
    assert (during.paused, during.pool_sizes) == ((), {DATABASE: 1})
    assert during.clients == 2
    assert during.max_clients
    assert rates(before, after, 2.0)["queries"] == 11 / 2


async def test_databases_that_are_paused_and_disabled(connection: AdminConnection) -> None:
    await connection.command(f"PAUSE {DATABASE}")
    await connection.command(f"DISABLE {DATABASE}")
    found = await look(connection)
    assert (found.paused, found.disabled) == ((DATABASE,), (DATABASE,))
