"""Running a suite: a stage with the scripts on it, and pg_regress pointed at a server or a pooler."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.demo.throwaway import ThrowawayDirectory, credentials, server_account
from tests.pg_regress.sources import Installation

SETTINGS: Mapping[str, str] = {"max_prepared_transactions": "2"}
"""What the suites ask of a server; pg_regress sets the same when it starts one itself."""

# How long isolationtester waits for one step: longer than any takes, shorter than its own six minutes.
_STEP_SECONDS = 60


class SuiteFailed(RuntimeError):
    """The suite could not be run to its end; the text holds what its driver said."""


@dataclass(frozen=True)
class Suite:
    """A directory of src/test, the driver that runs it and the schedule to run."""

    name: str
    driver: str
    schedule: str


REGRESS = Suite("regress", "regress/pg_regress", "parallel_schedule")
ISOLATION = Suite("isolation", "isolation/pg_isolation_regress", "isolation_schedule")


@dataclass(frozen=True)
class Run:
    """What each test printed, and how long all took, in seconds. `as_expected`: the driver was content."""

    outputs: Mapping[str, str] = field(repr=False)
    seconds: float
    as_expected: bool


class Stage:
    """A directory that the server's account may read and write, as the scripts have the server use files.

    Each run of a suite finds the same paths, since some of them appear in the output. `libraries` are put
    where the scripts look for them. Use it as a context manager.
    """

    def __init__(self, installation: Installation, tests: Path, libraries: Sequence[Path] = ()) -> None:
        self._installation = installation
        self._tests = tests
        self._libraries = libraries
        self._account = server_account()
        self._throwaway: ThrowawayDirectory | None = None

    @property
    def directory(self) -> Path:
        if self._throwaway is None:
            raise SuiteFailed("the stage was not set")
        return self._throwaway.path

    @property
    def output(self) -> Path:
        """What the last run left: results/*.out, and regression.diffs if its driver was not content."""
        return self.directory / "output"

    def run(
        self, suite: Suite, host: str, port: int, *, tests: Sequence[str] = (), limit: float = 1800.0
    ) -> Run:
        """The whole schedule, or `tests` one by one, on a server or pooler without databases of the suite's.

        Raises SuiteFailed when it takes longer than `limit` seconds, and when it cannot be run at all.
        """
        inputs = self.directory / suite.name
        if not inputs.exists():
            shutil.copytree(self._tests / suite.name, inputs)
            self._give_away(inputs)
        shutil.rmtree(self.output, ignore_errors=True)
        self.output.mkdir()
        self._give_away(self.output)
        what = tests or [f"--schedule={inputs / suite.schedule}"]
        command = [
            str(self._installation.test_program(suite.driver)),
            f"--bindir={self._installation.bin}",
            f"--inputdir={inputs}",
            f"--outputdir={self.output}",
            f"--dlpath={self.directory / 'libraries'}",
            *("--max-concurrent-tests=20", f"--host={host}", f"--port={port}", "--user=postgres"),
            *what,
        ]
        began = time.monotonic()
        status, said = self._execute(command, limit)
        if status not in (0, 1):
            raise SuiteFailed(f"{suite.driver} ended with status {status}:\n{said}")
        results = sorted((self.output / "results").glob("*.out"))
        outputs = {path.stem: path.read_text(errors="surrogateescape") for path in results}
        return Run(outputs, time.monotonic() - began, status == 0)

    def __enter__(self) -> Self:
        self._throwaway = ThrowawayDirectory("pooldeck-regress-", self._account)
        libraries = self.directory / "libraries"
        libraries.mkdir()
        for library in self._libraries:
            shutil.copy(library, libraries)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._throwaway is not None:
            self._throwaway.close()
            self._throwaway = None

    def _execute(self, command: Sequence[str], limit: float) -> tuple[int, str]:
        driver = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.output,
            env=_environment(),
            start_new_session=True,
            **credentials(self._account),
        )
        try:
            said, _ = driver.communicate(timeout=limit)
        except BaseException as error:
            # With it the psql that it started; they may well hang at a pooler that does not answer.
            os.killpg(driver.pid, signal.SIGKILL)
            said, _ = driver.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise SuiteFailed(f"not done after {limit:.0f} s:\n{said}") from None
            raise
        return driver.returncode, said

    def _give_away(self, directory: Path) -> None:
        if self._account is None:
            return
        for path in (directory, *directory.rglob("*")):
            os.chown(path, self._account.uid, self._account.gid)


def _environment() -> dict[str, str]:
    """Ours without libpq's variables, which would lead psql elsewhere."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**ours, "PGISOLATIONTIMEOUT": str(_STEP_SECONDS)}
