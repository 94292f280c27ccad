"""Files that are edited by replacing them: a reader sees all of the old content or all of the new."""

import errno
import fcntl
import grp
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Final

BACKUP_SUFFIX: Final = ".bak"


class EditRefused(Exception):
    """The file is as it was; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Edited:
    """What was done: `path` is the file itself where a symbolic link led to it; modes are permission bits."""

    path: str
    mode_before: int
    mode: int


def edit_file(
    path: str,
    change: Callable[[bytes], bytes],
    *,
    mode_limit: int = 0o7777,
    create: bool = False,
    backup: bool = False,
    suffix: str = BACKUP_SUFFIX,
) -> Edited:
    """Replace the content of a file by what `change` makes of it.

    A symbolic link stays, and leads to the new file. Owner, group, mode (less what is not in `mode_limit`)
    and extended attributes are those of the old one; a hard link is left behind with the old content. With
    `create` a file that does not exist is made first, empty and of mode 0600. With `backup` the old content
    is kept beside it, under the name with `suffix` added, in place of an older backup of that name.

    Of two calls at the same time one waits for the other (flock). Others who write the file know nothing of
    the lock, so it is read again at the very last: if it has changed, they win.

    Raises EditRefused, OSError and what `change` raises; the file is then as it was.
    """
    real = os.path.realpath(path)
    with _locked(real, create) as descriptor:
        status = os.fstat(descriptor)
        with open(descriptor, "rb", closefd=False) as file:
            old = file.read()
        new = change(old)
        mode_before = stat.S_IMODE(status.st_mode)
        mode = mode_before & mode_limit
        if backup:
            _replace(real + suffix, old, real, status, mode)
        _replace(real, new, real, status, mode, expected=old)
    return Edited(real, mode_before, mode)


def dated_suffix(path: str, now: datetime) -> str:
    """For a backup that is to stay: `.20261121T193000.bak`, with a number if there is one of that second."""
    real = os.path.realpath(path)
    stamp = f".{now:%Y%m%dT%H%M%S}"
    for number in count(2):
        if not os.path.lexists(real + stamp + BACKUP_SUFFIX):
            break
        stamp = f"{stamp[:16]}.{number}"
    return stamp + BACKUP_SUFFIX


def why_not_editable(path: str) -> str | None:
    """What `edit_file` would refuse, so that nobody types in vain; None if nothing seems to be in the way."""
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError as error:
        return f"{real}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{real}: not a regular file"
    mine = os.geteuid() in (0, status.st_uid)
    if not os.access(real, os.W_OK) or not mine:
        owner = f"{account_name(status.st_uid)}:{_group_name(status.st_gid)}"
        return f"{real}: belongs to {owner} and has mode {stat.S_IMODE(status.st_mode):04o}"
    directory = os.path.dirname(real)
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{real}: nothing can be made in {directory}: {os.strerror(errno.EACCES)}"
    return None


@contextmanager
def _locked(path: str, create: bool) -> Iterator[int]:
    """The file, open for reading, while nobody else is in here with it."""
    # O_NONBLOCK: opening a pipe would wait for its writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_CREAT if create else 0)
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise EditRefused(f"{path}: not a regular file")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever had the lock before has put another file in the place of this one.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _replace(
    path: str, data: bytes, model: str, status: os.stat_result, mode: int, expected: bytes | None = None
) -> None:
    """Put a file with this content at `path`, like `model`, whose status is given, but for its mode."""
    directory, name = os.path.split(path)
    with _private_directory(directory, path) as private:
        temporary = os.path.join(private, name)
        with open(temporary, "xb") as file:
            _give(file.fileno(), path, status, mode)
            shutil.copystat(model, temporary)
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if expected is not None:
            _check_unchanged(path, expected)
        os.replace(temporary, path)
    _sync_directory(directory)


@contextmanager
def _private_directory(parent: str, path: str) -> Iterator[str]:
    """Where nobody else can open the new file before it has its permissions."""
    try:
        directory = tempfile.TemporaryDirectory(prefix=f".{os.path.basename(path)}.", dir=parent)
    except OSError as error:
        raise EditRefused(f"{path}: nothing can be made in {parent}: {error.strerror}") from None
    with directory as name:
        yield name


def _give(descriptor: int, path: str, status: os.stat_result, mode: int) -> None:
    """To the owner and the group of the old file. A group that has no permissions need not be kept."""
    ours = os.fstat(descriptor)
    if (ours.st_uid, ours.st_gid) == (status.st_uid, status.st_gid):
        return
    try:
        os.fchown(descriptor, status.st_uid, status.st_gid)
    except PermissionError:
        if ours.st_uid != status.st_uid or mode & stat.S_IRWXG:
            owner = f"{account_name(status.st_uid)}:{_group_name(status.st_gid)}"
            raise EditRefused(f"{path}: belongs to {owner}, so run this as that user or as root") from None


def _check_unchanged(path: str, expected: bytes) -> None:
    # Not by its times: two writes within a tick of the clock have the same.
    with open(path, "rb") as file:
        if file.read() != expected:
            raise EditRefused(f"{path}: somebody else has changed it meanwhile, try again")


def _sync_directory(directory: str) -> None:
    # The new file is in its place whether or not this works.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def account_name(uid: int) -> str:
    """The name of an account of the machine, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
