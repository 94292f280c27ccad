"""Fixtures for all tests: a real PostgreSQL, poolers, a real PgBouncer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest

from tests import hypothesis_profiles
from tests.support.bouncer import PoolerProcess, RealPgBouncer, find_pgbouncer
from tests.support.postgres import TemporaryPostgres, postgres
from tests.support.require import missing

__all__ = ["postgres"]

hypothesis_profiles.load()

PoolerFactory: TypeAlias = Callable[..., PoolerProcess]
PgBouncerFactory: TypeAlias = Callable[..., RealPgBouncer]


@pytest.fixture
def pooler(postgres: TemporaryPostgres) -> Iterator[PoolerFactory]:
    """Starts poolers for one test: `pooler(databases=None, **options)`, options as PoolerProcess takes them.

    Without `databases` every name leads to the session's PostgreSQL. At the end all are stopped, their logs
    are printed for the report of a failure, and a traceback in one fails the test.
    """
    started: list[PoolerProcess] = []
    with ExitStack() as stack:

        def start(databases: Mapping[str, str] | None = None, **options: Any) -> PoolerProcess:
            process = PoolerProcess(_or_everything(databases, postgres), **options)
            started.append(stack.enter_context(process))
            return process

        yield start
    logs = [process.log_text() for process in started]
    print(*logs, sep="\n")
    assert not any("Traceback (most recent call last)" in log for log in logs), "a pooler logged a traceback"


@pytest.fixture
def pgbouncer(postgres: TemporaryPostgres) -> Iterator[PgBouncerFactory]:
    """Starts real PgBouncers for one test, with the arguments of the fixture `pooler`."""
    if find_pgbouncer() is None:
        missing("a real PgBouncer")
    with ExitStack() as stack:

        def start(databases: Mapping[str, str] | None = None, **options: Any) -> RealPgBouncer:
            return stack.enter_context(RealPgBouncer(_or_everything(databases, postgres), **options))

        yield start


def _or_everything(databases: Mapping[str, str] | None, postgres: TemporaryPostgres) -> Mapping[str, str]:
    return databases or {"*": f"host=127.0.0.1 port={postgres.port}"}
