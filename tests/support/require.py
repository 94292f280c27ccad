"""What to do where a test's real server is missing."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where POOLDECK_REQUIRE_REAL says that nothing may be skipped (CI)."""
    if os.environ.get("POOLDECK_REQUIRE_REAL"):
        pytest.fail(f"POOLDECK_REQUIRE_REAL is set and {what} is missing")
    pytest.skip(f"{what} is missing")
