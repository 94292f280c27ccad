"""The real PostgreSQL of the tests: one server for each worker of xdist, gone with it."""

from collections.abc import Iterator

import pytest

from cli.demo.pg_programs import PostgresMissing
from cli.demo.postgres import PostgresFailed, TemporaryPostgres
from tests.support.require import missing

__all__ = ["PostgresFailed", "PostgresMissing", "TemporaryPostgres", "postgres"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[TemporaryPostgres]:
    """A server that trusts everybody; a test that changes it for others starts one of its own."""
    try:
        server = TemporaryPostgres()
    except PostgresMissing:
        missing("a PostgreSQL server")
    with server:
        yield server
