"""Compiles the hot modules with mypyc when POOLDECK_COMPILE=1; everything else is in pyproject.toml."""

import os
from pathlib import Path

from setuptools import setup

# The path of a message: every call on it is made once or more per query.
HOT_MODULES = (
    "pooler/wire/framing.py",
    "pooler/wire/requests.py",
    "pooler/wire/parameters.py",
    "pooler/wire/prepared.py",
    "pooler/wire/heads.py",
    "pooler/pool/lists.py",
    "pooler/pool/histogram.py",
    "pooler/pool/waits.py",
    "pooler/pool/members.py",
    "pooler/pool/stats.py",
    "pooler/pool/pool.py",
    "pooler/relay/absentee.py",
    "pooler/relay/client.py",
    "pooler/relay/statements.py",
    "pooler/relay/server.py",
)

# The build environment has none of the runtime dependencies; strict checking is the work of `make lint`.
MYPY_OPTIONS = ("--config-file=", "--ignore-missing-imports")


def extensions() -> list[object]:
    if os.environ.get("POOLDECK_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    present = [path for path in HOT_MODULES if Path(path).exists()]
    # The group's name keeps the shared library inside the package: no fourth top-level module in the wheel.
    return list(mypycify([*MYPY_OPTIONS, *present], opt_level="3", group_name="pooler._compiled"))


setup(ext_modules=extensions())
