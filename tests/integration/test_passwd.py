"""`pooldeck passwd`, as a user runs it."""

from __future__ import annotations

import os
import pty
import pwd
import re
import select
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from pooler.auth.scram_keys import ScramSecret
from pooler.config.userlist import load_userlist

PASSWORD = "hunter2-hunter2"
WAIT_SECONDS = 30.0

# The first terminal that the leader of a session opens becomes the one that it asks on.
_ON_TERMINAL = "import os, sys; os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.executable, sys.argv[1:])"


class Terminal:
    """A program that runs on a terminal of its own; `screen` is all that it has shown so far."""

    def __init__(self, command: list[str]) -> None:
        self._master, slave = pty.openpty()
        self._raw = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    @property
    def screen(self) -> str:
        return self._raw.decode("utf-8", "replace")

    def press(self, keys: str | bytes) -> None:
        os.write(self._master, keys if isinstance(keys, bytes) else keys.encode())

    def wait_for(self, text: str) -> None:
        """Return once it stands on the screen. Raises AssertionError."""
        while text not in self.screen:
            assert self._read(), f"{text!r} is not on the screen: {self.screen!r}"

    def wait(self) -> int:
        """The exit status, when the program has closed the terminal."""
        while self._read():
            pass
        return self.process.wait(WAIT_SECONDS)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._master], [], [], WAIT_SECONDS)
        assert readable, f"nothing more comes: {self.screen!r}"
        try:
            chunk = os.read(self._master, 4096)
        except OSError:  # EIO: nobody has the other side open any more.
            return False
        self._raw += chunk
        return bool(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def passwd(
    *arguments: str | Path, password: str | bytes = PASSWORD, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run it with the password on standard input. No message has the password, whatever happens."""
    raw = password if isinstance(password, bytes) else password.encode() + b"\n"
    done = subprocess.run(command(*arguments), input=raw, capture_output=True, check=False, timeout=50)
    output = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == status, output
    assert "Traceback" not in output[1]
    for line in raw.split():
        assert len(line) < 4 or line.decode("utf-8", "replace") not in output[0] + output[1]
    return subprocess.CompletedProcess(done.args, status, *output)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-P", "-m", "cli.main", "passwd", *map(str, arguments)]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def userlist(tmp_path: Path) -> Path:
    path = tmp_path / "userlist.txt"
    path.write_bytes(b'; m\xfcde\r\n"first" "1" ; \xff\r\n\r\n  "last" "2"')
    path.chmod(0o600)
    return path


# Lines -----------------------------------------------------------------------------------------------------


def test_the_line_of_a_user_is_printed_with_a_scram_secret() -> None:
    done = passwd("app", "--stdin")
    assert done.stderr == ""
    match = re.fullmatch(r'"app" "(SCRAM-SHA-256\$4096:.*)"\n', done.stdout)
    assert match is not None
    assert ScramSecret.parse(match[1]) is not None
    assert passwd("app", "--stdin").stdout != done.stdout


def test_iterations_are_as_asked_for() -> None:
    assert '"SCRAM-SHA-256$5000:' in passwd("app", "--stdin", "--iterations", "5000").stdout


def test_an_md5_hash_is_made_on_request() -> None:
    done = passwd("muser1", "--stdin", "--md5", password="foo")
    assert done.stdout == '"muser1" "md5ab8b744ff66bee42dc47bae34ca17959"\n'


@pytest.mark.parametrize("line", [b"foo", b"foo\n", b"foo\r\n"])
def test_the_end_of_the_line_is_not_of_the_password(line: bytes) -> None:
    done = passwd("muser1", "--stdin", "--md5", password=line)
    assert done.stdout == '"muser1" "md5ab8b744ff66bee42dc47bae34ca17959"\n'


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (b"", "the password is empty"),
        (b"\n", "the password is empty"),
        (b"hunter2\nhunter3\n", "standard input has more than one line"),
        (b"hunter2\0\n", "a zero byte"),
        (b"x" * 65531, "longer than 65530 bytes"),
        (b"x" * 100000, "longer than 65530 bytes"),
        (b"md5ab8b744ff66bee42dc47bae34ca17959\n", "this is no password but a secret"),
    ],
)
def test_a_password_that_nobody_could_log_in_with_is_refused(
    userlist: Path, password: bytes, reason: str
) -> None:
    before = userlist.read_bytes()
    done = passwd("first", "--stdin", "--file", userlist, password=password, status=1)
    assert done.stderr.startswith("pooldeck passwd: ")
    assert reason in done.stderr
    assert (done.stdout, userlist.read_bytes()) == ("", before)


def test_a_password_that_is_no_text_is_taken_as_its_bytes(userlist: Path) -> None:
    passwd("app", "--stdin", "--md5", "--file", userlist, password=b"m\xfcller\n")
    # md5 of 6d fc 6c 6c 65 72 and of "app".
    assert load_userlist(str(userlist)).users["app"] == "md58f69a283952898b32807f1980b9a54a4"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--iterations", "4095", "--stdin"),
        ("--iterations", "1000001", "--stdin"),
        ("--iterations", "5000", "--md5", "--stdin"),
        ("--delete",),
        ("--backup", "--stdin"),
        ("--delete", "--stdin", "--file", "userlist.txt"),
        ("--delete", "--md5", "--file", "userlist.txt"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: tuple[str, ...]) -> None:
    done = passwd("app", *arguments, status=2)
    assert "Invalid value" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("user", "reason"), [("", "name is empty"), ("u" * 128, "username too long")])
def test_a_name_that_cannot_be_is_refused(userlist: Path, user: str, reason: str) -> None:
    done = passwd(user, "--stdin", "--file", userlist, status=1)
    assert reason in done.stderr


# The terminal ----------------------------------------------------------------------------------------------


def test_the_password_is_asked_for_twice_without_echo() -> None:
    with Terminal(command("muser1", "--md5")) as terminal:
        terminal.wait_for("Password: ")
        terminal.press("foo-\u00fc\n")
        terminal.wait_for("Again: ")
        seen = Path(f"/proc/{terminal.process.pid}/cmdline").read_bytes()
        seen += Path(f"/proc/{terminal.process.pid}/environ").read_bytes()
        terminal.press("foo-\u00fc\n")
        assert terminal.wait() == 0
    assert b"foo-" not in seen
    assert "foo-" not in terminal.screen
    assert '"muser1" "md5' in terminal.screen


def test_passwords_that_differ_are_refused(userlist: Path) -> None:
    before = userlist.read_bytes()
    with Terminal(command("first", "--file", userlist)) as terminal:
        terminal.wait_for("Password: ")
        terminal.press("one\n")
        terminal.wait_for("Again: ")
        terminal.press("other\n")
        assert terminal.wait() == 1
    assert "the passwords differ" in terminal.screen
    assert userlist.read_bytes() == before


def test_an_interrupted_question_changes_nothing(userlist: Path) -> None:
    before = userlist.read_bytes()
    with Terminal(command("first", "--file", userlist)) as terminal:
        terminal.wait_for("Password: ")
        terminal.press("\x03")
        assert terminal.wait() != 0
    assert "Traceback" not in terminal.screen
    assert userlist.read_bytes() == before


def test_bytes_that_are_no_text_are_for_standard_input() -> None:
    with Terminal(command("first")) as terminal:
        terminal.wait_for("Password: ")
        terminal.press(b"m\xfcller\n")
        assert terminal.wait() == 1
    assert "use --stdin" in terminal.screen
    assert "Traceback" not in terminal.screen


def test_without_a_terminal_nothing_is_asked() -> None:
    done = subprocess.run(
        command("first"), input=b"hunter2\n", capture_output=True, check=False, start_new_session=True
    )
    assert done.returncode == 1
    assert b"no terminal to ask for the password on: use --stdin" in done.stderr


# The file --------------------------------------------------------------------------------------------------


def test_a_new_user_is_added_and_every_other_byte_is_kept(userlist: Path) -> None:
    before = userlist.read_bytes()
    done = passwd("new", "--stdin", "--file", userlist)
    assert done.stdout == ""
    assert done.stderr == f'{userlist}: user "new" has a new secret, from the next RELOAD on\n'
    after = userlist.read_bytes()
    assert after.startswith(before + b'\r\n"new" "SCRAM-SHA-256$4096:')
    assert after.endswith(b'"\r\n')


def test_a_user_gets_another_secret_and_every_other_byte_is_kept(userlist: Path) -> None:
    passwd("first", "--stdin", "--md5", "--file", userlist)
    after = userlist.read_bytes()
    assert re.fullmatch(rb'; m\xfcde\r\n"first" "md5[0-9a-f]{32}" ; \xff\r\n\r\n  "last" "2"', after), after


def test_a_user_is_removed_without_a_password(userlist: Path) -> None:
    done = passwd("first", "--delete", "--file", userlist)
    assert done.stderr == f'{userlist}: user "first" is removed, from the next RELOAD on\n'
    assert userlist.read_bytes() == b'; m\xfcde\r\n\r\n  "last" "2"'


def test_who_is_not_there_cannot_be_removed(userlist: Path) -> None:
    userlist.chmod(0o644)
    done = passwd("nobody", "--delete", "--file", userlist, status=1)
    assert f'{userlist}: there is no user "nobody"' in done.stderr
    assert mode_of(userlist) == 0o644


@pytest.mark.parametrize("user", ['we"ird', "é\u202e ", "; new\nline"])
def test_any_name_can_be_added_changed_and_removed(userlist: Path, user: str) -> None:
    before = load_userlist(str(userlist)).users
    for _ in range(2):
        passwd(user, "--stdin", "--md5", "--file", userlist)
        users = load_userlist(str(userlist)).users
        assert set(users) == {*before, user}
        assert users[user].startswith("md5")
    passwd(user, "--delete", "--file", userlist)
    assert load_userlist(str(userlist)).users == before


def test_a_name_that_is_no_text_is_taken_as_its_bytes(userlist: Path) -> None:
    passwd("m\udcfcller", "--stdin", "--md5", "--file", userlist)
    assert b'\n"m\xfcller" "md5' in userlist.read_bytes()


def test_a_file_that_others_can_read_is_tightened_and_that_is_said(userlist: Path) -> None:
    userlist.chmod(0o644)
    done = passwd("new", "--stdin", "--file", userlist)
    owner = pwd.getpwuid(os.getuid()).pw_name
    assert f"{userlist}: its mode was 0644 and is 0600 now: only {owner} can read it\n" in done.stderr
    assert mode_of(userlist) == 0o600


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "userlist.txt"
    done = passwd("new", "--stdin", "--file", path)
    owner = pwd.getpwuid(os.getuid()).pw_name
    assert f"{path}: a new file, which only {owner} can read\n" in done.stderr
    assert mode_of(path) == 0o600
    assert set(load_userlist(str(path)).users) == {"new"}


def test_the_file_behind_a_link_is_edited(userlist: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(userlist.name)
    passwd("new", "--stdin", "--file", link)
    assert link.is_symlink()
    assert set(load_userlist(str(userlist)).users) == {"first", "last", "new"}


def test_the_old_file_is_kept_on_request(userlist: Path) -> None:
    before = userlist.read_bytes()
    passwd("new", "--stdin", "--backup", "--file", userlist)
    kept = userlist.with_name("userlist.txt.bak")
    assert (kept.read_bytes(), mode_of(kept)) == (before, 0o600)


def test_a_broken_file_is_left_alone(userlist: Path) -> None:
    userlist.write_bytes(b'"a" "1"\n# no comment\n"b" "2"\n')
    done = passwd("b", "--stdin", "--file", userlist, status=1)
    assert f"{userlist}:2: broken auth file" in done.stderr
    assert userlist.read_bytes() == b'"a" "1"\n# no comment\n"b" "2"\n'


def test_users_added_at_the_same_time_are_all_there(userlist: Path) -> None:
    users = [f"user-{number}" for number in range(6)]
    processes = [
        subprocess.Popen(command(user, "--stdin", "--md5", "--file", userlist), stdin=subprocess.PIPE)
        for user in users
    ]
    for process in processes:
        process.communicate(PASSWORD.encode())
    assert [process.returncode for process in processes] == [0] * len(users)
    assert set(load_userlist(str(userlist)).users) == {"first", "last", *users}


# Permissions -----------------------------------------------------------------------------------------------

# Imported first: the account need not be able to read the programs.
_UNPRIVILEGED = """
import os, pwd, sys
from cli.passwd import Request, run_passwd
if os.getuid() == 0:
    account = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
sys.exit(run_passwd(Request("new", sys.argv[1], stdin=True)))
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that everybody can enter, and that belongs to whoever runs `unprivileged`."""
    with tempfile.TemporaryDirectory() as name:
        hand_over(Path(name))
        os.chmod(name, 0o755)
        yield Path(name)
        os.chmod(name, 0o755)


def hand_over(path: Path) -> None:
    """To the account of `unprivileged`."""
    if os.getuid() == 0:
        account = pwd.getpwnam("nobody")
        os.chown(path, account.pw_uid, account.pw_gid)


def unprivileged(path: Path) -> str:
    """What it says to somebody who is not root, and may not add a user to that file."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _UNPRIVILEGED, str(path)],
        input=PASSWORD.encode(),
        capture_output=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 1, done
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


def test_a_file_that_cannot_be_read_is_an_error(reachable: Path) -> None:
    path = reachable / "userlist.txt"
    path.touch(mode=0)
    said = unprivileged(path)
    assert said == f"pooldeck passwd: {path}: Permission denied\n"


def test_a_directory_that_cannot_be_written_is_an_error(reachable: Path) -> None:
    path = reachable / "userlist.txt"
    path.touch(mode=0o600)
    hand_over(path)
    reachable.chmod(0o555)
    said = unprivileged(path)
    assert said == f"pooldeck passwd: {path}: nothing can be made in {reachable}: Permission denied\n"
    said = unprivileged(reachable / "other")
    assert said == f"pooldeck passwd: {reachable / 'other'}: Permission denied\n"


def test_a_file_of_somebody_else_is_an_error(reachable: Path) -> None:
    path = reachable / "userlist.txt"
    if os.getuid() == 0:
        path.touch(mode=0o644)
        reason = "belongs to root:root, so run this as that user or as root"
    else:
        # The nearest to it that can be made without being root.
        path.symlink_to("/etc/hostname")
        reason = "nothing can be made in /etc: Permission denied"
    said = unprivileged(path)
    assert reason in said


def test_root_keeps_the_owner_of_a_file(reachable: Path) -> None:
    """And whoever is not root is the owner."""
    path = reachable / "userlist.txt"
    path.touch(mode=0o640)
    hand_over(path)
    before = path.stat()
    passwd("new", "--stdin", "--file", path)
    after = path.stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
