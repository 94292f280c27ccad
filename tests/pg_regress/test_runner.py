"""Scripts of our own under pg_regress. PostgreSQL's come in no binary package: `make regress` runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.demo.pg_programs import PostgresMissing, find_bin_directory
from tests.conftest import PoolerFactory
from tests.pg_regress.compare import differences
from tests.pg_regress.passes import SHARED
from tests.pg_regress.sources import Installation, SourcesMissing
from tests.pg_regress.suites import REGRESS, Stage
from tests.support.bouncer import PoolerProcess
from tests.support.postgres import TemporaryPostgres
from tests.support.require import missing

_SESSION = """
CREATE TEMP TABLE mine (n int);
INSERT INTO mine SELECT generate_series(1, 3);
PREPARE total AS SELECT sum(n) FROM mine;
EXECUTE total;
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT n FROM mine ORDER BY n;
COMMIT;
FETCH 2 FROM held;
SET work_mem = '3MB';
SHOW work_mem;
SELECT pg_try_advisory_lock(20);
\\c -
SELECT to_regclass('mine'), count(*) FROM pg_prepared_statements;
SELECT count(*) FROM pg_cursors;
SHOW work_mem;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
"""

_COPY = """
CREATE TABLE copied (n int, t text);
COPY copied FROM stdin;
1\tone
2\t\\N
\\.
COPY copied FROM stdin;
3\tthree
four\tfour
\\.
COPY copied TO stdout;
BEGIN;
COPY copied FROM stdin;
5
\\.
COPY copied TO stdout;
ROLLBACK;
COPY (SELECT n, repeat(n::text, 20000) FROM generate_series(1, 30) AS n) TO stdout;
"""

_ERRORS = """
SELECT 1 / 0;
BEGIN;
SELECT nothing;
SELECT 1;
ROLLBACK;
BEGIN;
SAVEPOINT here;
SELECT 1 / 0;
ROLLBACK TO here;
SELECT 'goes on';
COMMIT;
DO $$ BEGIN RAISE NOTICE 'noticed'; RAISE WARNING 'warned'; END $$;
SELECT 1 AS one \\; SELECT 2 AS two \\; SELECT 1 / 0 \\; SELECT 3 AS three;
\\;
SELECT 1 AS n, 'text' AS t \\gdesc
SELECT length(repeat('x', 1000000));
\\set FETCH_COUNT 7
SELECT generate_series(1, 30);
"""

_LOGIN = """
SHOW datestyle;
SHOW timezone;
SHOW intervalstyle;
SHOW application_name;
SELECT interval '1 day 2 hours', timestamptz '2020-01-01 12:00 UTC';
"""

_SCRIPTS = {"session": _SESSION, "copying": _COPY, "errors": _ERRORS, "login": _LOGIN}
# Once more each, on servers that had other clients before.
_AGAIN = {f"{name}_again": script for name, script in (("session", _SESSION), ("login", _LOGIN))}
_SCHEDULE = "test: session copying errors login\ntest: session_again\ntest: login_again\n"

_LEAVES = "PREPARE left_behind AS SELECT 1;\nSELECT count(*) FROM pg_prepared_statements;\n"
_LOOKS = "SELECT count(*) FROM pg_prepared_statements;\n"


@pytest.fixture
def installation() -> Installation:
    try:
        found = Installation.at(find_bin_directory())
        found.test_program(REGRESS.driver)
    except (PostgresMissing, SourcesMissing) as error:
        missing(f"pg_regress ({error})")
    return found


@pytest.fixture
def direct_port(postgres: TemporaryPostgres) -> Iterator[int]:
    yield postgres.port
    postgres.sql("DROP DATABASE IF EXISTS regression WITH (FORCE)")


def test_psql_sees_no_difference(
    installation: Installation, direct_port: int, pooler: PoolerFactory, tmp_path: Path
) -> None:
    _write(tmp_path, {**_SCRIPTS, **_AGAIN}, _SCHEDULE)
    found = _compare(installation, tmp_path, direct_port, pooler(settings=SHARED.pooler))
    assert not found, "".join(found.values())


def test_a_session_that_leaves_something_to_the_next_is_found_out(
    installation: Installation, direct_port: int, pooler: PoolerFactory, tmp_path: Path
) -> None:
    _write(tmp_path, {"leaves": _LEAVES, "looks": _LOOKS}, "test: leaves\ntest: looks\n")
    careless = {**SHARED.pooler, "server_reset_query": "", "default_pool_size": 1}
    found = _compare(installation, tmp_path, direct_port, pooler(settings=careless))
    assert list(found) == ["looks"]


def _write(directory: Path, scripts: Mapping[str, str], schedule: str) -> None:
    """A suite like PostgreSQL's. Nothing is expected of the output, so pg_regress itself is never content."""
    for name in ("sql", "expected"):
        (directory / "regress" / name).mkdir(parents=True)
    for name, script in scripts.items():
        (directory / "regress" / "sql" / f"{name}.sql").write_text(script)
        (directory / "regress" / "expected" / f"{name}.out").touch()
    (directory / "regress" / REGRESS.schedule).write_text(schedule)


def _compare(
    installation: Installation, tests: Path, direct_port: int, pooled: PoolerProcess
) -> dict[str, str]:
    with Stage(installation, tests) as stage:
        direct = stage.run(REGRESS, "127.0.0.1", direct_port, limit=40)
        through = stage.run(REGRESS, pooled.host, pooled.port, limit=40)
    assert direct.outputs.keys() == {path.stem for path in (tests / "regress" / "sql").iterdir()}
    return differences(direct.outputs, through.outputs)
