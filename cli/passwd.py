"""`pooldeck passwd`: lines of a userlist.txt, printed or put into the file.

A password comes from the terminal or from standard input, never from the command line, which everybody on the
machine can read. No message has it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from getpass import GetPassWarning, getpass

import typer

from pooler.auth.scram_keys import MAX_ITERATIONS, SALT_LENGTH, ScramSecret
from pooler.auth.secrets import DEFAULT_ITERATIONS, SecretKind, kind_of, md5_secret
from pooler.config.atomic import Edited, EditRefused, account_name, edit_file
from pooler.config.errors import ConfigError
from pooler.config.userlist import MAX_PASSWORD, BrokenUserlist, userlist_line, with_user, without_user
from pooler.wire.messages import decode, encode

MIN_ITERATIONS = 4096
"""The least that RFC 7677 allows."""


class PasswdError(Exception):
    """It was not done; the text says why, and has no password in it."""


@dataclass(frozen=True, slots=True)
class Request:
    """The command line. Without a `file` the line is printed; without `iterations` they are 4096."""

    user: str
    file: str | None = None
    md5: bool = False
    iterations: int | None = None
    stdin: bool = False
    delete: bool = False
    backup: bool = False


def run_passwd(request: Request) -> int:
    """Do it; the exit status. Raises typer.BadParameter for options that make no sense."""
    _check_options(request)
    try:
        _edit_or_print(request)
    except (PasswdError, EditRefused) as error:
        return _failed(str(error))
    except OSError as error:
        name = error.filename2 or error.filename or request.file or "standard output"
        return _failed(f"{name}: {error.strerror}")
    return 0


def _check_options(request: Request) -> None:
    if request.file is None and (request.delete or request.backup):
        raise typer.BadParameter("--delete and --backup are for a --file")
    if request.delete and (request.md5 or request.stdin or request.iterations is not None):
        raise typer.BadParameter("--delete needs no password")
    if request.iterations is None:
        return
    if request.md5:
        raise typer.BadParameter("--iterations are for SCRAM")
    if not MIN_ITERATIONS <= request.iterations <= MAX_ITERATIONS:
        raise typer.BadParameter(f"--iterations must be {MIN_ITERATIONS} to {MAX_ITERATIONS}")


def _edit_or_print(request: Request) -> None:
    # As the bytes that were typed, which are those that a client started here sends.
    user = decode(os.fsencode(request.user))
    try:
        userlist_line(user, "")
    except ValueError as error:
        raise PasswdError(str(error)) from None
    if request.file is not None and request.delete:
        _delete(request, request.file, user)
        return
    secret = _secret(request, user, _password_from_stdin() if request.stdin else _password_from_terminal())
    if request.file is None:
        typer.echo(encode(userlist_line(user, secret)))
    else:
        _set(request, request.file, user, secret)


# The password ----------------------------------------------------------------------------------------------


def _password_from_terminal() -> str:
    with warnings.catch_warnings():
        # Where the echo cannot be turned off, getpass warns and goes on.
        warnings.simplefilter("error", GetPassWarning)
        try:
            password = getpass("Password: ")
            again = getpass("Again: ")
        except GetPassWarning:
            raise PasswdError("there is no terminal to ask for the password on: use --stdin") from None
        except UnicodeError:
            raise PasswdError("the password is not in the encoding of the terminal: use --stdin") from None
    if password != again:
        raise PasswdError("the passwords differ")
    return password


def _password_from_stdin() -> str:
    line, line_end, rest = sys.stdin.buffer.read(MAX_PASSWORD + 3).partition(b"\n")
    if rest:
        raise PasswdError("standard input has more than one line")
    return decode(line.removesuffix(b"\r") if line_end else line)


def _secret(request: Request, user: str, password: str) -> str:
    if not password:
        raise PasswdError("the password is empty, and nobody logs in with an empty one")
    if "\0" in password:
        raise PasswdError("the password has a zero byte in it, which no client can send")
    if len(encode(password)) > MAX_PASSWORD:
        raise PasswdError(f"the password is longer than {MAX_PASSWORD} bytes")
    if kind_of(password) is not SecretKind.PLAIN:
        raise PasswdError("this is no password but a secret made from one")
    if request.md5:
        return md5_secret(user, password)
    iterations = request.iterations or DEFAULT_ITERATIONS
    return str(ScramSecret.from_password(password, iterations, os.urandom(SALT_LENGTH)))


# The file --------------------------------------------------------------------------------------------------


def _set(request: Request, file: str, user: str, secret: str) -> None:
    is_new = not os.path.exists(file)
    edited = _edit(file, lambda text: with_user(text, user, secret), create=True, backup=request.backup)
    if is_new:
        _say(f"{edited.path}: a new file, which only {_owner(edited)} can read")
    _report(edited, f"user {_quoted(user)} has a new secret")


def _delete(request: Request, file: str, user: str) -> None:
    def change(text: str) -> str:
        rest = without_user(text, user)
        if rest == text:
            raise PasswdError(f"{file}: there is no user {_quoted(user)}")
        return rest

    edited = _edit(file, change, create=False, backup=request.backup)
    _report(edited, f"user {_quoted(user)} is removed")


def _edit(file: str, change: Callable[[str], str], *, create: bool, backup: bool) -> Edited:
    def change_bytes(old: bytes) -> bytes:
        try:
            return encode(change(decode(old)))
        except BrokenUserlist as broken:
            raise PasswdError(str(ConfigError(file, broken.line, broken.reason))) from None

    return edit_file(file, change_bytes, mode_limit=0o600, create=create, backup=backup)


def _report(edited: Edited, done: str) -> None:
    if edited.mode != edited.mode_before:
        modes = f"its mode was {edited.mode_before:04o} and is {edited.mode:04o}"
        _say(f"{edited.path}: {modes} now: only {_owner(edited)} can read it")
    _say(f"{edited.path}: {done}, from the next RELOAD on")


def _owner(edited: Edited) -> str:
    return account_name(os.stat(edited.path).st_uid)


# Messages --------------------------------------------------------------------------------------------------


def _quoted(user: str) -> str:
    return '"' + user.replace('"', '""') + '"'


def _failed(reason: str) -> int:
    _say(f"pooldeck passwd: {reason}")
    return 1


def _say(text: str) -> None:
    """To standard error: a line that was asked for may be all that goes to standard output."""
    typer.echo(text.encode("utf-8", "backslashreplace"), err=True)
