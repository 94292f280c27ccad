"""`pooldeck` as a user runs it."""

import json
import subprocess
import sys

import pytest


def run(*arguments: str, timeout: float = 50) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
    )


def modules_after(statement: str) -> set[str]:
    code = f"{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_version_says_which_pgbouncer_it_stands_in_for() -> None:
    done = run("version")
    assert done.returncode == 0
    assert done.stdout.startswith("pooldeck ")
    assert "compatible with PgBouncer 1." in done.stdout


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import cli.main", {"textual", "rich", "asyncpg", "uvloop"}),
        ("import cli.main, pooler.service.main", {"textual", "rich", "asyncpg"}),
        ("import pooler.service.main", {"textual", "rich", "typer", "click", "asyncpg"}),
    ],
)
def test_nothing_is_loaded_that_serving_does_not_need(statement: str, unwanted: set[str]) -> None:
    assert modules_after(statement) & unwanted == set()


def test_serve_refuses_a_missing_file() -> None:
    done = run("serve", "/no/such/pgbouncer.ini")
    assert done.returncode == 1
    assert "/no/such/pgbouncer.ini" in done.stdout + done.stderr


def test_demo_matches_every_token_and_shows_the_pools() -> None:
    done = run("demo", "--headless", "--seconds", "2", "--clients", "20", "--pool-size", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 did not, 0 errors" in done.stdout
    assert "cl_waiting" in done.stdout
    assert "total_query_count" in done.stdout
