"""The demo's load with real clients, on PostgreSQL itself."""

import asyncio

from cli.demo.load import LoadReport, Target, prepare, run_load
from tests.support.postgres import TemporaryPostgres


async def test_all_tokens_come_back_from_postgresql_itself(postgres: TemporaryPostgres) -> None:
    target = Target("127.0.0.1", postgres.port, "postgres", "postgres")
    report = LoadReport(clients=8)
    await prepare(target)
    await run_load(target, report, 1.0, asyncio.Event())
    assert report.clean, report.errors
    assert report.sent > 100
    ((changes,),) = postgres.sql("SELECT sum(changes) > 0 FROM pooldeck_demo")
    assert changes == "t"


async def test_load_ends_when_told_to(postgres: TemporaryPostgres) -> None:
    target = Target("127.0.0.1", postgres.port, "postgres", "postgres")
    stop = asyncio.Event()
    await prepare(target)
    load = asyncio.create_task(run_load(target, LoadReport(clients=2), 3600, stop))
    stop.set()
    await asyncio.wait_for(load, 10)


async def test_clients_come_back_after_an_error_and_it_is_counted(postgres: TemporaryPostgres) -> None:
    target = Target("127.0.0.1", postgres.port, "postgres", "postgres")
    report = LoadReport(clients=4)
    stop = asyncio.Event()
    await prepare(target)
    load = asyncio.create_task(run_load(target, report, 30, stop))
    while report.sent < 50:
        await asyncio.sleep(0.01)
    others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
    await asyncio.to_thread(
        postgres.sql, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    )
    before = report.matched
    while report.matched < before + 50:
        await asyncio.sleep(0.01)
    stop.set()
    await load
    assert report.errors
    assert not report.clean


async def test_a_target_that_refuses_is_an_error(postgres: TemporaryPostgres) -> None:
    report = LoadReport(clients=2)
    await run_load(
        Target("127.0.0.1", postgres.port, "postgres", "no_such_database"), report, 0.2, asyncio.Event()
    )
    assert report.sent == 0
    assert any("no_such_database" in text for text in report.errors)
    assert not report.clean
