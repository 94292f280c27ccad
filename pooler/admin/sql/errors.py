"""What goes wrong with a SELECT, with PostgreSQL's SQLSTATEs."""

import re
from collections.abc import Callable
from typing import Final

from pooler.admin.errors import QUERY_CANCELED, AdminError

SYNTAX_ERROR: Final = "42601"
UNDEFINED_TABLE: Final = "42P01"
UNDEFINED_COLUMN: Final = "42703"
UNDEFINED_FUNCTION: Final = "42883"
AMBIGUOUS_COLUMN: Final = "42702"
GROUPING_ERROR: Final = "42803"
INSUFFICIENT_PRIVILEGE: Final = "42501"
FEATURE_NOT_SUPPORTED: Final = "0A000"
PROGRAM_LIMIT_EXCEEDED: Final = "54000"
OUT_OF_MEMORY: Final = "53200"
DIVISION_BY_ZERO: Final = "22012"
OUT_OF_RANGE: Final = "22003"
INVALID_TEXT: Final = "22P02"


class Unsupported(AdminError):
    """What PostgreSQL would understand, and the admin database does not."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not supported in the admin database", FEATURE_NOT_SUPPORTED)


def syntax_error(where: str) -> AdminError:
    """`where` is the word that did not fit, empty for the end of the query."""
    text = f'syntax error at or near "{where}"' if where else "syntax error at end of input"
    return AdminError(text, SYNTAX_ERROR)


def no_such_table(name: str) -> AdminError:
    """It is none of SHOW's."""
    return AdminError(f'relation "{name}" does not exist', UNDEFINED_TABLE)


def no_such_function(name: str) -> AdminError:
    """It may be one of PostgreSQL's."""
    return AdminError(f"function {name}() does not exist", UNDEFINED_FUNCTION)


def too_long() -> AdminError:
    """It took more time, or steps, than a query may."""
    return AdminError("canceling statement due to statement timeout", QUERY_CANCELED)


_RULES: Final[tuple[tuple[str, Callable[[str], AdminError]], ...]] = (
    (r"interrupted", lambda found: too_long()),
    (
        r"no such column: (?:.*\.)?(.*)",
        lambda found: AdminError(f'column "{found}" does not exist', UNDEFINED_COLUMN),
    ),
    (
        r"ambiguous column name: (?:.*\.)?(.*)",
        lambda found: AdminError(f'column reference "{found}" is ambiguous', AMBIGUOUS_COLUMN),
    ),
    (r"no such table: (.*)", no_such_table),
    (r"no such function: (.*)", no_such_function),
    (r"wrong number of arguments to function (.*)\(\)", no_such_function),
    (r"not authorized to use function: (.*)", no_such_function),
    (r"(?:not authorized|.* prohibited).*", lambda found: Unsupported("this is")),
    (r"(misuse of (?:aliased )?(?:aggregate|window).*)", lambda found: AdminError(found, GROUPING_ERROR)),
    (r"(integer overflow)", lambda found: AdminError("bigint out of range", OUT_OF_RANGE)),
    (
        r"(.*too big|.*too large.*|too many .*|.*too complex|parser stack overflow|at most \d+ tables.*)",
        lambda found: AdminError(found, PROGRAM_LIMIT_EXCEEDED),
    ),
    (r"(near .*: syntax error)", lambda found: Unsupported("this form of SELECT is")),
    (r"(out of memory)", lambda found: AdminError("out of memory", OUT_OF_MEMORY)),
)


def from_sqlite(message: str) -> AdminError:
    """What sqlite complains of, as PostgreSQL would."""
    for pattern, make in _RULES:
        if match := re.fullmatch(pattern, message, re.DOTALL):
            return make(match[1] if match.re.groups else "")
    return AdminError(message, SYNTAX_ERROR)
