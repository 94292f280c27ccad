"""A real PostgreSQL server for the demo, the tests and the bench, gone without a trace afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cli.demo.pg_programs import find_bin_directory, wheel_environment
from cli.demo.throwaway import (
    Account,
    ReservedPort,
    ThrowawayDirectory,
    credentials,
    end_process,
    server_account,
)

TRUST_EVERYBODY = "local all all trust\nhost all all all trust\n"

# Durability is of no use to a server that lives for minutes; 400 connections are enough for every row of the
# bench.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "400",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "logging_collector": "off",
}

_START_SECONDS = 60.0
_SHUTDOWN_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_FIELD, _RECORD = "\x1f", "\x1e"


class PostgresFailed(RuntimeError):
    """A program of PostgreSQL did not do its work; the text holds what it said."""


class TemporaryPostgres:
    """A PostgreSQL server with superuser `postgres` in a directory of its own.

    It listens on 127.0.0.1 and on a unix socket in `socket_dir`, both at `port`. As root the server runs as
    an unprivileged account. `hba` is the text of pg_hba.conf; in front of it stands a line that lets
    `postgres` in over the unix socket, which is how `sql` comes in. `settings` go into postgresql.conf and
    win over our own.

    Use it as a context manager, or call `start` and, at the end, `close`; should this process die before it
    could, the server ends and the directory goes all the same. Raises PostgresMissing when the machine has no
    PostgreSQL, PostgresFailed when the server does not start.
    """

    def __init__(
        self,
        *,
        hba: str = TRUST_EVERYBODY,
        settings: Mapping[str, str] | None = None,
        bin_directory: Path | None = None,
    ) -> None:
        self._hba = hba
        self._settings = {**_SETTINGS, **(settings or {})}
        self._bin = bin_directory or find_bin_directory()
        self._account = server_account()
        self._directory: ThrowawayDirectory | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reserved: ReservedPort | None = None
        self.port = 0

    @property
    def directory(self) -> Path:
        """The server's temporary directory; raises PostgresFailed before `start`."""
        if self._directory is None:
            raise PostgresFailed("the temporary server was not started")
        return self._directory.path

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def socket_dir(self) -> Path:
        """The directory of the unix socket, as libpq's `host` takes it."""
        return self.directory / "s"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster, None while it is stopped."""
        return None if self._process is None else self._process.pid

    def bin(self, name: str) -> Path:
        """A program of PostgreSQL, e.g. psql: beside the server, else on PATH. Raises FileNotFoundError."""
        beside = self._bin / name
        if beside.exists():
            return beside
        elsewhere = shutil.which(name)
        if elsewhere is None:
            raise FileNotFoundError(f"{name} is neither in {self._bin} nor on PATH")
        return Path(elsewhere)

    def start(self) -> None:
        """Make the cluster when there is none yet, start the server and wait until it takes connections."""
        try:
            if self._directory is None:
                self._directory = ThrowawayDirectory("pooldeck-pg-", self._account)
                self._create_cluster()
            self._start_server()
        except BaseException:
            self.close()
            raise

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server, keep the cluster: `fast` rolls transactions back, `immediate` is like a crash."""
        if self._process is None or self._directory is None:
            return
        end_process(self._process, _SHUTDOWN_SIGNALS[mode], signal.SIGQUIT)
        self._process = None
        self._directory.guard(None)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start again on the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server and remove everything of it."""
        try:
            self.stop()
        finally:
            if self._reserved is not None:
                self._reserved.close()
                self._reserved = None
            if self._directory is not None:
                self._directory.close()
                self._directory = None

    def sql(self, sql: str, dbname: str = "postgres") -> list[tuple[str, ...]]:
        """Run SQL as `postgres` with psql and return the rows as text, NULL as an empty string.

        Several statements run one by one; at most one of them may return rows. Raises PostgresFailed on an
        error.
        """
        text = self._run(
            *(self.bin("psql"), "-X", "-q", "-A", "-t", "-F", _FIELD, "-R", _RECORD, "-v", "ON_ERROR_STOP=1"),
            *("-h", self.socket_dir, "-p", str(self.port), "-U", "postgres", "-d", dbname),
            stdin=sql,
        )
        if not text:
            return []
        return [tuple(record.split(_FIELD)) for record in text.removesuffix("\n").split(_RECORD)]

    def log_text(self) -> str:
        """All that the server has logged."""
        return (self.directory / "server.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create_cluster(self) -> None:
        if self._account is not None and not self._account.may_reach(self._bin / "postgres"):
            self._bin = _copy_programs(self._bin, self.directory / "programs")
        self.socket_dir.mkdir()
        self._give_away(self.socket_dir)
        self._run(
            *(self._bin / "initdb", "-D", self.data_dir, "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--no-locale", "--no-sync"),
            account=self._account,
        )
        (self.data_dir / "pg_hba.conf").write_text(f"local all postgres trust\n{self._hba}\n")
        settings = {**self._settings, "unix_socket_directories": str(self.socket_dir)}
        with (self.data_dir / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{_doubled_quotes(value)}'\n" for name, value in settings.items())

    def _start_server(self) -> None:
        # It stays the same over restarts.
        if self._reserved is None:
            self._reserved = ReservedPort()
            self.port = self._reserved.number
        if not self._launch():
            raise PostgresFailed(f"PostgreSQL did not start:\n{self.log_text()}")

    def _launch(self) -> bool:
        """Start the postmaster; False when it ended before it was ready."""
        log_path = self.directory / "server.log"
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.data_dir, "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=_environment(),
                start_new_session=True,
                **credentials(self._account),
            )
        if self._directory is not None:
            self._directory.guard(self._process)
        if self._wait_ready(self._process):
            return True
        self.stop("immediate")
        return False

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if self._reports_ready(process.pid):
                return True
            time.sleep(0.02)
        return False

    def _reports_ready(self, pid: int) -> bool:
        """Whether postmaster.pid says so: its first line is the process id, its eighth the status."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _run(self, *command: str | Path, stdin: str = "", account: Account | None = None) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(word) for word in command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env=_environment(),
            **credentials(account),
        )
        if done.returncode != 0:
            raise PostgresFailed(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)


def _environment() -> dict[str, str]:
    """Ours without libpq's variables, which would lead the programs elsewhere."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**ours, **wheel_environment(), "LC_ALL": "C"}


def _doubled_quotes(value: str) -> str:
    return value.replace("'", "''")


def _copy_programs(bin_directory: Path, target: Path) -> Path:
    """Copy an installation that the server's account cannot reach, a wheel under /root say; the new bin."""
    shutil.copytree(bin_directory.parent, target, symlinks=True)
    for path in (target, *target.rglob("*")):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
    return target / bin_directory.name
