"""A pooler that asks a directory starts as a user who may not be able to read Python's library."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE

RULES = """
host all ada all ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix=cn=
host all all all trust
"""


def test_what_a_directory_needs_is_loaded_before_the_user_changes(pooler: PoolerFactory) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        rules = Path(directory) / "hba.conf"
        rules.write_text(RULES)
        process = pooler(settings={"auth_type": "hba", "auth_hba_file": rules})
        with pytest.raises(psycopg.OperationalError, match="LDAP authentication failed"):
            process.connect(DATABASE, user="ada", password="correct")
