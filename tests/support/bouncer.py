"""Poolers as processes: pooldeck and a real PgBouncer behind the same interface."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from cli.demo.throwaway import Account, ReservedPort, ThrowawayDirectory, end_process

ADMIN = "admin"
ADMIN_PASSWORD = "admin-password"
USER = "postgres"
USER_PASSWORD = "postgres-password"

_START_SECONDS = 15.0
_LOG_TAIL = 4000
_DYING_SECONDS = 0.05


class BouncerFailed(RuntimeError):
    """The pooler did not start; the text holds its log."""


class BouncerProcess:
    """A pooler with an ini file of its own, on 127.0.0.1 and on a unix socket in `directory`, both at `port`.

    `databases` and `users` are the lines of those sections, name to connect string. `settings` go into
    [pgbouncer] and win over our own: trust for everybody, admin_users=admin. `userlist` is the auth_file,
    name to secret; the admin and `postgres` are added to it. `sections` is text put before [pgbouncer]. The
    file of all this is `directory`/pgbouncer.ini, written anew by `configure`.

    Use it as a context manager, or `start` and `stop`. Raises BouncerFailed when it does not come up.
    """

    def __init__(
        self,
        databases: Mapping[str, str],
        *,
        settings: Mapping[str, object] | None = None,
        users: Mapping[str, str] | None = None,
        userlist: Mapping[str, str] | None = None,
        sections: str = "",
        arguments: Sequence[str] = (),
    ) -> None:
        self.databases = dict(databases)
        self.users = dict(users or {})
        self.userlist = {ADMIN: ADMIN_PASSWORD, USER: USER_PASSWORD, **(userlist or {})}
        self.settings: dict[str, object] = dict(settings or {})
        self.host = "127.0.0.1"
        self.port = 0
        self._sections = sections
        self._arguments = list(arguments)
        self._account = _nobody()
        self._throwaway: ThrowawayDirectory | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reserved: ReservedPort | None = None
        self._last_log = ""

    def program(self) -> list[str]:
        """The command without options. To be given by the subclass."""
        raise NotImplementedError

    @property
    def directory(self) -> Path:
        """Holds the ini file, the user list, the log and the unix socket."""
        if self._throwaway is None:
            raise BouncerFailed("the pooler was not started")
        return self._throwaway.path

    @property
    def ini_path(self) -> Path:
        return self.directory / "pgbouncer.ini"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BouncerFailed("the pooler was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def death(self) -> str:
        """How the process ended, and the end of its log; empty while it runs."""
        status = self.process.poll()
        if status is None:
            return ""
        return f"the pooler is dead ({_how_ended(status)}), its log ends:\n{self.log_text()[-_LOG_TAIL:]}"

    @contextmanager
    def autopsy(self) -> Iterator[None]:
        """What goes wrong meanwhile also says how the pooler died, if it did."""
        try:
            yield
        except Exception as error:
            if self._process is None:
                raise
            # Its sockets are closed a moment before it can be waited for.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_DYING_SECONDS)
            if death := self.death():
                error.add_note(death)
            raise

    def start(self) -> None:
        """Start and wait until the admin database answers."""
        try:
            self._throwaway = ThrowawayDirectory("pooldeck-test-", self._account)
            self._reserved = ReservedPort()
            self.port = self._reserved.number
            self.configure()
            self._launch()
            if self._wait_ready():
                return
            raise BouncerFailed(f"{' '.join(self.program())} did not start:\n{self.log_text()[-_LOG_TAIL:]}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, at once, and remove its directory."""
        status = None
        try:
            if self._process is not None:
                status = self._process.poll()
                end_process(self._process, signal.SIGQUIT)
        finally:
            self._process = None
            if self._reserved is not None:
                self._reserved.close()
                self._reserved = None
            if self._throwaway is not None:
                self._last_log = self.log_text()
                if status is not None:
                    self._last_log += f"(ended before it was stopped: {_how_ended(status)})\n"
                self._throwaway.guard(None)
                self._throwaway.close()
                self._throwaway = None

    def configure(self, **settings: object) -> None:
        """Merge `settings` and write ini file and user list; a running pooler takes them on RELOAD."""
        self.settings.update(settings)
        userlist = "".join(f"{_quoted(name)} {_quoted(secret)}\n" for name, secret in self.userlist.items())
        (self.directory / "userlist.txt").write_text(userlist)
        self.ini_path.write_text(self._ini())

    def admin(self, sql: str) -> list[dict[str, Any]]:
        """One command to the admin database; its rows by column name, none for a command without."""
        with self.connect("pgbouncer", user=ADMIN, password=ADMIN_PASSWORD) as connection, self.autopsy():
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self, dbname: str, *, user: str = USER, **options: Any) -> psycopg.Connection[dict[str, Any]]:
        """A psycopg connection through the pooler: autocommit, rows as dicts, nothing prepared by itself."""
        with self.autopsy():
            return psycopg.connect(
                **{"host": self.host, "port": self.port, "connect_timeout": 10, **options},
                dbname=dbname,
                user=user,
                autocommit=True,
                prepare_threshold=None,
                cursor_factory=psycopg.ClientCursor,
                row_factory=dict_row,
            )

    def dsn(self, dbname: str, *, user: str = USER, password: str = "") -> str:
        """A connection URL, for drivers and programs that take one."""
        login = f"{user}:{password}" if password else user
        return f"postgresql://{login}@{self.host}:{self.port}/{dbname}"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 10.0) -> int:
        """The exit status, once the process has ended by itself."""
        return self.process.wait(timeout)

    def log_text(self) -> str:
        """All that came on standard error: the log, as no `logfile` is set. Still there after `stop`."""
        if self._throwaway is None:
            return self._last_log
        path = self.directory / "stderr.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_log(self, text: str, timeout: float = 10.0) -> None:
        """Return as soon as `text` stands in the log. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while text not in self.log_text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} was not logged within {timeout} s:\n{self.log_text()}")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ini(self) -> str:
        main = {
            "listen_addr": self.host,
            "listen_port": self.port,
            "unix_socket_dir": self.directory,
            "auth_type": "trust",
            "auth_file": self.directory / "userlist.txt",
            "admin_users": ADMIN,
            **self.settings,
        }
        parts = [
            _section("databases", self.databases),
            _section("users", self.users) if self.users else "",
            self._sections,
            _section("pgbouncer", main),
        ]
        return "\n".join(part for part in parts if part)

    def _launch(self) -> None:
        as_user = [] if self._account is None else ["-u", self._account.name]
        with (self.directory / "stderr.log").open("ab") as stderr:
            self._process = subprocess.Popen(
                [*self.program(), *as_user, *self._arguments, str(self.ini_path)],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=self.directory,
                start_new_session=True,
            )
        if self._throwaway is not None:
            self._throwaway.guard(self._process)

    def _wait_ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.admin("SHOW VERSION")
            except psycopg.Error as error:
                # A failure takes a moment: `autopsy` waits. With disable_pqexec the console answers so.
                if "PQexec disallowed" not in str(error):
                    continue
            return True
        return False


class PoolerProcess(BouncerProcess):
    """pooldeck, run as `pooldeck-pgbouncer` runs it, by `python` (default: the interpreter of the tests)."""

    def __init__(self, databases: Mapping[str, str], *, python: str = sys.executable, **options: Any) -> None:
        super().__init__(databases, **options)
        self._python = str(Path(python).absolute())

    def program(self) -> list[str]:
        # -P: the working directory stays off sys.path, so that an installed, compiled pooler is the one that
        # runs.
        return [self._python, "-P", "-m", "pooler.service.main"]


class RealPgBouncer(BouncerProcess):
    """A real PgBouncer: $PGBOUNCER, else `pgbouncer` on PATH. Raises FileNotFoundError when there is none."""

    def program(self) -> list[str]:
        program = find_pgbouncer()
        if program is None:
            raise FileNotFoundError("no PgBouncer: neither $PGBOUNCER nor on PATH")
        return [program]


def find_pgbouncer() -> str | None:
    """The PgBouncer that tests and bench compare with."""
    return shutil.which(os.environ.get("PGBOUNCER", "pgbouncer"))


def _nobody() -> Account | None:
    """Whom a pooler runs as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _how_ended(status: int) -> str:
    """A return code of `subprocess` in words."""
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def _section(name: str, values: Mapping[str, object]) -> str:
    return "".join([f"[{name}]\n", *(f"{key} = {value}\n" for key, value in values.items())])


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
