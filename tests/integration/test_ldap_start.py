"""A pooler that asks a directory starts as a user who cannot read Python's library."""

from __future__ import annotations

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE

NOWHERE = "ldapserver=127.0.0.1 ldapport=1 ldapprefix=cn="


def test_auth_type_ldap(pooler: PoolerFactory) -> None:
    process = pooler(settings={"auth_type": "ldap", "auth_ldap_options": NOWHERE})
    with pytest.raises(psycopg.OperationalError, match="LDAP authentication failed"):
        process.connect(DATABASE, user="ada", password="correct")
