"""A pooler and a real PgBouncer with the same configuration, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.bouncer import BouncerProcess, PoolerProcess, RealPgBouncer, find_pgbouncer
from tests.support.postgres import TemporaryPostgres
from tests.support.require import missing

AUTH_TYPES = ("trust", "plain", "md5", "scram-sha-256")


class Pair(NamedTuple):
    """Both programs, for the same question to each."""

    ours: BouncerProcess
    theirs: BouncerProcess


def _pair(postgres: TemporaryPostgres, auth_type: str) -> Iterator[Pair]:
    if find_pgbouncer() is None:
        missing("a real PgBouncer")
    databases = {
        "postgres": f"host=127.0.0.1 port={postgres.port}",
        "parameters": f"host=127.0.0.1 port={postgres.port} dbname=postgres timezone=Asia/Tokyo",
        "nowhere": f"host=127.0.0.1 port={postgres.port}",
        "statements": f"host=127.0.0.1 port={postgres.port} dbname=postgres pool_mode=statement",
    }
    options: dict[str, Any] = {
        "settings": {"auth_type": auth_type, "stats_users": "watcher", "pool_mode": "transaction"},
        "userlist": {"watcher": "watcher-password", "stranger": "stranger-password"},
    }
    with PoolerProcess(databases, **options) as ours, RealPgBouncer(databases, **options) as theirs:
        yield Pair(ours, theirs)


@pytest.fixture(scope="module")
def pair(postgres: TemporaryPostgres) -> Iterator[Pair]:
    """Both trust everybody in the user list. A test leaves them as they were."""
    yield from _pair(postgres, "trust")


@pytest.fixture(scope="module", params=AUTH_TYPES)
def asking_pair(request: pytest.FixtureRequest, postgres: TemporaryPostgres) -> Iterator[Pair]:
    """Both ask for a password by the same method."""
    yield from _pair(postgres, request.param)
