"""`pooldeck console` as a user starts it, on a terminal: how it begins, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from cli.demo.throwaway import ReservedPort
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, wait_until
from tests.support.bouncer import ADMIN, PoolerProcess
from tests.support.postgres import TemporaryPostgres
from tests.support.terminal import Terminal, plain_environment

# A pooler must not be run by root, as the tests sometimes are.
AS_ANYBODY = "from pooler.service import process; process.refuse_root = lambda: None"
PROGRAM = [sys.executable, "-P", "-c", f"{AS_ANYBODY}; from cli.main import main; main()", "console"]


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    return pooler(settings={"pool_mode": "transaction"})


def without_terminal(*arguments: str, **environ: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=50,
        env=plain_environment(**environ),
    )


def started(home: Path, *arguments: str) -> Terminal:
    """The console; what it remembers goes to `home`."""
    return Terminal([*PROGRAM, *arguments], plain_environment(HOME=home))


# Mistakes --------------------------------------------------------------------------------------------------


def test_no_terminal(tmp_path: Path) -> None:
    done = without_terminal("postgresql://ops@127.0.0.1", HOME=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pooldeck: the console needs a terminal")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere: neither a URL, nor a connection string, nor an ini file that there is"),
        (
            ["--profile", "shop"],
            "there is no profile shop in {home}/.config/pooldeck/console.toml, which has: none",
        ),
        (["--profiles", "{home}/none.toml"], "{home}/none.toml: there is no such file"),
        (
            ["--serve", "p.ini", "--web"],
            "--serve goes neither with --web nor with a target: its pooler is the target",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = without_terminal(*(text.format(home=tmp_path) for text in arguments), HOME=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"pooldeck: {reason.format(home=tmp_path)}\n"


# On a terminal ---------------------------------------------------------------------------------------------


def test_it_shows_the_pooler_and_leaves_the_terminal_as_it_was(
    process: PoolerProcess, tmp_path: Path
) -> None:
    with started(tmp_path, process.dsn("pgbouncer", user=ADMIN)) as terminal:
        terminal.expect("live")
        terminal.send("q")
        assert terminal.wait() == 0
        assert terminal.is_as_before


def test_a_profile_says_where_and_how(process: PoolerProcess, tmp_path: Path) -> None:
    file = tmp_path / "console.toml"
    file.write_text(f'[profiles.production]\ntarget = "{process.dsn("pgbouncer", user=ADMIN)}"\n')
    with started(tmp_path, "--profiles", str(file), "--profile", "production") as terminal:
        terminal.expect("production")
        assert "read-only" in terminal.text.lower()
        terminal.send("q")
        assert terminal.wait() == 0


def test_sigterm_ends_it_and_leaves_the_terminal_as_it_was(process: PoolerProcess, tmp_path: Path) -> None:
    with started(tmp_path, process.dsn("pgbouncer", user=ADMIN)) as terminal:
        terminal.expect("live")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
        assert terminal.is_as_before


def test_to_go_on_without_a_stop_is_nothing(process: PoolerProcess, tmp_path: Path) -> None:
    with started(tmp_path, process.dsn("pgbouncer", user=ADMIN)) as terminal:
        terminal.expect("live")
        terminal.process.send_signal(signal.SIGCONT)
        terminal.send("q")
        assert terminal.wait() == 0
        assert terminal.is_as_before


def test_it_goes_on_after_a_stop(process: PoolerProcess, tmp_path: Path) -> None:
    with started(tmp_path, process.dsn("pgbouncer", user=ADMIN)) as terminal:
        terminal.expect("live")
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.wait_for_stop()
        terminal.process.send_signal(signal.SIGCONT)
        terminal.expect("live")
        terminal.send("q")
        assert terminal.wait() == 0
        assert terminal.is_as_before


def test_it_ends_with_its_terminal(process: PoolerProcess, tmp_path: Path) -> None:
    with started(tmp_path, process.dsn("pgbouncer", user=ADMIN)) as terminal:
        terminal.expect("live")
        terminal.hang_up()
        assert terminal.wait() == 128 + signal.SIGHUP


def test_it_ends_with_its_terminal_while_the_pooler_does_not_answer(
    process: PoolerProcess, tmp_path: Path
) -> None:
    with started(tmp_path, process.dsn("pgbouncer", user=ADMIN)) as terminal:
        terminal.expect("live")
        process.signal(signal.SIGSTOP)
        try:
            terminal.hang_up()
            assert terminal.wait() == 128 + signal.SIGHUP
        finally:
            process.signal(signal.SIGCONT)


# The pooler in the same process ----------------------------------------------------------------------------


@pytest.fixture
def port() -> Iterator[int]:
    with closing(ReservedPort()) as reserved:
        yield reserved.number


@pytest.fixture
def ini(tmp_path: Path, postgres: TemporaryPostgres, port: int) -> Path:
    # The directory of a unix socket has a short name.
    path = tmp_path / "p.ini"
    (tmp_path / "users").write_text('"postgres" ""\n')
    path.write_text(
        f"""\
[databases]
* = host=127.0.0.1 port={postgres.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {tmp_path}/users
admin_users = postgres
pool_mode = transaction
logfile = {tmp_path}/pooler.log
pidfile = {tmp_path}/pooler.pid
"""
    )
    return path


def connect(port: int) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname=DATABASE, autocommit=True)


def logged(ini: Path) -> str:
    return (ini.parent / "pooler.log").read_text()


def test_a_pooler_of_its_own_stops_at_once(ini: Path, port: int, tmp_path: Path) -> None:
    with started(tmp_path, "--serve", str(ini)) as terminal:
        terminal.expect("live")
        assert int((tmp_path / "pooler.pid").read_text()) == terminal.process.pid
        with connect(port) as client:
            assert client.execute("SELECT 1").fetchone() == (1,)
            terminal.send("q")
            terminal.expect("The pooler ends with this console")
            terminal.send("\x1b[C\x1b[C\r")
            assert terminal.wait() == 0
        assert terminal.is_as_before
        assert "process up" in logged(ini)
        assert "process up" not in terminal.text
        assert not (tmp_path / "pooler.pid").exists()


def test_leaving_can_be_thought_better_of(ini: Path, port: int, tmp_path: Path) -> None:
    with started(tmp_path, "--serve", str(ini)) as terminal:
        terminal.expect("live")
        terminal.send("q")
        terminal.expect("The pooler ends with this console")
        terminal.send("\r")
        terminal.send_until("2", "maxwait")
        with connect(port) as client:
            assert client.execute("SELECT 1").fetchone() == (1,)


def test_a_pooler_of_its_own_waits_for_its_clients(ini: Path, port: int, tmp_path: Path) -> None:
    with started(tmp_path, "--serve", str(ini)) as terminal:
        terminal.expect("live")
        with connect(port) as client:
            terminal.send("q")
            terminal.expect("The pooler ends with this console")
            terminal.send("\x1b[C\r")
            terminal.expect("shutting down")
            assert client.execute("SELECT 1").fetchone() == (1,)
        assert terminal.wait() == 0


def test_signals_are_the_poolers(ini: Path, port: int, tmp_path: Path) -> None:
    with started(tmp_path, "--serve", str(ini)) as terminal:
        terminal.expect("live")
        terminal.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "got SIGHUP, re-reading config" in logged(ini), "SIGHUP is a RELOAD")
        terminal.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "got SIGUSR1, pausing all activity" in logged(ini), "SIGUSR1 is a PAUSE")
        terminal.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "got SIGUSR2, continuing" in logged(ini), "SIGUSR2 is a RESUME")
        with connect(port) as client:
            terminal.process.send_signal(signal.SIGTERM)
            wait_until(lambda: "got SIGTERM, shutting down" in logged(ini), "SIGTERM waits for clients")
            assert client.execute("SELECT 1").fetchone() == (1,)
        assert terminal.wait() == 0
        assert terminal.is_as_before


def test_a_pooler_of_its_own_ends_with_the_terminal(ini: Path, port: int, tmp_path: Path) -> None:
    with started(tmp_path, "--serve", str(ini)) as terminal:
        terminal.expect("live")
        with connect(port) as client:
            terminal.hang_up()
            assert terminal.wait() == 128 + signal.SIGHUP
            with pytest.raises(psycopg.OperationalError):
                client.execute("SELECT 1")
        assert not (tmp_path / "pooler.pid").exists()


def test_a_pooler_that_cannot_listen(ini: Path, port: int, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with started(tmp_path, "--serve", str(ini)) as terminal:
            assert terminal.wait() == 1
    assert terminal.text.startswith("pooldeck: ")
    assert f"127.0.0.1:{port}" in terminal.text
    assert "Traceback" not in terminal.text


def test_a_file_with_mistakes(ini: Path, tmp_path: Path) -> None:
    ini.write_text(ini.read_text() + "pool_mode = hourly\nnothing = 1\n")
    with started(tmp_path, "--serve", str(ini)) as terminal:
        assert terminal.wait() == 1
    for text in ("hourly", "nothing", "cannot load config file"):
        assert text in terminal.text
    assert "Traceback" not in terminal.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_may_not_serve(ini: Path) -> None:
    command = [sys.executable, "-P", "-m", "cli.main", "console", "--serve", str(ini)]
    with Terminal(command, plain_environment()) as terminal:
        assert terminal.wait() == 1
        assert "should not run as root" in terminal.text
