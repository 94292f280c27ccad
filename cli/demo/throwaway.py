"""What throw-away servers share: an account to run as, a directory of their own, a port, and a watchdog.

PostgreSQL and PgBouncer refuse to run as root, so root lends them an unprivileged account. Only the server's
own temporary directory changes hands; nothing outside it is touched.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# A unix socket's address holds 107 bytes; `/s/.s.PGSQL.65535` and the random part of the name take 40.
_LONGEST_BASE = 60

# Reads process ids, one a line, until the pipe closes because its owner closed it or died; then ends the last
# one and removes the directory. SIGQUIT is the immediate shutdown of PostgreSQL and of PgBouncer alike. The
# removal is repeated because a server that is still ending may write one more file.
_WATCHDOG = """
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -QUIT "$pid"; then
    tries=0
    while kill -0 "$pid" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    if [ $tries -eq 100 ]; then kill -KILL "$pid"; fi
fi
tries=0
while ! rm -rf -- "$1" && [ $tries -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
"""


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the machine that a server runs as."""

    name: str
    uid: int
    gid: int

    def may_reach(self, path: Path) -> bool:
        """Whether this account may execute the program or enter the directory, and all directories above."""
        real = path.resolve()
        return all(self._may_execute(step) for step in (real, *real.parents))

    def _may_execute(self, path: Path) -> bool:
        status = path.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def server_account() -> Account | None:
    """The account for servers that refuse root: `postgres`, else `nobody`; None when we are not root.

    Raises RuntimeError when root has neither account to lend.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise RuntimeError("as root, an account named postgres or nobody is needed to run a server")


def credentials(account: Account | None) -> dict[str, Any]:
    """The arguments that make `subprocess` run a program as `account`; none for None."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


class ReservedPort:
    """A TCP port of 127.0.0.1 that nobody else gets, from the kernel or by chance, until it is closed.

    A server may listen on it meanwhile, if it sets SO_REUSEADDR, as servers do. Nobody answers before that:
    not another server either that was started at the same moment.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        # Not before: two of these would get the same one.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Anybody may have it now."""
        self._socket.close()


def end_process(process: subprocess.Popen[bytes], *signals: int, patience: float = 10.0) -> int:
    """Send the signals in turn, each with `patience` seconds to obey, then SIGKILL; the exit status."""
    for number in signals:
        process.send_signal(number)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return process.wait()


class ThrowawayDirectory:
    """A temporary directory and the watchdog that ends its server and removes it when this process is gone.

    The directory belongs to `account` (None: to ourselves); others may enter it, for the unix sockets in it.
    `guard` names the server's process. `close`, or the death of this process by whatever cause, even SIGKILL,
    sends that process SIGQUIT (SIGKILL after 10 s) and removes the directory.
    """

    def __init__(self, prefix: str, account: Account | None) -> None:
        base = _base_directory(account)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        try:
            self.path.chmod(0o755)
            if account is not None:
                os.chown(self.path, account.uid, account.gid)
            # In a session of its own, so that an interrupt typed at the terminal does not reach it.
            self._watchdog = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def guard(self, process: subprocess.Popen[bytes] | None) -> None:
        """Name the process to end with the directory; None when there is none any more."""
        pipe = self._watchdog.stdin
        if pipe is None or pipe.closed:
            return
        pipe.write(b"\n" if process is None else b"%d\n" % process.pid)
        pipe.flush()

    def close(self) -> None:
        """End the guarded process, remove the directory, and return when both are gone."""
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._watchdog.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _base_directory(account: Account | None) -> Path:
    """TMPDIR when the account may go there and unix sockets fit, else one of the usual directories."""
    for base in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if len(str(base)) > _LONGEST_BASE or not base.is_dir():
            continue
        if account is None or account.may_reach(base):
            return base
    raise RuntimeError("no directory for temporary files that the server's account may enter")
