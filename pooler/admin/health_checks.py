"""SELECTs without FROM, by which drivers and their pools ask if a connection is alive, and whose it is."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from pooler.admin.console import Column, Console
from pooler.admin.formats import BOOL, TIMESTAMPTZ
from pooler.wire.messages import INT4, TEXT


def user(console: Console) -> str:
    credentials = console.client.credentials
    return "" if credentials is None else credentials.name


def _database(console: Console) -> str:
    database = console.client.database
    return "" if database is None else database.name


SELECTS: Final[Mapping[str, tuple[Column, Callable[[Console], object]]]] = MappingProxyType(
    {
        "1": (("?column?", INT4), lambda console: 1),
        "'x'": (("?column?", TEXT), lambda console: "x"),
        "true": (("bool", BOOL), lambda console: True),
        "version ( )": (("version", TEXT), lambda console: console.host.version_line()),
        "current_user": (("current_user", TEXT), user),
        "session_user": (("session_user", TEXT), user),
        "user": (("user", TEXT), user),
        "current_database ( )": (("current_database", TEXT), _database),
        "current_catalog": (("current_catalog", TEXT), _database),
        "current_schema ( )": (("current_schema", TEXT), lambda console: "public"),
        "current_schema": (("current_schema", TEXT), lambda console: "public"),
        "now ( )": (("now", TIMESTAMPTZ), lambda console: datetime.now(UTC)),
        "current_timestamp": (("current_timestamp", TIMESTAMPTZ), lambda console: datetime.now(UTC)),
        "pg_backend_pid ( )": (
            ("pg_backend_pid", INT4),
            lambda console: int.from_bytes(console.client.cancel_key[:4], "big", signed=True),
        ),
        "pg_is_in_recovery ( )": (("pg_is_in_recovery", BOOL), lambda console: False),
        "pg_advisory_unlock_all ( )": (("pg_advisory_unlock_all", TEXT), lambda console: ""),
    }
)
"""The column of a SELECT without FROM, and its value."""
