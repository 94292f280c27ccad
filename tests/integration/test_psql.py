"""psql through the pooler."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import program_environment, run_program, wait_for_pool, wait_until
from tests.support.bouncer import ADMIN, USER, PoolerProcess
from tests.support.postgres import TemporaryPostgres

ROWS = 20_000


@pytest.fixture(params=["session", "transaction"])
def process(request: pytest.FixtureRequest, pooler: PoolerFactory) -> PoolerProcess:
    """A pool of one server, in the two modes that psql has to work in."""
    return pooler(settings={"pool_mode": request.param, "default_pool_size": 1})


def _arguments(process: PoolerProcess, user: str = USER, host: str | None = None) -> list[str]:
    address = ["-h", host or process.host, "-p", str(process.port), "-U", user]
    return ["-X", "-q", "-A", "-t", "-w", *address]


def _psql(
    postgres: TemporaryPostgres, process: PoolerProcess, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return run_program(postgres, "psql", *_arguments(process), "-d", "postgres", *arguments, stdin=stdin)


def test_command_prints_its_rows(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    done = _psql(postgres, process, "-c", "SELECT n, n * n FROM generate_series(1, 3) n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1|1\n2|4\n3|9\n", "")


def test_several_statements_in_one_command_all_answer(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    done = _psql(
        postgres,
        process,
        "-c",
        "CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (7); SELECT n FROM t; SELECT 8",
    )
    assert (done.returncode, done.stdout) == (0, "7\n8\n")


def test_statements_after_a_failed_one_in_a_command_do_not_run(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    done = _psql(postgres, process, "-c", "SELECT 1; SELECT 1/0; SELECT 2")
    assert done.returncode == 1
    assert done.stdout == "1\n"
    assert "division by zero" in done.stderr


def test_error_leaves_the_session_as_it_was(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    done = _psql(postgres, process, stdin="SELECT 1/0;\nSELECT 42;\nSELEC;\nSELECT 43;\n")
    assert (done.returncode, done.stdout) == (0, "42\n43\n")
    assert "division by zero" in done.stderr
    assert "syntax error" in done.stderr


def test_error_in_a_transaction_undoes_it(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    postgres.sql("DROP TABLE IF EXISTS undone; CREATE TABLE undone (n int)")
    script = "BEGIN;\nINSERT INTO undone VALUES (1);\nSELECT 1/0;\nINSERT INTO undone VALUES (2);\nCOMMIT;\n"
    done = _psql(postgres, process, stdin=script + "SELECT count(*) FROM undone;\n")
    assert done.stdout == "0\n"
    assert "current transaction is aborted" in done.stderr


def test_copy_goes_in_from_a_file_and_out_again(
    postgres: TemporaryPostgres, process: PoolerProcess, tmp_path: Path
) -> None:
    postgres.sql("DROP TABLE IF EXISTS copied; CREATE TABLE copied (n int, text text)")
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(f"{n}\t{'x' * (n % 100)} {n}\n" for n in range(ROWS)))
    came_in = _psql(postgres, process, "-c", f"\\copy copied FROM '{source}'")
    went_out = _psql(postgres, process, "-c", f"\\copy (TABLE copied ORDER BY n) TO '{target}'")
    assert (came_in.returncode, went_out.returncode) == (0, 0), came_in.stderr + went_out.stderr
    assert target.read_text() == source.read_text()


def test_copy_with_a_bad_row_fails_and_the_session_goes_on(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    postgres.sql("DROP TABLE IF EXISTS copied; CREATE TABLE copied (n int)")
    script = "COPY copied FROM stdin;\n1\nnot a number\n\\.\nSELECT count(*) FROM copied;\n"
    done = _psql(postgres, process, stdin=script)
    assert done.stdout == "0\n"
    assert 'invalid input syntax for type integer: "not a number"' in done.stderr


def test_commands_that_look_at_the_catalogue_work(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    postgres.sql("DROP TABLE IF EXISTS shown; CREATE TABLE shown (wanted int)")
    done = _psql(postgres, process, "-c", "\\d shown")
    assert done.stdout.startswith("wanted|integer|")


def test_interrupt_cancels_the_query(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    with subprocess.Popen(
        [str(postgres.bin("psql")), *_arguments(process), "-d", "postgres", "-c", "SELECT pg_sleep(60)"],
        stderr=subprocess.PIPE, text=True, env=program_environment(),
    ) as psql:  # fmt: skip
        activity = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
        wait_until(lambda: postgres.sql(activity), "the query runs")
        psql.send_signal(signal.SIGINT)
        _, err = psql.communicate(timeout=10)
    assert "canceling statement due to user request" in err
    assert _psql(postgres, process, "-c", "SELECT 42").stdout == "42\n"


def test_unix_socket_leads_to_the_same_database(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    arguments = _arguments(process, host=str(process.directory))
    done = run_program(postgres, "psql", *arguments, "-d", "postgres", "-c", "SELECT 'through the socket'")
    assert (done.returncode, done.stdout) == (0, "through the socket\n")


def test_end_of_psql_gives_its_server_back(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    assert _psql(postgres, process, "-c", "SELECT 1").returncode == 0
    wait_for_pool(process, cl_active=0, sv_active=0, sv_idle=1)


def test_console_answers_psql(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    arguments = [*_arguments(process, ADMIN), "-d", "pgbouncer"]
    help_ = run_program(postgres, "psql", *arguments, "-c", "SHOW HELP")
    assert "Console usage" in help_.stderr
    assert "SHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION" in help_.stderr
    databases = run_program(postgres, "psql", *arguments, "-c", "SHOW DATABASES")
    assert "pgbouncer" in databases.stdout
    wrong = run_program(postgres, "psql", *arguments, "-c", "SHOW NONSENSE")
    assert wrong.returncode == 1
    assert "invalid command 'SHOW NONSENSE', use SHOW HELP;" in wrong.stderr
