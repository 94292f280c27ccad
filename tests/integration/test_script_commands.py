"""`pooldeck show`, `exec`, `check-health` and `top`, as scripts run them."""

from __future__ import annotations

import csv
import getpass
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE, Background, wait_for_pool
from tests.support.bouncer import ADMIN, BouncerProcess
from tui.admin.overview import longest_wait


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def process(request: pytest.FixtureRequest, postgres: TemporaryPostgres) -> BouncerProcess:
    factory: PoolerFactory | PgBouncerFactory
    factory = request.getfixturevalue("pooler" if request.param == "pooldeck" else "pgbouncer")
    return factory(
        {DATABASE: f"host=127.0.0.1 port={postgres.port}", "other": f"host=127.0.0.1 port={postgres.port}"},
        settings={"pool_mode": "transaction", "default_pool_size": 1},
    )


def run(process: BouncerProcess | None, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """With the target in the environment."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if process is not None:
        ours["POOLDECK_TARGET"] = process.dsn("pgbouncer", user=ADMIN)
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=50,
        env={**ours, **environ},
    )


def test_show_selects_sorts_and_limits(process: BouncerProcess) -> None:
    done = run(process, "show", "databases", "--where", "name <> 'pgbouncer' AND pool_size = 1",
               "--order-by", "name DESC", "--limit", "1", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["pool_size"]) == (DATABASE, 1)


def test_show_prints_csv_and_a_table(process: BouncerProcess) -> None:
    rows = list(csv.DictReader(io.StringIO(run(process, "show", "DATABASES", "--csv").stdout)))
    assert {row["name"] for row in rows} == {DATABASE, "other", "pgbouncer"}
    lines = run(process, "show", "LISTS").stdout.splitlines()
    assert lines[0].split() == ["list", "items"]
    assert ["databases", "3"] in [line.split() for line in lines]


def test_a_condition_that_takes_sql(process: BouncerProcess) -> None:
    done = run(process, "show", "DATABASES", "--where", "name LIKE 'o%' OR length(name) = 9", "--json")
    if "pooler.service.main" in process.program():
        assert {row["name"] for row in json.loads(done.stdout)} == {"other", "pgbouncer"}
    else:
        assert (done.returncode, done.stdout) == (2, "")
        assert "has no SQL" in done.stderr


def test_what_there_is_not(process: BouncerProcess) -> None:
    done = run(process, "show", "NOTHING")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pooldeck: ")
    done = run(process, "show", "POOLS", "--where", "nothing = 1")
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert run(process, "show", "POOLS WHERE").returncode == 2


def test_exec_prints_tag_rows_and_notices(process: BouncerProcess) -> None:
    assert run(process, "exec", f"PAUSE {DATABASE}").stdout == "PAUSE\n"
    paused = [row["name"] for row in process.admin("SHOW DATABASES") if row["paused"]]
    assert paused == [DATABASE]
    assert run(process, "exec", f"RESUME {DATABASE}").stdout == "RESUME\n"
    done = run(process, "exec", f"RESUME {DATABASE}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not paused" in done.stderr
    assert json.loads(run(process, "exec", "SHOW VERSION", "--json").stdout)[0]["version"].startswith(
        "PgBouncer"
    )
    assert "SHUTDOWN" in run(process, "exec", "SHOW HELP").stderr


def test_exec_gives_up_in_time(process: BouncerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        done = run(process, "exec", "PAUSE", "--timeout", "0.2")
        assert done.returncode == 3
        assert "no answer within 0.2 s" in done.stderr
        client.execute("COMMIT")
        # Nobody is served as long as a PAUSE is in force.
        client.execute("SELECT 1")
    assert "Traceback" not in done.stderr


def test_exec_of_shutdown_is_answered_by_the_end(process: BouncerProcess) -> None:
    done = run(process, "exec", "SHUTDOWN")
    assert (done.returncode, done.stdout, done.stderr) == (0, "SHUTDOWN\n", "")
    process.wait()


def test_health_is_an_exit_code_and_a_line(process: BouncerProcess) -> None:
    limits = ("check-health", "--warn", "cl_waiting=1", "--crit", "maxwait=60", "--crit", "cl_waiting=2")
    done = run(process, *limits)
    line = "POOLDECK OK - cl_waiting=0 maxwait=0s | cl_waiting=0;1;2;0 maxwait=0s;;60;0\n"
    assert (done.returncode, done.stdout) == (0, line)
    with process.connect(DATABASE) as holder, process.connect(DATABASE) as waiter:
        holder.execute("BEGIN")
        wait_for_pool(process, sv_active=1)
        waiting = Background(lambda: waiter.execute("SELECT 1"))
        wait_for_pool(process, cl_waiting=1)
        done = run(process, *limits)
        assert done.returncode == 1
        assert done.stdout.startswith("POOLDECK WARNING - cl_waiting=1 ")
        holder.execute("COMMIT")
        waiting.result()


def test_health_of_a_pooler_that_is_gone(process: BouncerProcess) -> None:
    url = process.dsn("pgbouncer", user=ADMIN)
    process.stop()
    done = run(None, "check-health", "-t", url)
    assert done.returncode == 2
    assert done.stdout.startswith("POOLDECK CRITICAL - ")
    assert done.stdout.count("\n") == 1
    assert run(None, "show", "POOLS", "-t", url).returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [("--warn", "nothing=1"), ("--warn", "cl_waiting"), ("--nonsense",), ("-t", "no such target")],
)
def test_health_of_a_wrong_command_line_is_unknown(arguments: tuple[str, ...]) -> None:
    assert run(None, "check-health", *arguments).returncode == 3


def test_top_has_the_state_the_rates_and_the_pools(process: BouncerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        wait_for_pool(process, sv_active=1)
        found = json.loads(run(process, "top", "--once", "--interval", "0.1", "--json").stdout)
        assert found["state"] in ("active", "unknown")  # unknown to PgBouncer 1.18
        assert (found["pools"][0]["database"], found["pools"][0]["sv_active"]) == (DATABASE, 1)
        assert found["per_second"]["queries"] == 0
        assert found["clients"] == 2
        rows = csv.DictReader(io.StringIO(run(process, "top", "--once", "--interval", "0.1", "--csv").stdout))
        assert [row["database"] for row in rows] == [DATABASE]
        text = run(process, "top", "--once", "--interval", "0.1").stdout
        assert f"{process.port}/pgbouncer  PgBouncer 1." in text
        assert "queries 0.0/s" in text


def test_top_of_a_paused_database_says_so(process: BouncerProcess) -> None:
    process.admin(f"PAUSE {DATABASE}")
    assert f"paused: {DATABASE}\n" in run(process, "top", "--once", "--interval", "0.1").stdout


def test_the_ini_file_leads_to_the_pooler(process: BouncerProcess) -> None:
    done = run(None, "show", "CLIENTS", "--json", "-t", str(process.ini_path))
    assert done.returncode == 0, done.stderr
    (client,) = json.loads(done.stdout)
    socket = process.directory / f".s.PGSQL.{process.port}"
    # Tests that do not run as root share their account with the pooler.
    user = "pgbouncer" if socket.owner() == getpass.getuser() else ADMIN
    assert (client["user"], client["database"]) == (user, "pgbouncer")


def test_variables_and_a_password_file_lead_to_the_pooler(pooler: PoolerFactory, tmp_path: Path) -> None:
    process = pooler(settings={"auth_type": "scram-sha-256"})
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"*:{process.port}:pgbouncer:{ADMIN}:admin-password\n")
    passfile.chmod(0o600)
    environ = {
        "PGHOST": process.host,
        "PGPORT": str(process.port),
        "PGUSER": ADMIN,
        "PGPASSFILE": str(passfile),
    }
    done = run(None, "show", "VERSION", **environ)
    assert done.returncode == 0, done.stderr
    assert run(None, "show", "VERSION", **{**environ, "PGPASSFILE": "/no/such/file"}).returncode == 3


def test_another_database_is_no_admin_database(process: BouncerProcess) -> None:
    done = run(None, "show", "POOLS", "-t", process.dsn(DATABASE))
    assert done.returncode == 3
    assert "is not the admin database of a pooler" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("show", "POOLS"), ("check-health",), ("exec", "RELOAD"), ("version",)]
)
def test_a_full_disk(process: BouncerProcess, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "POOLDECK_TARGET": process.dsn("pgbouncer", user=ADMIN)},
        )
    assert (done.returncode, done.stderr) == (3, "pooldeck: standard output: No space left on device\n")


def test_a_wait_has_no_more_digits_than_it_has() -> None:
    assert longest_wait({"maxwait": 2, "maxwait_us": 916574}) == 2.916574


def test_psycopg_is_asked_for_where_it_is_needed(process: BouncerProcess) -> None:
    code = "import sys; sys.modules['psycopg'] = None; from cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "show", "VERSION", "-t", process.dsn("pgbouncer", user=ADMIN)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "pooler.service.main" in process.program():
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 3
        assert "install pooldeck[pgbouncer]" in done.stderr


def test_no_textual_is_loaded(process: BouncerProcess) -> None:
    code = (
        "import sys, cli.main as main\n"
        "try: main.app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "unwanted = {'textual', 'rich', 'uvloop'} & set(sys.modules)\n"
        "assert not unwanted, unwanted"
    )
    for arguments in (
        ["show", "POOLS"],
        ["exec", "RELOAD"],
        ["check-health"],
        ["top", "--once", "--interval", "0.1"],
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments, "-t", process.dsn("pgbouncer", user=ADMIN)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
