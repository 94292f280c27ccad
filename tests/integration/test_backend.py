"""pg_stat_activity of a real server, for a server connection of a real pooler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Background, wait_until
from tests.support.bouncer import PoolerProcess
from tui.admin.table import Table
from tui.admin.target import Target
from tui.profiles import ServerLogin
from tui.watch.backend import Address, Backend, BackendError, BackendWatch, address_of

SUPERUSER = ServerLogin(user="postgres")


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})


def shown(process: PoolerProcess, name: str) -> Table:
    rows = process.admin(f"SHOW {name}")
    return Table(tuple(rows[0]), [tuple(row.values()) for row in rows])


def server_of(process: PoolerProcess) -> Mapping[str, Any]:
    """The only server, once it has logged in."""
    wait_until(
        lambda: [row for row in process.admin("SHOW SERVERS") if row["remote_pid"]], "there is a server"
    )
    (row,) = process.admin("SHOW SERVERS")
    return row


def address(process: PoolerProcess) -> Address:
    target = Target("127.0.0.1", str(process.port), "admin")
    return address_of(server_of(process), shown(process, "DATABASES"), target)


@pytest.fixture
async def watches() -> AsyncIterator[list[BackendWatch]]:
    """Closed at the end."""
    made: list[BackendWatch] = []
    yield made
    for watch in made:
        await watch.close()


async def looked(watch: BackendWatch, watches: list[BackendWatch]) -> Backend:
    watches.append(watch)
    found = await watch.look()
    assert found is not None
    return found


async def test_a_transaction_is_seen_from_both_sides(
    process: PoolerProcess, watches: list[BackendWatch]
) -> None:
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        client.execute("SELECT 'mine'")
        found = await looked(BackendWatch(address(process), SUPERUSER), watches)
        assert found.state == "idle in transaction"
        assert found.wait == "Client ClientRead"
        assert found.query == "SELECT 'mine'"
        assert found.user == "postgres"
        assert found.in_transaction is not None
        assert not found.other_port
        client.execute("COMMIT")


async def test_who_holds_the_lock(
    process: PoolerProcess, postgres: TemporaryPostgres, watches: list[BackendWatch]
) -> None:
    postgres.sql("CREATE TABLE IF NOT EXISTS pooldeck_backend (id int)")
    with psycopg.connect(host="127.0.0.1", port=postgres.port, user="postgres", dbname=DATABASE) as holder:
        holder.execute("LOCK TABLE pooldeck_backend")
        waiting = Background(
            lambda: process.connect(DATABASE).execute("SELECT count(*) FROM pooldeck_backend").fetchall()
        )
        watch = BackendWatch(address(process), SUPERUSER)
        found = await looked(watch, watches)
        while not found.blocked_by:
            found = await looked(watch, [])
        assert found.blocked_by == (holder.info.backend_pid,)
        assert (found.state, found.wait) == ("active", "Lock relation")
    waiting.result()


async def test_a_process_that_has_gone(process: PoolerProcess, watches: list[BackendWatch]) -> None:
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        watch = BackendWatch(address(process), SUPERUSER)
        await looked(watch, watches)
        process.admin("RECONNECT")
        client.execute("SELECT 1")
        while await watch.look() is not None:
            pass


async def test_it_comes_back_after_a_lost_connection(
    process: PoolerProcess, postgres: TemporaryPostgres, watches: list[BackendWatch]
) -> None:
    now = [0.0]
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        watch = BackendWatch(address(process), SUPERUSER, clock=lambda: now[0])
        await looked(watch, watches)
        postgres.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'pooldeck console'"
        )
        with pytest.raises(BackendError) as first:
            await watch.look()
        assert not first.value.final
        with pytest.raises(BackendError) as second:
            await watch.look()
        assert second.value is first.value
        now[0] = 1.0
        assert await watch.look() is not None


async def test_nobody_is_asked_twice_who_does_not_let_us_in(
    process: PoolerProcess, watches: list[BackendWatch]
) -> None:
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        now = [0.0]
        watch = BackendWatch(address(process), ServerLogin(user="nobody here"), clock=lambda: now[0])
        with pytest.raises(BackendError, match=r"does not let nobody here in: .* profile") as first:
            await watch.look()
        assert first.value.final
        now[0] = 1000.0
        with pytest.raises(BackendError) as second:
            await watch.look()
        assert second.value is first.value
        watch.forgive()
        with pytest.raises(BackendError) as third:
            await watch.look()
        assert third.value is not first.value


async def test_who_may_not_see_queries(
    process: PoolerProcess, postgres: TemporaryPostgres, watches: list[BackendWatch]
) -> None:
    postgres.sql("DO $$ BEGIN CREATE ROLE backend_looker LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        found = await looked(BackendWatch(address(process), ServerLogin(user="backend_looker")), watches)
        assert (found.query, found.state) == (None, None)


async def test_what_does_not_answer(postgres: TemporaryPostgres) -> None:
    watch = BackendWatch(Address("127.0.0.1", 1, DATABASE, "postgres", 1), SUPERUSER)
    with pytest.raises(BackendError, match=r"127\.0\.0\.1:1/postgres cannot be asked") as caught:
        await watch.look()
    assert not caught.value.final
