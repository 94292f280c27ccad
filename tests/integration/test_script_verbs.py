"""`pooldeck pause`, `kill` and the other verbs, as scripts run them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE, client_port
from tests.support.bouncer import ADMIN, BouncerProcess


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def process(request: pytest.FixtureRequest, postgres: TemporaryPostgres) -> BouncerProcess:
    factory: PoolerFactory | PgBouncerFactory
    factory = request.getfixturevalue("pooler" if request.param == "pooldeck" else "pgbouncer")
    return factory(
        {
            DATABASE: f"host=127.0.0.1 port={postgres.port}",
            "other": f"host=127.0.0.1 port={postgres.port} dbname=postgres",
        },
        settings={"pool_mode": "transaction", "default_pool_size": 1, "stats_users": "stats"},
        userlist={"stats": "stats-password"},
    )


class Shell:
    """Runs commands with a target and a journal of their own."""

    def __init__(self, process: BouncerProcess, state: Path) -> None:
        self.process = process
        self.journal = state / "pooldeck" / "audit.jsonl"
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        self.environ = {**ours, "XDG_STATE_HOME": str(state), "POOLDECK_TARGET": self.target(ADMIN)}

    def target(self, user: str) -> str:
        return self.process.dsn("pgbouncer", user=user)

    def __call__(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "cli.main", *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=stdin,
            timeout=50,
            env=self.environ,
        )

    def done(self, *arguments: str) -> str:
        """What it prints; it has to succeed."""
        done = self(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def results(self) -> list[tuple[str, str]]:
        lines = map(json.loads, self.journal.read_text().splitlines())
        return [(line["command"], line["result"]) for line in lines]


@pytest.fixture
def shell(process: BouncerProcess, tmp_path: Path) -> Shell:
    return Shell(process, tmp_path)


def marked(process: BouncerProcess, column: str) -> list[str]:
    return [row["name"] for row in process.admin("SHOW DATABASES") if row[column]]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of one: ours, and that of the program."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_databases_are_paused_and_resumed(process: BouncerProcess, shell: Shell) -> None:
    assert shell.done("pause", DATABASE, "other", "--yes") == "PAUSE\nPAUSE\n"
    assert sorted(marked(process, "paused")) == ["other", DATABASE]
    assert shell.done("resume", DATABASE) == "RESUME\n"
    assert marked(process, "paused") == ["other"]
    done = shell("resume", DATABASE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not paused" in done.stderr
    assert shell.done("resume", "other") == "RESUME\n"
    results = shell.results()
    assert results.count((f"PAUSE {DATABASE}", "done")) == 1
    assert results[-1] == ("RESUME other", "done")
    assert (f"RESUME {DATABASE}", "failed") in results


def test_the_whole_pooler_has_to_be_asked_for(process: BouncerProcess, shell: Shell) -> None:
    for verb in ("pause", "kill"):
        for arguments in ((verb, "--yes"), (verb, DATABASE, "--all", "--yes"), (verb, "", "--yes")):
            assert shell(*arguments).returncode == 2
    assert not shell.journal.exists()
    assert shell.done("pause", "--all", "--yes") == "PAUSE\n"
    assert shell.done("resume") == "RESUME\n"


def test_without_a_terminal_what_is_grave_takes_yes(process: BouncerProcess, shell: Shell) -> None:
    for arguments in (
        ("pause", DATABASE),
        ("kill", DATABASE),
        ("disable", DATABASE),
        ("suspend",),
        ("shutdown",),
    ):
        done = shell(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--yes" in done.stderr
    assert marked(process, "paused") == []
    assert shell.done("reconnect", DATABASE) == "RECONNECT\n"
    assert shell.done("reload") == "RELOAD\n"
    assert shell.done("wait-close") == "WAIT_CLOSE\n"


def test_on_a_terminal_the_name_is_typed(
    process: BouncerProcess, shell: Shell, terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    os.write(ours, b"wrong\n")
    done = shell("disable", DATABASE, stdin=theirs)
    assert done.returncode == 1
    assert f"DISABLE {DATABASE}" in done.stderr
    assert "0 clients" in done.stderr
    assert marked(process, "disabled") == []
    os.write(ours, f"{DATABASE}\n".encode())
    done = shell("disable", DATABASE, stdin=theirs)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "DISABLE")
    assert marked(process, "disabled") == [DATABASE]
    assert shell.done("enable", DATABASE) == "ENABLE\n"


def test_a_pause_that_is_late_is_taken_back(process: BouncerProcess, shell: Shell) -> None:
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        done = shell("pause", DATABASE, "--yes", "--timeout", "0.3")
        assert done.returncode == 3
        assert "taken back" in done.stderr
        assert marked(process, "paused") == []
        client.execute("COMMIT")
        client.execute("SELECT 1")


def interrupted(
    shell: Shell, process: BouncerProcess, *arguments: str, by: signal.Signals = signal.SIGINT
) -> subprocess.CompletedProcess[str]:
    """Begin it, and end it, by Ctrl-C if nothing else is said, once the pooler has got it."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=shell.environ,
    ) as running:
        process.wait_for_log("command issued")
        running.send_signal(by)
        stdout, stderr = running.communicate(timeout=50)
        return subprocess.CompletedProcess([], running.returncode, stdout, stderr)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_pause_that_is_interrupted_is_taken_back(
    process: BouncerProcess, shell: Shell, by: signal.Signals
) -> None:
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        done = interrupted(shell, process, "pause", DATABASE, "--yes", by=by)
        assert (done.returncode, done.stdout) == (128 + by, ""), done.stderr
        assert "taken back by RESUME" in done.stderr
        assert marked(process, "paused") == []
        client.execute("COMMIT")
        client.execute("SELECT 1")


def test_a_suspend_lasts_as_long_as_the_command(process: BouncerProcess, shell: Shell) -> None:
    done = interrupted(shell, process, "suspend", "--yes")
    assert done.returncode == 130, done.stderr
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
    done = shell("suspend", "--yes", "--timeout", "2")
    assert (done.returncode, done.stdout) == (3, "SUSPEND\n")
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")


def test_set(process: BouncerProcess, shell: Shell) -> None:
    assert shell.done("set", "query_timeout", "77") == "SET query_timeout=77\n"
    assert shell("set", "nothing", "1").returncode == 1
    assert shell("set", "a b", "1").returncode == 2


def test_kill_closes_and_pauses(process: BouncerProcess, shell: Shell) -> None:
    with process.connect(DATABASE) as client:
        assert shell.done("kill", DATABASE, "--yes") == "KILL\n"
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    assert marked(process, "paused") == [DATABASE]


def test_clients_by_number_and_by_database(process: BouncerProcess, shell: Shell) -> None:
    with process.connect(DATABASE) as one, process.connect("other") as two:
        rows = process.admin("SHOW CLIENTS")
        number = next((row.get("id") for row in rows if row["port"] == client_port(one)), None)
        if not any("KILL_CLIENT" in line for line in help_of(shell)):
            done = shell("kill-client", str(number or 1))
            assert (done.returncode, done.stdout) == (1, "")
            assert "has no KILL_CLIENT" in done.stderr
            return
        assert shell.done("kill-client", str(number)) == "KILL_CLIENT\n"
        done = shell("kill-client", str(number))
        assert done.returncode == 1
        assert "gone already" in done.stderr
        assert shell("kill-client").returncode == 2
        assert shell("kill-client", "1", "--database", "other", "--yes").returncode == 2
        assert shell("kill-client", "--database", "", "--yes").returncode == 2
        assert shell("kill-client", "--database", "othr", "--yes").returncode == 1
        assert shell.done("kill-client", "--database", "other", "--yes").startswith("KILL_CLIENT")
        with pytest.raises(psycopg.OperationalError):
            two.execute("SELECT 1")


def help_of(shell: Shell) -> list[str]:
    return shell("exec", "SHOW HELP").stderr.splitlines()


def test_who_may_not_and_who_is_not_there(process: BouncerProcess, shell: Shell) -> None:
    done = shell("reload", "--target", shell.target("stats"))
    assert done.returncode == 1
    assert "admin access needed" in done.stderr
    process.stop()
    assert shell("reload").returncode == 3


def test_shutdown(process: BouncerProcess, shell: Shell) -> None:
    assert shell("shutdown", "--wait-for-servers", "--wait-for-clients", "--yes").returncode == 2
    assert shell.done("shutdown", "--yes") == "SHUTDOWN\n"
    process.wait()
    assert shell.results() == [("SHUTDOWN", "done")]


def test_a_shutdown_that_waits_for_servers(process: BouncerProcess, shell: Shell) -> None:
    has_it = any("WAIT_FOR_SERVERS" in line for line in help_of(shell))
    done = shell("shutdown", "--wait-for-servers", "--yes")
    if has_it:
        assert (done.returncode, done.stdout) == (0, "SHUTDOWN\n")
        process.wait()
    else:
        assert done.returncode == 1
        assert "has no SHUTDOWN WAIT_FOR_SERVERS" in done.stderr


def test_no_textual_is_loaded(process: BouncerProcess, shell: Shell) -> None:
    code = (
        "import sys, cli.main as main\n"
        "try: main.app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "unwanted = {'textual', 'rich', 'uvloop'} & set(sys.modules)\n"
        "assert not unwanted, unwanted"
    )
    for arguments in (["reload"], ["pause", DATABASE, "--yes"]):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=shell.environ,
        )
        assert done.returncode == 0, done.stderr
