"""`pooldeck-pgbouncer` as a process: its start, its signals, its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Background, backend_pid, value, wait_for_pool, wait_until
from tests.support.bouncer import PoolerProcess

PROGRAM = [sys.executable, "-P", "-m", "pooler.service.main"]
NOBODY = ["-u", "nobody"] if os.geteuid() == 0 else []


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the executable to its end, which has to come by itself."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=10
    )


def _ini(directory: Path, text: str) -> Path:
    path = directory / "p.ini"
    path.write_text(text)
    return path


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """Transaction mode, two servers."""
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 2})


# Start ---------------------------------------------------------------------------------------------------


def test_it_is_up_in_under_one_second(pooler: PoolerFactory) -> None:
    seconds = []
    for _ in range(3):
        started = time.time()
        process = pooler()
        up = process.directory / "stderr.log"
        wait_until(lambda up=up: "process up" in up.read_text(), "the pooler is up")  # type: ignore[misc]
        seconds.append(up.stat().st_mtime - started)
        process.stop()
    # The best of three: what others do on the machine is not its fault.
    assert min(seconds) < 1


def test_it_loads_neither_textual_nor_typer() -> None:
    code = "import pooler.service.main, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"'(\w+)'", done.stdout))
    assert {"pooler", "asyncio", "uvloop"} <= loaded
    assert not loaded & {"textual", "rich", "typer", "click", "cli", "tui"}


def test_it_logs_what_it_listens_on_and_that_it_is_up(process: PoolerProcess) -> None:
    log = process.log_text()
    stamp = rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}} \w+ \[{process.pid}\] LOG "
    for text in (
        "kernel file descriptor limit: ",
        f"listening on 127.0.0.1:{process.port}",
        f"listening on unix:{process.directory}/.s.PGSQL.{process.port}",
        "process up: PgBouncer 1.",
    ):
        assert re.search(f"^{stamp}{re.escape(text)}", log, re.MULTILINE), text


def test_first_line_of_the_version_is_what_the_console_shows(process: PoolerProcess) -> None:
    done = _run("--version")
    assert done.returncode == 0
    assert [{"version": done.stdout.splitlines()[0]}] == process.admin("SHOW VERSION")


def test_help_names_every_option() -> None:
    done = _run("--help")
    assert done.returncode == 0
    for option in ("--quiet", "--verbose", "--user", "--version", "--help"):
        assert option in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--no-such-option", "p.ini"], ["one.ini", "two.ini"]])
def test_wrong_command_line_exits_with_one(arguments: list[str]) -> None:
    done = _run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr != ""


def test_file_that_is_not_there_exits_with_one(tmp_path: Path) -> None:
    done = _run(*NOBODY, tmp_path / "none.ini")
    assert done.returncode == 1
    assert "none.ini" in done.stderr
    assert "FATAL cannot load config file" in done.stderr


def test_all_errors_of_a_file_are_named_with_their_lines(tmp_path: Path) -> None:
    path = _ini(tmp_path, "[databases]\na = nonsense=1\n[pgbouncer]\nno_such = 1\npool_mode = now_and_then\n")
    done = _run(*NOBODY, path)
    assert done.returncode == 1
    assert re.findall(rf"{re.escape(str(path))}:(\d+): ", done.stderr) == ["2", "4", "5"]


def test_setting_of_a_later_release_is_refused_not_ignored(tmp_path: Path) -> None:
    done = _run(*NOBODY, _ini(tmp_path, "[pgbouncer]\ndns_zone_check_period = 5\n"))
    assert done.returncode == 1
    assert "dns_zone_check_period is not available in this release" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused")
def test_root_is_refused(tmp_path: Path) -> None:
    done = _run(_ini(tmp_path, "[databases]\n[pgbouncer]\nunix_socket_dir =\nlisten_addr = 127.0.0.1\n"))
    assert done.returncode == 1
    assert "FATAL PgBouncer should not run as root" in done.stderr or "should not run as root" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_told_a_user_root_becomes_that_user(process: PoolerProcess) -> None:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (uids,) = re.findall(r"^Uid:\s+(.*)$", status, re.MULTILINE)
    assert "0" not in uids.split()


def test_second_instance_on_the_same_sockets_is_refused(process: PoolerProcess) -> None:
    done = _run(*NOBODY, process.ini_path)
    assert done.returncode == 1
    assert "FATAL unix socket is in use, cannot continue" in done.stderr
    assert process.admin("SHOW VERSION") != []


def test_quiet_logs_nothing_to_the_terminal(pooler: PoolerFactory) -> None:
    process = pooler(arguments=["-q"])
    assert process.admin("SHOW VERSION") != []
    assert process.log_text() == ""


def test_verbose_shows_queries_of_the_console(pooler: PoolerFactory) -> None:
    process = pooler(arguments=["-v", "-v"])
    process.admin("SHOW VERSION")
    assert "DEBUG got admin query: SHOW VERSION" in process.log_text()


# Pidfile and log file ------------------------------------------------------------------------------------


def _with_files(pooler: PoolerFactory) -> PoolerProcess:
    """Takes a pidfile and a logfile on RELOAD or at its start: both stand in its own directory."""
    return pooler(settings={"pidfile": "p.pid", "logfile": "p.log"})


def test_pidfile_is_there_as_long_as_the_process(pooler: PoolerFactory) -> None:
    process = _with_files(pooler)
    path = process.directory / "p.pid"
    assert path.read_text() == f"{process.pid}\n"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert not path.exists()


def test_live_pidfile_keeps_a_second_process_from_starting(pooler: PoolerFactory, tmp_path: Path) -> None:
    process = _with_files(pooler)
    path = process.directory / "p.pid"
    done = _run(*NOBODY, _ini(tmp_path, f"[pgbouncer]\nunix_socket_dir =\nlisten_addr =\npidfile = {path}\n"))
    assert done.returncode == 1
    assert f"pidfile '{path}' exists, another instance running?" in done.stderr
    assert path.read_text() == f"{process.pid}\n"


def test_log_file_is_opened_again_on_reload(pooler: PoolerFactory) -> None:
    process = _with_files(pooler)
    path = process.directory / "p.log"
    assert "process up" in path.read_text()
    rotated = path.rename(process.directory / "p.log.1")
    process.signal(signal.SIGHUP)
    wait_until(path.exists, "there is a new log file")
    process.admin("SHOW VERSION")
    assert "login attempt" in path.read_text()
    assert "got SIGHUP, re-reading config" in rotated.read_text()


def test_log_file_is_opened_again_although_the_file_has_an_error(pooler: PoolerFactory) -> None:
    process = _with_files(pooler)
    path = process.directory / "p.log"
    path.rename(process.directory / "p.log.1")
    process.configure(no_such_setting=1)
    process.signal(signal.SIGHUP)
    wait_until(path.exists, "there is a new log file")
    wait_until(lambda: "unknown parameter: pgbouncer/no_such_setting" in path.read_text(), "it says why")


# Signals -------------------------------------------------------------------------------------------------


def test_hup_reloads_the_file(process: PoolerProcess) -> None:
    process.configure(default_pool_size=9)
    process.signal(signal.SIGHUP)
    process.wait_for_log("got SIGHUP, re-reading config")

    def size() -> str:
        return {row["key"]: str(row["value"]) for row in process.admin("SHOW CONFIG")}["default_pool_size"]

    wait_until(lambda: size() == "9", "the new size holds")


def test_hup_with_an_error_in_the_file_changes_nothing(process: PoolerProcess) -> None:
    before = process.admin("SHOW CONFIG")
    process.configure(default_pool_size=9, no_such_setting=1)
    process.signal(signal.SIGHUP)
    process.wait_for_log("WARNING config file loading failed")
    assert process.admin("SHOW CONFIG") == before


def test_usr1_pauses_and_usr2_resumes(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        process.signal(signal.SIGUSR1)
        process.wait_for_log("got SIGUSR1, pausing all activity")
        wait_for_pool(process, sv_idle=0)
        answer = Background(lambda: value(client, "SELECT 42"))
        wait_for_pool(process, cl_waiting=1)
        process.signal(signal.SIGUSR2)
        assert answer.result() == 42
    assert "got SIGUSR2, continuing from PAUSE" in process.log_text()


def test_term_waits_for_clients(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        process.signal(signal.SIGTERM)
        process.wait_for_log("got SIGTERM, shutting down, waiting for all clients disconnect")
        assert value(client, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError):
            process.connect(DATABASE)
    assert process.wait() == 0
    assert not list(process.directory.glob(".s.PGSQL.*"))


def test_int_waits_for_servers(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        process.signal(signal.SIGINT)
        process.wait_for_log("got SIGINT, shutting down, waiting for all servers connections to be released")
        assert value(client, "SELECT 1") == 1
        client.execute("COMMIT")
        assert process.wait() == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_it_at_once(
    process: PoolerProcess, first: signal.Signals, second: signal.Signals
) -> None:
    with closing(process.connect(DATABASE)) as client:
        client.execute("BEGIN")
        process.signal(first)
        process.wait_for_log(f"got {first.name}, shutting down")
        process.signal(second)
        assert process.wait() == 0
    assert f"got {second.name} while shutting down, fast exit" in process.log_text()


def test_quit_ends_it_at_once(process: PoolerProcess) -> None:
    with closing(process.connect(DATABASE)) as client:
        client.execute("BEGIN")
        process.signal(signal.SIGQUIT)
        assert process.wait() == 0
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")


def test_usr2_is_ignored_while_shutting_down(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        process.signal(signal.SIGINT)
        process.wait_for_log("got SIGINT, shutting down")
        process.signal(signal.SIGUSR2)
        process.wait_for_log("got SIGUSR2 while shutting down, ignoring")
        client.execute("COMMIT")
        assert process.wait() == 0


def test_servers_are_told_that_it_ends(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        pid = backend_pid(client)
        process.signal(signal.SIGQUIT)
        process.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the server's process has ended")
