"""Who may come in, and how the pooler itself gets in to its servers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, pool_row, value, wait_for_pool
from tests.support.bouncer import USER, PoolerProcess
from tests.support.rawclient import RawClient, startup_message

PASSWORD = 'päss\'word "1"'
QUOTED = "'" + PASSWORD.replace("'", "''") + "'"
CONFIGURATION = Path(__file__).parents[2] / "docs" / "configuration.md"
METHODS = ("password", "md5", "scram-sha-256")
REFUSALS = {
    "plain": "password authentication failed",
    "md5": "password authentication failed",
    "scram-sha-256": "SASL authentication failed",
}

HBA = """
host all md5_role all md5
host all scram_role,victim,shady all scram-sha-256
host all password_role all password
host all looker,pgbouncer all scram-sha-256
host all postgres all trust
"""


@pytest.fixture(scope="module")
def strict() -> Iterator[TemporaryPostgres]:
    """A server that wants passwords: of md5_role, scram_role and password_role, by the method named."""
    with TemporaryPostgres(hba=HBA) as server:
        server.sql(
            f"SET password_encryption = 'md5'; CREATE ROLE md5_role LOGIN PASSWORD {QUOTED};"
            f"SET password_encryption = 'scram-sha-256'; CREATE ROLE scram_role LOGIN PASSWORD {QUOTED};"
            f"CREATE ROLE password_role LOGIN PASSWORD {QUOTED};"
            f"CREATE ROLE looker LOGIN SUPERUSER PASSWORD 'looker-password';"
            f"CREATE ROLE expired LOGIN PASSWORD {QUOTED} VALID UNTIL '2001-01-01'"
        )
        yield server


def _secret(server: TemporaryPostgres, role: str) -> str:
    ((secret,),) = server.sql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'")
    return secret


def _md5(user: str, password: str = PASSWORD) -> str:
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


def _secrets(server: TemporaryPostgres) -> dict[str, str]:
    return {"plain_user": PASSWORD, "md5_user": _md5("md5_user"), "scram_user": _secret(server, "scram_role")}


# Clients -------------------------------------------------------------------------------------------------

CLIENT_METHODS = [
    ("plain", "plain_user"),
    ("plain", "md5_user"),
    ("plain", "scram_user"),
    ("md5", "plain_user"),
    ("md5", "md5_user"),
    ("md5", "scram_user"),
    ("scram-sha-256", "plain_user"),
    ("scram-sha-256", "scram_user"),
]


def _asking(pooler: PoolerFactory, strict: TemporaryPostgres, auth_type: str) -> PoolerProcess:
    """Asks clients by `auth_type`; its servers trust it."""
    return pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port} user={USER}"},
        settings={"auth_type": auth_type},
        userlist=_secrets(strict),
    )


@pytest.mark.parametrize(("auth_type", "user"), CLIENT_METHODS)
def test_right_password_lets_in_and_wrong_one_does_not(
    pooler: PoolerFactory, strict: TemporaryPostgres, auth_type: str, user: str
) -> None:
    process = _asking(pooler, strict, auth_type)
    with process.connect(DATABASE, user=user, password=PASSWORD) as client:
        assert value(client, "SELECT 1") == 1
    # A SCRAM secret is asked for by SCRAM even where auth_type is md5.
    scram = auth_type == "scram-sha-256" or (auth_type, user) == ("md5", "scram_user")
    refusal = REFUSALS["scram-sha-256" if scram else "plain"]
    for wrong in ("wrong", PASSWORD + "x", PASSWORD.upper()):
        with pytest.raises(psycopg.OperationalError, match=f"FATAL:  {refusal}"):
            process.connect(DATABASE, user=user, password=wrong)


def test_md5_secret_is_of_no_use_for_scram(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    process = _asking(pooler, strict, "scram-sha-256")
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        process.connect(DATABASE, user="md5_user", password=PASSWORD)


@pytest.mark.parametrize("auth_type", REFUSALS)
def test_unknown_user_is_told_the_same_as_one_with_a_wrong_password(
    pooler: PoolerFactory, strict: TemporaryPostgres, auth_type: str
) -> None:
    process = _asking(pooler, strict, auth_type)
    errors = []
    for user in ("plain_user", "nobody_knows"):
        with pytest.raises(psycopg.OperationalError) as caught:
            process.connect(DATABASE, user=user, password="wrong")
        errors.append(str(caught.value).partition("FATAL")[2])
    assert errors[0] == errors[1]
    assert REFUSALS[auth_type] in errors[0]


def test_unknown_database_is_told_only_to_those_with_the_right_password(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    process = _asking(pooler, strict, "md5")
    with pytest.raises(psycopg.OperationalError, match="no such database: nowhere"):
        process.connect("nowhere", user="plain_user", password=PASSWORD)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        process.connect("nowhere", user="plain_user", password="wrong")


@pytest.mark.parametrize("auth_type", ["plain", "md5", "scram-sha-256"])
def test_empty_password_lets_nobody_in(
    pooler: PoolerFactory, strict: TemporaryPostgres, auth_type: str
) -> None:
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port} user={USER}"},
        settings={"auth_type": auth_type},
        userlist={"nothing": ""},
    )
    with RawClient(process.host, process.port) as client:
        client.send(startup_message("nothing", DATABASE))
        client.read_until("R")
        client.send(b"p\0\0\0\5\0")
        assert client.expect_error()["S"] == "FATAL"


def test_trust_lets_in_who_is_in_the_user_list(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    process = _asking(pooler, strict, "trust")
    with process.connect(DATABASE, user="md5_user", password="anything") as client:
        assert value(client, "SELECT 1") == 1
    with pytest.raises(psycopg.OperationalError, match='"trust" authentication failed'):
        process.connect(DATABASE, user="nobody_knows")


def test_any_lets_in_everybody_where_the_user_is_forced(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    address = f"host=127.0.0.1 port={strict.port} dbname=postgres"
    process = pooler({"forced": f"{address} user={USER}", "free": address}, settings={"auth_type": "any"})
    with process.connect("forced", user="nobody_knows") as client:
        assert value(client, "SELECT current_user") == USER
    with pytest.raises(psycopg.OperationalError, match="bouncer config error"):
        process.connect("free", user="nobody_knows")


def test_secrets_never_stand_in_the_log(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    secrets = _secrets(strict)
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port} user=scram_role password={QUOTED}"},
        settings={"auth_type": "plain", "verbose": 2},
        userlist=secrets,
    )
    for user in secrets:
        with process.connect(DATABASE, user=user, password=PASSWORD) as client:
            client.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        process.connect(DATABASE, user="plain_user", password="a-wrong-password")
    log = process.log_text()
    for secret in (PASSWORD, "a-wrong-password", secrets["md5_user"], secrets["scram_user"]):
        assert secret not in log


# Servers -------------------------------------------------------------------------------------------------


def _role(method: str) -> str:
    return {"password": "password_role", "md5": "md5_role", "scram-sha-256": "scram_role"}[method]


@pytest.mark.parametrize("method", METHODS)
def test_server_is_given_the_password_of_the_user_list(
    pooler: PoolerFactory, strict: TemporaryPostgres, method: str
) -> None:
    role = _role(method)
    process = pooler({DATABASE: f"host=127.0.0.1 port={strict.port}"}, userlist={role: PASSWORD})
    with process.connect(DATABASE, user=role) as client:
        assert value(client, "SELECT current_user") == role


@pytest.mark.parametrize("method", METHODS)
def test_server_is_given_the_password_of_the_connect_string(
    pooler: PoolerFactory, strict: TemporaryPostgres, method: str
) -> None:
    role = _role(method)
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port} user={role} password={QUOTED}"},
        userlist={"client": "other"},
    )
    with process.connect(DATABASE, user="client") as client:
        assert value(client, "SELECT current_user") == role


def test_server_that_asks_for_md5_takes_an_md5_secret(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    secret = _secret(strict, "md5_role")
    assert secret == _md5("md5_role")
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port}"},
        settings={"auth_type": "md5"},
        userlist={"md5_role": secret},
    )
    with process.connect(DATABASE, user="md5_role", password=PASSWORD) as client:
        assert value(client, "SELECT current_user") == "md5_role"


def test_scram_secret_of_the_server_logs_in_with_what_the_client_proved(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port}"},
        settings={"auth_type": "scram-sha-256", "pool_mode": "transaction"},
        userlist={"scram_role": _secret(strict, "scram_role")},
    )
    with process.connect(DATABASE, user="scram_role", password=PASSWORD) as client:
        assert value(client, "SELECT current_user") == "scram_role"


def test_forced_user_without_a_password_uses_that_of_the_user_list(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port} user=scram_role"}, userlist={"scram_role": PASSWORD}
    )
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT current_user") == "scram_role"


@pytest.mark.parametrize("method", METHODS)
def test_wrong_password_for_the_server_is_the_servers_error(
    pooler: PoolerFactory, strict: TemporaryPostgres, method: str
) -> None:
    role = _role(method)
    process = pooler({DATABASE: f"host=127.0.0.1 port={strict.port}"}, userlist={role: "wrong"})
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(role, DATABASE))
        fields = client.expect_error()
    assert fields["C"] == "28P01"
    assert fields["M"] == f'password authentication failed for user "{role}"'


# auth_query ----------------------------------------------------------------------------------------------


def _looking_up(
    pooler: PoolerFactory,
    strict: TemporaryPostgres,
    auth_type: str,
    connect_string: str = "",
    **settings: object,
) -> PoolerProcess:
    return pooler(
        {"*": f"host=127.0.0.1 port={strict.port} {connect_string}"},
        settings={"auth_type": auth_type, "auth_user": "looker", "pool_mode": "transaction", **settings},
        userlist={"looker": "looker-password"},
    )


@pytest.mark.parametrize(
    ("auth_type", "role"), [("md5", "md5_role"), ("scram-sha-256", "scram_role"), ("md5", "scram_role")]
)
def test_auth_query_finds_the_secret_of_a_user(
    pooler: PoolerFactory, strict: TemporaryPostgres, auth_type: str, role: str
) -> None:
    process = _looking_up(pooler, strict, auth_type)
    for _ in range(2):
        with process.connect(DATABASE, user=role, password=PASSWORD) as client:
            assert value(client, "SELECT current_user") == role
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        process.connect(DATABASE, user=role, password="wrong")


@pytest.mark.parametrize(
    ("auth_type", "known"),
    [("md5", "md5_role"), ("md5", "scram_role"), ("scram-sha-256", "scram_role"), ("plain", "md5_role")],
)
def test_auth_query_does_not_tell_an_unknown_user_from_a_wrong_password(
    pooler: PoolerFactory, strict: TemporaryPostgres, auth_type: str, known: str
) -> None:
    process = _looking_up(pooler, strict, auth_type)
    refusals = []
    for user in (known, "nobody_knows"):
        with pytest.raises(psycopg.OperationalError) as refused:
            process.connect(DATABASE, user=user, password="wrong")
        refusals.append(str(refused.value))
    assert "authentication failed" in refusals[0]
    assert refusals[0] == refusals[1]


def test_auth_query_tells_of_an_unknown_user_where_everybody_is_trusted(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    process = _looking_up(pooler, strict, "trust")
    with pytest.raises(psycopg.OperationalError, match="no such user"):
        process.connect(DATABASE, user="nobody_knows", password=PASSWORD)


@pytest.mark.parametrize("kind", ["md5", "scram-sha-256"])
def test_a_user_who_does_not_exist_is_asked_as_most_are(
    pooler: PoolerFactory, strict: TemporaryPostgres, kind: str
) -> None:
    secret = _md5("ada") if kind == "md5" else _secret(strict, "scram_role")
    process = pooler(settings={"auth_type": "md5"}, userlist=dict.fromkeys(("ada", "bob", "eve"), secret))
    assert _asked(process, "ada") == _asked(process, "nobody")


def _asked(process: PoolerProcess, user: str) -> tuple[str, bytes]:
    """The kind of the request for a password."""
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(user, DATABASE))
        kind, body = client.read_message()
        return kind, body[:4]


def test_what_a_client_leaves_behind_does_not_decide_who_comes_in(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    """The client is logged in as the user who runs auth_query, and shares servers with others."""
    strict.sql("CREATE ROLE victim LOGIN PASSWORD 'unknown'")
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={strict.port} pool_size=1"},
        settings={
            "auth_type": "scram-sha-256",
            "auth_user": "looker",
            "pool_mode": "transaction",
            "auth_query": "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1",
        },
        userlist={"looker": "looker-password"},
    )
    with process.connect(DATABASE, user="looker", password="looker-password") as client:
        client.autocommit = True
        client.execute("CREATE TEMPORARY TABLE pg_authid (rolname text, rolpassword text)")
        client.execute("INSERT INTO pg_authid VALUES ('victim', 'known')")
        client.execute("SET search_path = pg_temp, pg_catalog")
        assert value(client, "SELECT count(*) FROM pg_authid") == 1
        with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
            process.connect(DATABASE, user="victim", password="known")
        with process.connect(DATABASE, user="victim", password="unknown") as victim:
            assert value(victim, "SELECT current_user") == "victim"
    rows = [row for row in process.admin("SHOW POOLS") if row["user"] == "looker"]
    assert len(rows) == 1
    assert rows[0]["sv_idle"] == 2


def test_auth_query_finds_what_postgresql_provides_whatever_the_search_path_of_the_role(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    strict.sql(
        "CREATE SCHEMA shadows;"
        "CREATE TABLE shadows.pg_authid AS SELECT FROM pg_authid;"
        "CREATE FUNCTION shadows.whoami(name text) RETURNS TABLE (n text, s text) LANGUAGE sql AS"
        " 'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = name';"
        "CREATE ROLE shady SUPERUSER LOGIN PASSWORD 'looker-password';"
        "ALTER ROLE shady SET search_path = shadows, pg_catalog"
    )
    for auth_query in ("", "SELECT * FROM whoami($1)"):
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={strict.port} auth_user=shady"},
            settings={"auth_type": "scram-sha-256", **({"auth_query": auth_query} if auth_query else {})},
            userlist={"shady": "looker-password"},
        )
        with process.connect(DATABASE, user="scram_role", password=PASSWORD) as client:
            assert value(client, "SELECT current_user") == "scram_role"


def test_auth_query_without_a_secret_lets_nobody_in(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    process = _looking_up(pooler, strict, "scram-sha-256")
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        process.connect(DATABASE, user="expired", password=PASSWORD)


def test_auth_query_sees_a_changed_password_at_once(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    strict.sql("CREATE ROLE changing LOGIN PASSWORD 'old'")
    process = _looking_up(pooler, strict, "scram-sha-256", f"user={USER}")
    process.connect(DATABASE, user="changing", password="old").close()
    strict.sql("ALTER ROLE changing PASSWORD 'new'")
    process.connect(DATABASE, user="changing", password="new").close()
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        process.connect(DATABASE, user="changing", password="old")


def test_auth_query_may_be_any_query(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    process = _looking_up(
        pooler,
        strict,
        "plain",
        auth_query=f"SELECT $1::text, '{_md5('password_role')}'",
    )
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        process.connect(DATABASE, user="password_role", password="wrong")
    # Right for the pooler; the md5 secret alone is not enough for this server.
    with pytest.raises(psycopg.OperationalError, match="wrong password type"):
        process.connect(DATABASE, user="password_role", password=PASSWORD)


GET_AUTH = """
CREATE SCHEMA pgbouncer;
CREATE OR REPLACE FUNCTION pgbouncer.get_auth(p_usename text)
  RETURNS TABLE(username text, password text)
  LANGUAGE plpgsql
  SECURITY DEFINER
 AS $function$
 BEGIN
     RAISE WARNING 'PgBouncer auth request: %', p_usename;
     RETURN QUERY
     SELECT usename::TEXT, passwd::TEXT FROM pg_catalog.pg_shadow
      WHERE usename = p_usename;
 END;
 $function$;
REVOKE EXECUTE ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
CREATE ROLE pgbouncer LOGIN PASSWORD '...';
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer;
"""
"""As installations have it: it warns of every call, and its owner alone may read passwords."""


def _documented(language: str) -> str:
    """The example of docs/configuration.md."""
    section = CONFIGURATION.read_text().partition("### auth_query\n")[2]
    return section.partition(f"```{language}\n")[2].partition("```")[0]


@pytest.mark.parametrize("documented", [False, True])
def test_auth_query_by_a_function_of_a_superuser(pooler: PoolerFactory, documented: bool) -> None:
    auth_query = "SELECT * FROM pgbouncer.get_auth($1)"
    if documented:
        auth_query = _documented("ini").partition("auth_query = ")[2].splitlines()[0]
    with TemporaryPostgres(hba=HBA) as server:
        server.sql((_documented("sql") if documented else GET_AUTH).replace("'...'", QUOTED))
        server.sql(f"CREATE ROLE scram_role LOGIN PASSWORD {QUOTED}")
        process = pooler(
            {"*": f"host=127.0.0.1 port={server.port}"},
            settings={"auth_user": "pgbouncer", "auth_query": auth_query},
            userlist={"pgbouncer": PASSWORD},
        )
        rules = process.directory / "pg_hba.conf"
        rules.write_text(HBA)
        process.configure(auth_type="hba", auth_hba_file=rules)
        process.admin("RELOAD")
        with process.connect(DATABASE, user="scram_role", password=PASSWORD) as client:
            assert value(client, "SELECT current_user") == "scram_role"
        for user, password in (("scram_role", "wrong"), ("nobody_knows", PASSWORD)):
            with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no authentication"):
                process.connect(DATABASE, user=user, password=password)


def test_auth_query_runs_in_auth_dbname(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    process = _looking_up(pooler, strict, "scram-sha-256", auth_dbname="template1")
    with process.connect(DATABASE, user="scram_role", password=PASSWORD) as client:
        assert value(client, "SELECT current_database()") == "postgres"
    assert pool_row(process, "template1", "looker") != {}
    assert pool_row(process, DATABASE, "looker") == {}


def test_auth_query_that_fails_is_an_error_for_the_client_alone(
    pooler: PoolerFactory, strict: TemporaryPostgres
) -> None:
    process = _looking_up(pooler, strict, "md5", auth_query="SELECT rolname, nonsense FROM pg_authid")
    with pytest.raises(psycopg.OperationalError, match="bouncer config error"):
        process.connect(DATABASE, user="md5_role", password=PASSWORD)
    process.wait_for_log('column "nonsense" does not exist')


def test_clients_parameters_do_not_reach_auth_query(pooler: PoolerFactory, strict: TemporaryPostgres) -> None:
    process = _looking_up(
        pooler,
        strict,
        "md5",
        track_extra_parameters="default_transaction_read_only",
        auth_query=(
            "SELECT rolname, CASE current_setting('default_transaction_read_only')"
            " WHEN 'off' THEN rolpassword END FROM pg_authid WHERE rolname = $1"
        ),
    )
    with process.connect(
        DATABASE, user="md5_role", password=PASSWORD, options="-c default_transaction_read_only=on"
    ) as client:
        assert value(client, "SHOW default_transaction_read_only") == "on"
    wait_for_pool(process, DATABASE, "looker", sv_idle=1)
