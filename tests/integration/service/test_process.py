import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pooler.service import process
from pooler.service.log import Log


def in_child(work: Callable[[], str]) -> str:
    """Run in a forked process, which may give up rights that the tests need."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = work()
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(write, result.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        result = pipe.read()
    os.waitpid(pid, 0)
    return result


def become(name: str) -> str:
    process.change_user(name)
    return f"{os.getuid()} {os.geteuid()} {os.getgid()} {sorted(os.getgroups())}"


def test_changing_the_user_changes_ids_and_groups() -> None:
    privileged = os.getuid() == 0
    user = pwd.getpwnam("nobody") if privileged else pwd.getpwuid(os.getuid())
    groups = sorted(os.getgrouplist(user.pw_name, user.pw_gid) if privileged else os.getgroups())
    expected = f"{user.pw_uid} {user.pw_uid} {user.pw_gid} {groups}"
    assert in_child(lambda: become(user.pw_name)) == expected


def test_an_unprivileged_process_cannot_become_another_user() -> None:
    def try_it() -> str:
        if os.getuid() == 0:
            become("nobody")
        return become("root")

    assert in_child(try_it) == (
        "ProcessError: failed to assume identity of user 'root': Operation not permitted"
    )


def test_a_user_that_was_given_up_stays_given_up() -> None:
    def try_it() -> str:
        if os.getuid() == 0:
            become("nobody")
        os.setuid(0)
        return "root again"

    assert in_child(try_it).startswith("PermissionError")


def test_the_pidfile_goes_away_when_the_process_exits(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    code = (
        "import sys\n"
        "from pooler.service.log import Log\n"
        "from pooler.service.process import Pidfile\n"
        "Pidfile(sys.argv[1], Log()).write()\n"
        "print(open(sys.argv[1]).read(), end='')\n"
        "sys.exit(1)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    written, _ = child.communicate()
    assert written == f"{child.pid}\n"
    assert child.returncode == 1
    assert not path.exists()


def test_a_forked_child_leaves_the_pidfile_alone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pidfile = process.Pidfile(str(path), Log(quiet=True))
    pidfile.write()

    def remove() -> str:
        pidfile.remove()
        return "done"

    assert in_child(remove) == "done"
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.remove()
    assert not path.exists()


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_gets_the_message(tmp_path: Path, abstract: bool) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(5)
        environ = {"NOTIFY_SOCKET": f"@{name}" if abstract else name}
        assert process.sd_notify("READY=1\nSTATUS=up", environ)
        assert manager.recv(100) == b"READY=1\nSTATUS=up"


def test_a_service_manager_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    assert not process.sd_notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "none")})
