"""What once was a hole in PgBouncer and has no test elsewhere that names it, one test for each.

CVE-2012-4575, CVE-2021-3935 and CVE-2026-107349 are in bad_input/test_startup.py, CVE-2026-6664,
CVE-2026-19888 and CVE-2026-107350 in bad_input/test_passwords.py.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.bad_input.packets import assert_refused, query, with_length
from tests.integration.clients import DATABASE, value
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, USER, PoolerProcess
from tests.support.fakeserver import (
    READY,
    Behaviour,
    FakeConnection,
    FakeServer,
    command_complete,
    parameter_status,
)
from tests.support.rawclient import PROTOCOL_3, RawClient, message, startup_message

LOOKER = "looker"
PASSWORD = "the-right-one"
SASL = message("R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0")
NO_SQLSTATE = message("E", b"SERROR\0Mno state\0\0")

HBA = """
host all md5_role,late,early,never all md5
host all scram_role,looker all scram-sha-256
host all postgres all trust
"""


@pytest.fixture(scope="module")
def strict() -> Iterator[TemporaryPostgres]:
    """Wants a password of everybody; `looker` may read those of others."""
    with TemporaryPostgres(hba=HBA) as server:
        server.sql(
            f"CREATE ROLE {LOOKER} LOGIN SUPERUSER PASSWORD '{PASSWORD}';"
            f"CREATE ROLE scram_role LOGIN PASSWORD '{PASSWORD}';"
            "SET password_encryption = 'md5';"
            f"CREATE ROLE md5_role LOGIN PASSWORD '{PASSWORD}';"
            f"CREATE ROLE late LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '2001-01-01';"
            f"CREATE ROLE early LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '2999-01-01';"
            f"CREATE ROLE never LOGIN PASSWORD '{PASSWORD}' VALID UNTIL 'infinity';"
        )
        yield server


def looking_up(
    pooler: PoolerFactory, server: TemporaryPostgres, auth_type: str, **settings: object
) -> PoolerProcess:
    """Knows nobody but `looker`, who runs auth_query."""
    return pooler(
        {DATABASE: f"host=127.0.0.1 port={server.port}"},
        settings={"auth_type": auth_type, "auth_user": LOOKER, "pool_mode": "transaction", **settings},
        userlist={LOOKER: PASSWORD},
    )


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server
        assert server.errors == []


def before(pooler: PoolerFactory, fake: FakeServer, auth_type: str = "trust") -> PoolerProcess:
    """Every database is one of the fake server, with a pool of one; what has failed is tried again soon."""
    return pooler(
        {"*": f"host=127.0.0.1 port={fake.port} pool_size=1"},
        settings={"auth_type": auth_type, "server_login_retry": 0.1, "pool_mode": "transaction"},
    )


def client_of(process: PoolerProcess, dbname: str, user: str = USER) -> RawClient:
    """Has asked for a connection."""
    client = RawClient(process.host, process.port)
    client.send(startup_message(user, dbname))
    return client


def assert_refused_or_served(process: PoolerProcess, dbname: str) -> None:
    """A client is told that the first server failed, or gets the next one; and so does the next client."""
    with client_of(process, dbname) as client:
        while client.read_message()[0] not in "EZ":
            pass
    with client_of(process, dbname) as client:
        client.read_until("Z")
        assert [kind for kind, _ in client.query("SELECT 'served'")] == ["T", "D", "C", "Z"]


# Who somebody is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth_type", ["trust", "plain", "md5", "scram-sha-256"])
def test_cve_2015_6817(pooler: PoolerFactory, strict: TemporaryPostgres, auth_type: str) -> None:
    """Whom auth_query did not find was logged in as auth_user."""
    process = looking_up(pooler, strict, auth_type)
    for password in (PASSWORD, "wrong", ""):
        with pytest.raises(psycopg.OperationalError, match=r"FATAL|no password supplied"):
            process.connect(DATABASE, user="nobody_knows", password=password)
    users = {row["user"] for row in process.admin("SHOW CLIENTS") if row["database"] == DATABASE}
    assert users == set()
    role = "md5_role" if auth_type != "scram-sha-256" else "scram_role"
    if auth_type in ("md5", "scram-sha-256"):
        with process.connect(DATABASE, user=role, password=PASSWORD) as client:
            assert value(client, "SELECT current_user") == role


def test_cve_2025_2291(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    """auth_query did not look at VALID UNTIL: a password went on to work after its time."""
    process = looking_up(pooler, strict, "md5")
    for role in ("early", "never"):
        with process.connect(DATABASE, user=role, password=PASSWORD) as client:
            assert value(client, "SELECT current_user") == role
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        process.connect(DATABASE, user="late", password=PASSWORD)


def test_cve_2025_12819(pooler: PoolerFactory, fake: FakeServer) -> None:
    """The search_path of a client who had not logged in yet held for auth_query, which read a forged table.

    PostgreSQL reports search_path since version 18, so that this server is a fake one that does.
    """
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={fake.port}"},
        settings={
            "auth_type": "plain",
            "auth_user": LOOKER,
            "auth_query": "SELECT name, secret FROM users WHERE name = $1",
            "pool_mode": "transaction",
            "track_extra_parameters": "search_path",
        },
        userlist={LOOKER: ""},
    )
    looked_up: list[tuple[str, bytes]] = []
    asked: list[tuple[str, bytes]] = []

    def looks_up(connection: FakeConnection) -> None:
        connection.login(parameter_status("search_path", "public"))
        while True:
            looked_up.append(connection.read_message())
            if looked_up[-1][0] == "Q":
                connection.send(command_complete("SET") + READY)
            elif looked_up[-1][0] == "S":
                connection.send(_found("victim", PASSWORD))

    def serves(connection: FakeConnection) -> None:
        connection.login(parameter_status("search_path", "public"))
        while True:
            asked.append(connection.read_message())
            connection.send(command_complete("SET") + READY)

    fake.script(looks_up, serves)
    for number in range(2):
        with process.connect(
            DATABASE, user="victim", password=PASSWORD, options="-c search_path=forged"
        ) as client:
            client.execute("SELECT 1")
        assert [kind for kind, _ in looked_up] == [*"PDBE", *"PDBE", "S"] * (number + 1)
        assert not any(b"forged" in body for _, body in looked_up)
    # The parameter was not lost: it is set where the client itself asks.
    assert b"forged" in asked[0][1]


def _found(name: str, secret: str) -> bytes:
    """What PostgreSQL answers to a search_path and auth_query in the extended protocol."""
    column = struct.pack("!IHIHIH", 0, 0, 25, 0xFFFF, 0xFFFFFFFF, 0)
    columns = struct.pack("!H", 2) + b"name\0" + column + b"secret\0" + column
    path = message("T", struct.pack("!H", 1) + b"set_config\0" + column) + message("2") + _row("public")
    user = message("T", columns) + message("2") + _row(name, secret)
    return b"".join(
        (
            message("1") + message("t", struct.pack("!H", 0)) + path + command_complete("SELECT 1"),
            message("1") + message("t", struct.pack("!HI", 1, 25)) + user + command_complete("SELECT 1"),
            READY,
        )
    )


def _row(*cells: str) -> bytes:
    packed = b"".join(struct.pack("!I", len(cell)) + cell.encode() for cell in cells)
    return message("D", struct.pack("!H", len(cells)) + packed)


def test_cve_2026_6667(pooler: PoolerFactory) -> None:
    """KILL_CLIENT was open to stats_users."""
    process = pooler(settings={"stats_users": "watcher"}, userlist={"watcher": ""})
    with process.connect(DATABASE) as victim, process.connect("pgbouncer", user="watcher") as console:
        numbers = [row["id"] for row in console.execute("SHOW CLIENTS")]
        assert len(numbers) == 2
        for number in numbers:
            with pytest.raises(psycopg.Error, match="admin access needed"):
                console.execute(f"KILL_CLIENT {number}".encode())
        assert value(victim, "SELECT 1") == 1


# Servers ---------------------------------------------------------------------------------------------------


def asks_by_scram(server_first: bytes, finals: list[bytes]) -> Behaviour:
    """NONCE in server-first-message is what the pooler sent; what it answers, if at all, goes to `finals`."""

    def behaviour(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(SASL)
        nonce = connection.read_message()[1].split(b"r=")[-1]
        connection.send(message("R", struct.pack("!I", 11) + server_first.replace(b"NONCE", nonce)))
        finals.append(connection.read_message()[1])

    return behaviour


def test_cve_2026_6665(pooler: PoolerFactory, fake: FakeServer) -> None:
    """A long nonce of a server ran over the end of the buffer for client-final-message."""
    process = before(pooler, fake)
    for number, length in enumerate((1, 400, 500, 1000, 1023, 1024, 2000, 60_000)):
        finals: list[bytes] = []
        added = b"x" * length
        fake.script(asks_by_scram(b"r=NONCE%b,s=%b,i=1" % (added, base64.b64encode(bytes(16))), finals))
        assert_refused_or_served(process, f"db{length}")
        fake.connection(2 * number).wait_closed()
        assert [added + b",p=" in final for final in finals] == ([True] if length <= 400 else [])


def test_cve_2026_6669(pooler: PoolerFactory, fake: FakeServer) -> None:
    """A server could have the pooler do nothing but hash, for minutes, while everybody else waited."""
    process = before(pooler, fake)
    for number, iterations in enumerate((2**31 - 1, 2**32 - 1, 10**9, 1_000_001)):
        finals: list[bytes] = []
        salt = base64.b64encode(bytes(16))
        fake.script(asks_by_scram(b"r=NONCEx,s=%b,i=%d" % (salt, iterations), finals))
        assert_refused_or_served(process, f"db{iterations}")
        fake.connection(2 * number).wait_closed()
        assert finals == []


def test_cve_2026_6666(pooler: PoolerFactory, fake: FakeServer) -> None:
    """An ErrorResponse without SQLSTATE took the pooler down, at any moment."""
    process = before(pooler, fake)

    def at_login(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(NO_SQLSTATE)

    def behind_the_login(connection: FakeConnection) -> None:
        connection.login(NO_SQLSTATE)
        connection.until_closed()

    def as_an_answer(connection: FakeConnection) -> None:
        connection.login()
        connection.serve({"SELECT 1": NO_SQLSTATE + READY})

    for behaviour in (at_login, behind_the_login):
        fake.script(behaviour)
        assert_refused_or_served(process, behaviour.__name__)
    fake.script(as_an_answer)
    with client_of(process, "as_an_answer") as client:
        client.read_until("Z")
        assert client.query("SELECT 1") == [("E", NO_SQLSTATE[5:]), ("Z", b"I")]
        assert [kind for kind, _ in client.query("SELECT 'in sync'")] == ["T", "D", "C", "Z"]


# Lengths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2**31, 2**31 + 100, 2**32 - 1])
def test_cve_2026_107348(pooler: PoolerFactory, fake: FakeServer, length: int) -> None:
    """A length of 2^31 or more held the pooler for ever, in whatever state its sender was."""
    process = before(pooler, fake, auth_type="plain")
    with RawClient(process.host, process.port) as starting:
        starting.send(struct.pack("!II", length, PROTOCOL_3))
        assert_refused(starting, "bad packet header")
    with client_of(process, DATABASE) as asked:
        asked.read_until("R")
        asked.send(with_length(b"p", length, b"secret"))
        assert_refused(asked, "bad packet header")
    for dbname in (DATABASE, "pgbouncer"):
        with client_of(process, dbname, ADMIN) as client:
            client.read_until("R")
            client.send(message("p", ADMIN_PASSWORD.encode() + b"\0"))
            client.read_until("Z")
            client.send(with_length(b"Q", length, b"SELECT 1"))
            assert_refused(client, "bad packet header")

    def at_login(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(with_length(b"R", length, bytes(4)))
        connection.until_closed()

    def as_an_answer(connection: FakeConnection) -> None:
        connection.login()
        connection.serve({"SELECT 1": with_length(b"D", length, bytes(4))})

    process.configure(auth_type="trust")
    process.admin("RELOAD")
    fake.script(at_login)
    assert_refused_or_served(process, "at_login")
    fake.script(as_an_answer)
    with client_of(process, "as_an_answer") as client:
        client.read_until("Z")
        client.send(query("SELECT 1"))
        assert client.expect_error()["S"] == "FATAL"
    assert_refused_or_served(process, "as_an_answer")
