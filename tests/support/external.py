"""Logins that PAM or a directory checks: who is there, and ExternalAuth without a pooler around it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import asyncpg
import psycopg
import pytest
import uvloop

from pooler.auth.external import ExternalAuth
from pooler.auth.ldap import LdapClient
from pooler.auth.ldap_options import LdapOptions
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, USER, BouncerProcess, PoolerProcess
from tests.support.pamservice import find_libpam
from tests.support.postgres import PostgresMissing, TemporaryPostgres
from tests.support.require import missing
from tests.support.slapd import (
    BASE,
    MANAGER,
    MANAGER_PASSWORD,
    HeldDirectory,
    Slapd,
    find_slapd,
    person,
    unit,
)

T = TypeVar("T")
Answer = tuple[bool, str]

LONG: Final = "o=" + "йцукенгшщзхъфывапролджэячсмитьбю-" * 3

TREE: Final = [
    unit("other"),
    person(f"uid={ADMIN}", ADMIN_PASSWORD),
    person("uid=alice", "wonder", mail="alice@example.net"),
    person("uid=bob,ou=other", "bob's"),
    person("uid=twin", "1"),
    person("uid=twin,ou=other", "2"),
    person("uid=smith\\2c john", "sj", uid="smith, john"),
    person("uid=back\\5cslash", "bs", uid="back\\slash"),
    person("uid=sta*(r)", "star", uid="sta*(r)"),
    person("uid=jörg #1", "jörg's", uid="jörg #1"),
    f"dn: {LONG},{BASE}\nobjectClass: organization\n{LONG.replace('=', ': ')}\n",
    person(f"uid=long,{LONG}", "x" * 60_000, uid="long"),
]

HERE: Final = "ldapserver=127.0.0.1 ldapport={port} "
SIMPLE: Final = HERE + 'ldapprefix="uid=" ldapsuffix=",{base}"'
SEARCH: Final = HERE + 'ldapbasedn="{base}"'

_PRELOADED = """
import contextlib, sys
import ldap3
with contextlib.suppress(OSError, AttributeError):
    import pamela
from pooler.service.main import main
sys.exit(main())
"""


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    """One for each worker of xdist, with TREE in it."""
    try:
        find_slapd()
    except FileNotFoundError:
        missing("slapd")
    with Slapd(TREE) as server:
        yield server


@pytest.fixture
def pam_tools() -> None:
    """libpam is there."""
    try:
        find_libpam()
    except FileNotFoundError:
        missing("libpam")


@pytest.fixture
def preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poolers have loaded the extras before they change the user, who may not be able to read the library."""
    program = [sys.executable, "-P", "-c", _PRELOADED]
    monkeypatch.setattr(PoolerProcess, "program", lambda process: program)


class PoolerWithout(PoolerProcess):
    """A pooler that cannot import `module`, as if it was installed without an extra."""

    def __init__(self, module: str, databases: Mapping[str, str], **options: Any) -> None:
        super().__init__(databases, **options)
        self._module = module

    def program(self) -> list[str]:
        code = f"import sys; sys.modules[{self._module!r}] = None; from pooler.service.main import main"
        return [sys.executable, "-P", "-c", f"{code}; sys.exit(main())"]


def filled(form: str, slapd: Slapd | HeldDirectory) -> str:
    """A form of LDAP options for this server."""
    ports = {"port": slapd.port, "ldaps": slapd.ldaps_port}
    return form.format(**ports, base=BASE, manager=MANAGER, password=MANAGER_PASSWORD)


def run(asked: Callable[[], Awaitable[T]]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_awaited(asked))


async def _awaited(asked: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(30):  # what pytest-timeout raises does not end uvloop
        return await asked()


@contextmanager
def external_auth(**options: Any) -> Iterator[ExternalAuth]:
    loop = asyncio.get_running_loop()
    auth = ExternalAuth(loop.call_soon_threadsafe, loop.call_later, **options)
    try:
        yield auth
    finally:
        auth.close()


async def ask(auth: ExternalAuth, options: LdapOptions, user: str, password: str) -> Answer:
    """One login, answered on the loop's own thread."""
    here = threading.get_ident()
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(confirmed: bool, reason: str) -> None:
        assert threading.get_ident() == here
        answer.set_result((confirmed, reason))

    auth.check_ldap(options, user, password, done)
    return await answer


def login(text: str, user: str, password: str, **client: Any) -> Answer:
    """One login by LDAP options."""

    async def asked() -> Answer:
        with external_auth(ldap_client=LdapClient(**client)) as auth:
            return await ask(auth, LdapOptions.parse(text), user, password)

    return run(asked)


def login_by(driver: str, process: BouncerProcess, user: str, password: str, dbname: str = "postgres") -> str:
    """One login by psycopg or asyncpg: who it is to the server, or what it is refused with."""
    if driver == "asyncpg":
        return asyncio.run(_login_by_asyncpg(process, user, password, dbname))
    try:
        with process.connect(dbname, user=user, password=password) as connection:
            (row,) = connection.execute("SELECT current_user AS name").fetchall()
            return str(row["name"])
    except psycopg.OperationalError as error:
        return str(error).strip().rpartition("FATAL:  ")[2]


async def _login_by_asyncpg(process: BouncerProcess, user: str, password: str, dbname: str) -> str:
    try:
        connection = await asyncpg.connect(
            host=process.host,
            port=process.port,
            user=user,
            password=password,
            database=dbname,
            statement_cache_size=0,
        )
    except asyncpg.PostgresError as error:
        return str(error)
    try:
        return str(await connection.fetchval("SELECT current_user"))
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def locked() -> Iterator[TemporaryPostgres]:
    """A PostgreSQL that asks alice, who is known to the directory and to PAM, and twin for passwords."""
    try:
        server = TemporaryPostgres(hba=f"host all {USER} all trust\nhost all all all scram-sha-256\n")
    except PostgresMissing:
        missing("a PostgreSQL server")
    with server:
        server.sql("CREATE ROLE alice LOGIN PASSWORD 'wonder'; CREATE ROLE twin LOGIN PASSWORD 'other'")
        yield server
