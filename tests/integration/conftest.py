"""What integration tests share: roles that the tests of pools and limits log in as, a directory, PAM."""

from collections.abc import Mapping

import pytest

from tests.support.external import locked, pam_tools, preloaded, slapd
from tests.support.postgres import TemporaryPostgres

__all__ = ["locked", "pam_tools", "preloaded", "roles", "slapd"]


@pytest.fixture(scope="session")
def roles(postgres: TemporaryPostgres) -> Mapping[str, str]:
    """alice, bob and carol are roles of PostgreSQL; the value is a `userlist` for a pooler."""
    names = ("alice", "bob", "carol")
    postgres.sql("".join(f"CREATE ROLE {name} LOGIN;" for name in names))
    return {name: f"{name}-password" for name in names}
