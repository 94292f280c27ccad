"""Logins that PAM or a directory checks: who is there, and ExternalAuth without a pooler around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import pytest
import uvloop

from pooler.auth.external import ExternalAuth
from pooler.auth.ldap import LdapClient
from pooler.auth.ldap_options import LdapOptions
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD
from tests.support.pamservice import find_libpam
from tests.support.require import missing
from tests.support.slapd import BASE, MANAGER, MANAGER_PASSWORD, Slapd, find_slapd, person, unit

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


def filled(form: str, slapd: Slapd) -> str:
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
