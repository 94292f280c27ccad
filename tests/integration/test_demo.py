"""`pooldeck demo` as somebody sees it who has just installed it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from cli.demo.live import running_scene
from cli.demo.pg_programs import PostgresMissing, find_bin_directory
from tests.integration.clients import wait_until
from tests.support.require import missing
from tests.support.terminal import Terminal, plain_environment

DEMO = [sys.executable, "-P", "-m", "cli.main", "demo", "--clients", "20"]


@pytest.fixture(autouse=True)
def _there_is_a_postgres() -> None:
    try:
        find_bin_directory()
    except PostgresMissing:
        missing("a PostgreSQL server")


def test_on_a_terminal_it_is_the_console_under_load() -> None:
    with Terminal(DEMO, plain_environment()) as terminal:
        terminal.expect("q leaves")
        terminal.expect("live")
        terminal.send_until("3", "shop-worker")
        terminal.send_until("q", "got their own token, 0 did not, 0 errors")
        assert terminal.wait(60) == 0
        assert terminal.is_as_before


def test_a_paused_pooler_does_not_keep_it_from_ending() -> None:
    with running_scene(20, 5) as scene:
        port = int(scene.settings.target.port)
        with psycopg.connect(
            host="127.0.0.1", port=port, user="postgres", dbname="pgbouncer", autocommit=True
        ) as console:
            count = "SELECT total_query_count FROM stats WHERE database = 'shop'"
            wait_until(lambda: console.execute(count).fetchall()[0][0] > 100, "clients are at work")
            console.execute("PAUSE shop")
    assert "× not answered before the end" in scene.verdict
    assert "0 did not" in scene.verdict
    assert scene.process.returncode == 0


def test_nobody_is_left_behind_when_the_terminal_goes_away() -> None:
    with Terminal(DEMO, plain_environment()) as terminal:
        terminal.expect("live")
        started = children(terminal.process.pid)
        assert len(started) >= 2
        terminal.hang_up()
        assert terminal.wait(60) == 129
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "all have ended", 30)


def test_without_a_terminal_it_is_a_progress_bar_and_tables() -> None:
    done = subprocess.run(
        [*DEMO, "--seconds", "1"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout
    assert "got their own token, 0 did not, 0 errors" in done.stdout
    assert "SHOW POOLS" in done.stdout


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
