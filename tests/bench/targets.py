"""What is measured: PostgreSQL itself, one pooldeck for each interpreter, a real PgBouncer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cli.demo.postgres import TemporaryPostgres
from tests.support.bouncer import BouncerProcess, PoolerProcess, RealPgBouncer, find_pgbouncer
from tests.support.certificates import Authority

DATABASE = "bench"
USER = "postgres"
SCRAM_USER = "scram_bench"
SCRAM_PASSWORD = "correct horse battery staple"
POOL_SIZE = 20

REFERENCE = "PgBouncer"
DIRECT = "PostgreSQL"


@dataclass(frozen=True)
class Target:
    """Something that pgbench can be pointed at. `pid` is None for PostgreSQL, whose CPU is not measured.

    `fresh` makes another pooler like this one, not started yet: memory has to be measured in a new process.
    """

    name: str
    port: int
    pid: int | None = None
    fresh: Callable[[], BouncerProcess] | None = None


def direct(postgres: TemporaryPostgres) -> Target:
    return Target(DIRECT, postgres.port)


def pooldeck(postgres: TemporaryPostgres, python: str) -> Callable[[], PoolerProcess]:
    options = _options(postgres)
    return lambda: PoolerProcess(_databases(postgres), python=python, **options)


def pgbouncer(postgres: TemporaryPostgres) -> Callable[[], RealPgBouncer]:
    options = _options(postgres)
    return lambda: RealPgBouncer(_databases(postgres), **options)


def pooldeck_name(python: str) -> str:
    """`pooldeck, compiled` or `pooldeck, interpreted`: what that interpreter would run."""
    question = "from pooler.service.version import data_path_compiled as c; print(c())"
    answer = subprocess.run([python, "-P", "-c", question], capture_output=True, text=True, check=True)
    return "pooldeck, compiled" if answer.stdout.strip() == "True" else "pooldeck, interpreted"


def pgbouncer_version() -> str | None:
    """The first line of `--version`; None when the machine has no PgBouncer."""
    program = find_pgbouncer()
    if program is None:
        return None
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.splitlines()[0]


def _databases(postgres: TemporaryPostgres) -> dict[str, str]:
    return {DATABASE: f"host=127.0.0.1 port={postgres.port}"}


def _options(postgres: TemporaryPostgres) -> dict[str, Any]:
    """Everybody is trusted but one user, and who asks for TLS gets it."""
    directory = postgres.directory
    hba = directory / "bench_hba.conf"
    hba.write_text(f"host all {SCRAM_USER} all scram-sha-256\nhost all all all trust\nlocal all all trust\n")
    certificate, key = Authority().issue("localhost").write(directory, "bench")
    # Whoever the poolers run as has to read it.
    key.chmod(0o644)
    found = postgres.sql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{SCRAM_USER}'")
    settings = {
        "pool_mode": "transaction",
        "default_pool_size": POOL_SIZE,
        "max_client_conn": 6000,
        "log_connections": 0,
        "log_disconnections": 0,
        "auth_type": "hba",
        "auth_hba_file": hba,
        "client_tls_sslmode": "allow",
        "client_tls_cert_file": certificate,
        "client_tls_key_file": key,
    }
    return {"settings": settings, "userlist": {SCRAM_USER: found[0][0]}}
