"""The pooler as a process of its host: pidfile, user, limits, service manager."""

from __future__ import annotations

import atexit
import os
import pwd
import resource
import socket
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pooler.service.log import Log

_MAX_PIDFILE = 128


class ProcessError(Exception):
    """The process cannot run as it is told to; the text is ready for a FATAL log line."""


class Pidfile:
    """The file that tells others which process this is, and keeps a second one from starting.

    :param path: the ``pidfile`` setting; with an empty one every method does nothing.
    """

    def __init__(self, path: str, log: Log) -> None:
        self._path = path
        self._log = log
        self._owner = 0

    def check(self) -> None:
        """Remove the file of a process that is gone.

        :raises ProcessError: the process in the file runs, or the file does not say which one it is.
        """
        if not self._path:
            return
        try:
            content = _read(self._path)
        except FileNotFoundError:
            return
        if not _is_stale(content):
            raise ProcessError(f"pidfile '{self._path}' exists, another instance running?")
        self._log.info("stale pidfile, removing")
        try:
            os.unlink(self._path)
        except OSError as error:
            raise ProcessError(f"could not remove stale pidfile: {error.strerror}") from None

    def write(self) -> None:
        """Create the file; it goes away when this process exits.

        :raises ProcessError: it cannot be written, or somebody else was faster.
        """
        if not self._path:
            return
        pid = os.getpid()
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ProcessError(f"could not open pidfile '{self._path}': {error.strerror}") from None
        self._owner = pid
        atexit.register(self.remove)
        try:
            os.write(file, b"%d\n" % pid)
        except OSError as error:
            raise ProcessError(f"could not write pidfile '{self._path}': {error.strerror}") from None
        finally:
            os.close(file)

    def remove(self) -> None:
        """Remove the file, if this process wrote it."""
        if self._owner != os.getpid():
            return
        self._owner = 0
        atexit.unregister(self.remove)
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass  # an operator was faster
        except OSError as error:
            self._log.warning(f"could not remove pidfile '{self._path}': {error.strerror}")


def can_read(name: str, path: str) -> bool:
    """Whether a user could read the file; true if that cannot be told."""
    try:
        user = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return True
    if os.geteuid() != 0:
        return True
    group = os.getegid()
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        return os.access(path, os.R_OK, effective_ids=True)
    finally:
        os.seteuid(0)
        os.setegid(group)


def change_user(name: str) -> None:
    """Become another user for good, with that user's groups (``user`` setting, ``-u``).

    :raises ProcessError: there is no such user, or this process may not become it.
    """
    try:
        user = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise ProcessError(f"could not find user '{name}' to switch to") from None
    if os.getuid() == 0:
        try:
            os.initgroups(name, user.pw_gid)
        except OSError as error:
            raise ProcessError(f"failed to reset groups: {error.strerror}") from None
    try:
        # group first: the user may not have the right any more
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except OSError as error:
        raise ProcessError(f"failed to assume identity of user '{name}': {error.strerror}") from None
    if (os.getuid(), os.geteuid()) != (user.pw_uid, user.pw_uid):
        raise ProcessError("setuid() failed to work")


def refuse_root() -> None:
    """Make sure that the process has no more rights than it needs.

    :raises ProcessError: it runs as root.
    """
    if 0 in (os.getuid(), os.geteuid()):
        raise ProcessError("PgBouncer should not run as root")


def expected_descriptors(max_client_conn: int, pools: Iterable[tuple[int, bool]], users: int) -> int:
    """Descriptors that a fully loaded pooler needs, estimated as PgBouncer does.

    :param pools: per configured database its pool size, and whether all its clients share one forced user.
    :param users: number of known users, each of which can have a pool of its own in every other database.
    """
    spare = 10
    return max_client_conn + spare + sum(size if forced else size * users for size, forced in pools)


def log_descriptor_limit(log: Log, max_client_conn: int, expected: int) -> None:
    """Say what the kernel allows and what the settings may come to need; nothing is changed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    log.info(
        f"kernel file descriptor limit: {soft} (hard: {hard}); "
        f"max_client_conn: {max_client_conn}, max expected fd use: {expected}"
    )


def notify_ready() -> bool:
    """Tell the service manager that clients can connect, or that a reload is over."""
    return sd_notify("READY=1")


def notify_reloading() -> bool:
    """Tell the service manager that a reload begins, and when; ``Type=notify-reload`` asks for that."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return sd_notify(f"RELOADING=1\nMONOTONIC_USEC={now}")


def notify_stopping() -> bool:
    """Tell the service manager that the shutdown has begun."""
    return sd_notify("STOPPING=1")


def notify_status(text: str) -> bool:
    """Give ``systemctl status`` one line to show."""
    return sd_notify(f"STATUS={text}")


def sd_notify(message: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send assignments of sd_notify(3) to the service manager; says whether it could be done.

    Without ``NOTIFY_SOCKET`` there is no service manager to tell. A failure never matters to the pooler.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect(address)
            manager.send(message.encode())
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ProcessError(f"could not open pidfile '{path}': {error.strerror}") from None
    try:
        return os.read(file, _MAX_PIDFILE)
    except OSError as error:
        raise ProcessError(f"could not read pidfile '{path}': {error.strerror}") from None
    finally:
        os.close(file)


def _is_stale(content: bytes) -> bool:
    """Whether the process of a pidfile is known to be gone."""
    words = content.split()
    if not words or not words[0].isdigit():
        return False
    pid = int(words[0])
    if pid == os.getpid():
        # a restarted container gets the same small pids again
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass  # somebody else's, or no pid at all
    return False
