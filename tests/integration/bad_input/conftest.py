"""One pooler for each kind of test, shared by all tests of a worker here, and gone with the last of them: its
companion takes time that other tests want.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.integration.bad_input.target import DATABASE, Target
from tests.support.bouncer import USER, USER_PASSWORD, PoolerProcess
from tests.support.fakeserver import FakeServer
from tests.support.postgres import TemporaryPostgres

SCRAM_USER = "scram_user"
SESSION_USER = "session_user"
# The password is "scram-password".
_SCRAM_SECRET = (
    "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$WIT9p7EkLExcdZ1mVILyo/FZMr/j193IqHzoLYEo/fE="
    ":4D04/WarmPdTMaeiVeJKuCTY64yZBxY7jGkn1Zhlgts="
)


@contextmanager
def running(databases: Mapping[str, str], password: str = "", **options: Any) -> Iterator[Target]:
    """A pooler in transaction mode with its companion; `options` are those of PoolerProcess."""
    settings = {"pool_mode": "transaction", **options.pop("settings", {})}
    with PoolerProcess(databases, settings=settings, **options) as pooler:
        target = Target(pooler, password)
        yield target
        target.close()


def _checked(target: Target) -> Iterator[Target]:
    yield target
    target.assert_unharmed()


@pytest.fixture(scope="package")
def _trusting(postgres: TemporaryPostgres) -> Iterator[Target]:
    everything = f"host=127.0.0.1 port={postgres.port}"
    narrow = f"{everything} dbname={DATABASE} pool_size=1"
    with running({"narrow": narrow, "*": everything}, settings={"default_pool_size": 5}) as target:
        yield target


@pytest.fixture
def target(_trusting: Target) -> Iterator[Target]:
    """Trusts everybody. Every name is a database of the real PostgreSQL; `narrow` has a pool of one."""
    yield from _checked(_trusting)


@pytest.fixture(scope="package")
def _asking(postgres: TemporaryPostgres) -> Iterator[Target]:
    everything = f"host=127.0.0.1 port={postgres.port} user={USER}"
    with running(
        {"*": everything},
        USER_PASSWORD,
        settings={"auth_type": "md5"},
        userlist={SCRAM_USER: _SCRAM_SECRET},
    ) as target:
        yield target


@pytest.fixture
def password_target(_asking: Target) -> Iterator[Target]:
    """Wants an MD5 password from `postgres` and SCRAM from SCRAM_USER."""
    yield from _checked(_asking)


@pytest.fixture(scope="package")
def _fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def fake(_fake: FakeServer) -> Iterator[FakeServer]:
    """The server behind `fake_target`; a behaviour that failed fails the test."""
    _fake.forget()
    yield _fake
    assert _fake.errors == []


@pytest.fixture(scope="package")
def _before_fake(postgres: TemporaryPostgres, _fake: FakeServer) -> Iterator[Target]:
    databases = {
        DATABASE: f"host=127.0.0.1 port={postgres.port}",
        "*": f"host=127.0.0.1 port={_fake.port} pool_size=3",
    }
    settings = {"server_login_retry": 0.3, "server_connect_timeout": 1, "cancel_wait_timeout": 1}
    users = {SESSION_USER: "pool_mode=session"}
    with running(databases, settings=settings, users=users, userlist={SESSION_USER: ""}) as target:
        yield target


@pytest.fixture
def fake_target(_before_fake: Target, fake: FakeServer) -> Iterator[Target]:
    """Every database but `postgres` leads to the fake server, pools of three; SESSION_USER gets sessions."""
    yield from _checked(_before_fake)


@pytest.fixture(scope="package")
def _database(postgres: TemporaryPostgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(
        host="127.0.0.1", port=postgres.port, user=USER, dbname=DATABASE, autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
def database(_database: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A connection past the pooler, to look and to hold locks."""
    return _database
