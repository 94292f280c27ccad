"""What names of databases and users may be; the limits are PgBouncer's, in bytes."""

from typing import Final

RESERVED_DATABASE: Final = "pgbouncer"
"""The name of the admin console; no database of the file may have it."""

MAX_DATABASE_NAME: Final = 63
MAX_USERNAME: Final = 127


def byte_size(text: str) -> int:
    """The size of a text of a file: UTF-8, with surrogates for the bytes that are not (PEP 383)."""
    return len(text.encode("utf-8", "surrogateescape"))
