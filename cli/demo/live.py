"""`pooldeck demo` on a terminal: the console on a pooler under load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.demo.config import USER, write_config
from cli.demo.pg_programs import PostgresMissing
from cli.demo.postgres import PostgresFailed, TemporaryPostgres
from cli.demo.scene import READY
from cli.demo.throwaway import ReservedPort
from tui.admin.target import Target
from tui.profiles import ServerLogin
from tui.settings import ConsoleSettings

_USERS: Final = ("web", "worker", "ana")
_DATABASES: Final = {"shop": "", "reports": "pool_size=4"}
_END_SECONDS: Final = 15.0


class SceneFailed(RuntimeError):
    """The load did not begin; the text is what it said."""


@dataclass
class Scene:
    """A pooler under load, and what a console on it is started with."""

    process: subprocess.Popen[str]
    settings: ConsoleSettings
    verdict: str = ""
    """What came of the load, once it is over."""


@contextmanager
def running_scene(clients: int, pool_size: int) -> Iterator[Scene]:
    """PostgreSQL, pooler and load, for as long as the block lasts; afterwards there is the verdict.

    Raises PostgresMissing, PostgresFailed and SceneFailed.
    """
    with TemporaryPostgres() as postgres, closing(ReservedPort()) as reserved:
        for user in _USERS:
            postgres.sql(f"CREATE ROLE {user} LOGIN SUPERUSER")
        config = write_config(postgres, reserved.number, 2 * clients, pool_size, _DATABASES, _USERS)
        errors = config.parent / "load.err"
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.demo.scene", str(config), str(clients)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        scene = Scene(process, _settings(config, reserved.number))
        try:
            _wait_until_ready(process, errors)
            yield scene
        finally:
            scene.verdict = _end(process)


def _settings(config: Path, port: int) -> ConsoleSettings:
    return ConsoleSettings(
        Target("127.0.0.1", str(port), USER),
        name="demo (q ends it)",
        state_dir=config.parent / "console",
        ini=config,
        log=config.parent / "pooler.log",
        server=ServerLogin(user=USER),
    )


def _wait_until_ready(process: subprocess.Popen[str], errors: Path) -> None:
    line = process.stdout.readline() if process.stdout is not None else ""
    if line.strip() != READY:
        process.wait()
        raise SceneFailed(f"the load did not begin:\n{line}{errors.read_text()}")


def _end(process: subprocess.Popen[str]) -> str:
    """Stop the load, and let those finish who are at it."""
    try:
        verdict, _ = process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        verdict, _ = process.communicate()
    return verdict


def run_live_demo(clients: int, pool_size: int) -> int:
    """The console on the demo; the exit code: 1 if a client got another's answer, or nothing came about."""
    from cli.console import open_console

    print(
        "Starting PostgreSQL, a pooler and a load. In the console, ? helps and q leaves: then the load ends."
    )
    try:
        with running_scene(clients, pool_size) as scene:
            status = open_console(scene.settings)
    except (PostgresMissing, PostgresFailed, SceneFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(scene.verdict, end="")
    return status or scene.process.returncode
