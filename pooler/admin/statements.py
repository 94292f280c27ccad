"""From the text of a query to the statements in it: those that drivers send, and the commands."""

import re
from collections.abc import Sequence
from typing import Final

from pooler.admin import driver_statements
from pooler.admin.commands import COMMANDS, Prepared, prepare
from pooler.admin.console import Console, Reply, Result
from pooler.admin.errors import AdminError
from pooler.admin.tokens import BLANK
from pooler.wire.messages import TEXT

EMPTY: Final = Prepared(lambda console, values: Result(""))
"""No statement at all. It is answered by EmptyQueryResponse and never run."""

SYNTAX_ERROR: Final = "42601"
NULL_NOT_ALLOWED: Final = "22004"

_WITH_PARAMETER: Final = re.compile(
    r"\s*(?P<head>(?P<verb>[a-z_]+)\s|set\s+[a-z0-9_]+\s*(?:=|\sto\s))\s*\$1\s*;?\s*",
    re.IGNORECASE | re.ASCII,
)


def prepare_all(text: str) -> Sequence[Prepared]:
    """Understands a query of the simple protocol. Raises AdminError.

    One command, as PgBouncer has it, or statements of drivers and nothing else.
    """
    found = driver_statements.find(text)
    if found:
        return found
    if found is not None and text.strip(BLANK + ";"):
        return [EMPTY]  # a comment: that is how pgx asks whether a connection is alive
    return [prepare(text)]


def prepare_one(text: str) -> Prepared:
    """Understands a Parse of the extended protocol. Raises AdminError."""
    found = driver_statements.find(text)
    if found is None:
        return _with_parameter(text) or prepare(text)
    if len(found) > 1:
        raise AdminError("cannot insert multiple commands into a prepared statement", SYNTAX_ERROR)
    return found[0] if found else EMPTY


def _with_parameter(text: str) -> Prepared | None:
    """`PAUSE $1`, `SET key = $1`: drivers that send arguments apart from the command need not quote them."""
    match = _WITH_PARAMETER.fullmatch(text)
    if match is None or not _takes_parameter(match["verb"]):
        return None
    quote = '"' if match["verb"] else "'"

    def run(console: Console, values: Sequence[object]) -> Reply:
        (value,) = values
        if value is None:
            raise AdminError("null value not allowed", NULL_NOT_ALLOWED)
        quoted = str(value).replace(quote, quote + quote)
        return prepare(f"{match['head']} {quote}{quoted}{quote}").run(console, ())

    return Prepared(run, None, (TEXT,))


def _takes_parameter(verb: str | None) -> bool:
    """SHOW and SELECT need to be described before the value is known. None is SET."""
    return verb is None or (verb.lower() in COMMANDS and verb.lower() not in ("show", "select", "set"))
