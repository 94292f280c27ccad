"""The rows of the table: each drives one target once and says what that took."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cli.demo.postgres import TemporaryPostgres
from tests.bench.procfs import cpu_seconds, resident_bytes
from tests.bench.targets import DATABASE, SCRAM_PASSWORD, SCRAM_USER, USER, Target
from tests.support.rawclient import RawClient

MEGABYTE = 1_000_000
CLEAR = {"LC_ALL": "C", "PGUSER": USER, "PGSSLMODE": "disable"}
Environment: TypeAlias = tuple[tuple[str, str], ...]
TLS: Environment = (("PGSSLMODE", "require"),)
SCRAM: Environment = (("PGUSER", SCRAM_USER), ("PGPASSWORD", SCRAM_PASSWORD))
_FD_RESERVE = 1000
# Clients that log in before memory is first read: what the first ones cost is the pooler's, not theirs.
_WARM_UP_CLIENTS = 100


class RowFailed(Exception):
    """The target could not be measured; the text says why."""


@dataclass(frozen=True)
class Measurement:
    """One run: work per second, latency in ms where there is one, and what a unit of work cost the pooler."""

    rate: float
    latency: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Row:
    """A workload. `run` measures it once; a row that may fail is shown as n/a where it does."""

    name: str
    rate_unit: str
    cost_unit: str
    run: Callable[[Target], Measurement | None]
    may_fail: bool = False


@dataclass(frozen=True)
class Scale:
    """How long and how large: `seconds` of pgbench a row, bytes that a COPY moves, clients that idle."""

    seconds: int
    copy_bytes: int
    idle_clients: int


def all_rows(postgres: TemporaryPostgres, scale: Scale, copy_file: Path) -> list[Row]:
    """Every row in the order of the table; `copy_file` is what `prepare` made."""
    rows = [
        Row(
            f"select-{protocol}-{clients}",
            "tx/s",
            "µs CPU/tx",
            _PgBench(postgres, scale.seconds, clients, ("-M", protocol)),
            may_fail=protocol == "prepared",
        )
        for protocol in ("simple", "extended", "prepared")
        for clients in (1, 20, 200)
    ]
    return [
        *rows,
        Row("copy-out", "MB/s", "ms CPU/MB", _CopyOut(postgres, copy_file)),
        Row("copy-in", "MB/s", "ms CPU/MB", _CopyIn(postgres, copy_file)),
        Row("connect", "connects/s", "µs CPU/connect", _PgBench(postgres, scale.seconds, 10, ("-C",))),
        *_encrypted_rows(postgres, scale, copy_file),
        Row("idle-memory", "logins/s", "bytes/client", _IdleMemory(scale.idle_clients)),
    ]


def _encrypted_rows(postgres: TemporaryPostgres, scale: Scale, copy_file: Path) -> list[Row]:
    """The same over TLS, and logins with a password. Only poolers have a certificate and the password."""
    select = _PgBench(postgres, scale.seconds, 20, (), TLS)
    connect = _PgBench(postgres, scale.seconds, 10, ("-C",), TLS)
    login = _PgBench(postgres, scale.seconds, 10, ("-C",), SCRAM)
    return [
        Row("tls-simple-20", "tx/s", "µs CPU/tx", select, may_fail=True),
        Row("tls-copy-out", "MB/s", "ms CPU/MB", _CopyOut(postgres, copy_file, TLS), may_fail=True),
        Row("tls-connect", "connects/s", "µs CPU/connect", connect, may_fail=True),
        Row("scram-connect", "logins/s", "µs CPU/login", login, may_fail=True),
    ]


def prepare(postgres: TemporaryPostgres, scale: Scale, pgbench_scale: int) -> Path:
    """Make the database of the bench; returns a file with about `scale.copy_bytes` bytes for COPY."""
    postgres.sql(f"CREATE DATABASE {DATABASE}")
    postgres.sql(f"CREATE ROLE {SCRAM_USER} LOGIN SUPERUSER PASSWORD '{SCRAM_PASSWORD}'")
    _run(postgres, postgres.port, "pgbench", "-i", "-q", "-s", str(pgbench_scale))
    # A row is 102 bytes and a number of about six digits.
    count = scale.copy_bytes // 108
    postgres.sql(
        f"CREATE UNLOGGED TABLE copy_out AS SELECT n, repeat(md5(n::text), 3) || 'pool' AS text"
        f" FROM generate_series(1, {count}) n;"
        " CREATE UNLOGGED TABLE copy_in (LIKE copy_out); VACUUM ANALYZE copy_out",
        DATABASE,
    )
    path = postgres.directory / "copy.txt"
    _run(postgres, postgres.port, "psql", "-X", "-q", "-c", f"\\copy copy_out to '{path}'")
    return path


def raise_descriptor_limit() -> None:
    """As many open files as the machine allows, for us and the poolers that we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True)
class _PgBench:
    """pgbench's select-only script with `clients` connections and further options."""

    postgres: TemporaryPostgres
    seconds: int
    clients: int
    options: tuple[str, ...]
    environment: Environment = ()

    def __call__(self, target: Target) -> Measurement:
        threads = min(self.clients, len(os.sched_getaffinity(0)))
        load = ("-c", str(self.clients), "-j", str(threads), "-T", str(self.seconds))
        with _Cpu(target) as cpu:
            arguments = ("-n", "-S", *self.options, *load)
            text = _run(self.postgres, target.port, "pgbench", *arguments, environment=self.environment)
        transactions = _number(r"transactions actually processed: (\d+)", text)
        return Measurement(
            rate=_number(r"tps = ([\d.]+)", text),
            latency=_number(r"latency average = ([\d.]+) ms", text),
            cost=cpu.per(transactions, 1e6),
        )


@dataclass(frozen=True)
class _CopyOut:
    """The table for COPY to nowhere."""

    postgres: TemporaryPostgres
    file: Path
    environment: Environment = ()

    def __call__(self, target: Target) -> Measurement:
        command = "\\copy copy_out to '/dev/null'"
        return _copy(self.postgres, target, self.file, command, self.environment)


@dataclass(frozen=True)
class _CopyIn:
    """The file for COPY into an empty table."""

    postgres: TemporaryPostgres
    file: Path

    def __call__(self, target: Target) -> Measurement:
        self.postgres.sql("TRUNCATE copy_in", DATABASE)
        return _copy(self.postgres, target, self.file, f"\\copy copy_in from '{self.file}'")


@dataclass(frozen=True)
class _IdleMemory:
    """Clients that log in and then do nothing; None for a target that is no pooler."""

    clients: int

    def __call__(self, target: Target) -> Measurement | None:
        if target.fresh is None:
            return None
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit < self.clients + _FD_RESERVE:
            raise RowFailed(f"{self.clients} idle clients do not fit into {limit} open files")
        with target.fresh() as pooler, ExitStack() as connections:
            _log_in(pooler.port, _WARM_UP_CLIENTS, connections)
            before, started = resident_bytes(pooler.pid), time.perf_counter()
            _log_in(pooler.port, self.clients, connections)
            elapsed = time.perf_counter() - started
            # Whatever a login left behind may be given back first.
            time.sleep(1)
            grown = resident_bytes(pooler.pid) - before
        return Measurement(rate=self.clients / elapsed, cost=grown / self.clients)


class _Cpu:
    """The CPU time that a target's pooler takes while the block runs."""

    def __init__(self, target: Target) -> None:
        self._pid = target.pid
        self._before = 0.0
        self._seconds = 0.0

    def __enter__(self) -> _Cpu:
        if self._pid is not None:
            self._before = cpu_seconds(self._pid)
        return self

    def __exit__(self, *error: object) -> None:
        if self._pid is not None:
            self._seconds = cpu_seconds(self._pid) - self._before

    def per(self, units: float, factor: float) -> float | None:
        """Seconds per unit of work times `factor`; None where no pooler was measured."""
        return None if self._pid is None else self._seconds / units * factor


def _copy(
    postgres: TemporaryPostgres,
    target: Target,
    file: Path,
    command: str,
    environment: Environment = (),
) -> Measurement:
    megabytes = file.stat().st_size / MEGABYTE
    started = time.perf_counter()
    with _Cpu(target) as cpu:
        _run(postgres, target.port, "psql", "-X", "-q", "-c", command, environment=environment)
    return Measurement(rate=megabytes / (time.perf_counter() - started), cost=cpu.per(megabytes, 1e3))


def _log_in(port: int, count: int, connections: ExitStack) -> None:
    for _ in range(count):
        connections.enter_context(RawClient("127.0.0.1", port)).startup(USER, DATABASE)


def _run(
    postgres: TemporaryPostgres,
    port: int,
    program: str,
    *arguments: str,
    environment: Environment = (),
) -> str:
    """Run pgbench or psql on the database of the bench; what it printed. Raises RowFailed."""
    address = ("-h", "127.0.0.1", "-p", str(port))
    command = [str(postgres.bin(program)), *arguments, *address, DATABASE]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **CLEAR, **dict(environment)}
    )
    if done.returncode != 0:
        raise RowFailed(done.stderr.partition("\n")[0])
    return done.stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RowFailed(f"pgbench did not print {pattern!r}:\n{text}")
    return float(found[1])
