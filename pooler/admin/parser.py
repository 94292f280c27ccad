"""The language of the admin console: one command per query (PgBouncer, usage.md, "Admin console").

    WORD [WORD] [;]
    SET KEY = VALUE [;]      also with TO, and with VALUE in single quotes

and, which PgBouncer has not,

    RELOAD DRY RUN [;]
    PAUSE [WORD] TIMEOUT SECONDS [;]

A word is made of ASCII letters, digits and `_`, or of anything in double quotes, where `""` is a quote. All
is done on bytes: that is what limits count, and only ASCII letters have a case here.
"""

import re
from dataclasses import dataclass
from typing import Final

from pooler.admin.errors import AdminSyntaxError
from pooler.wire.messages import decode, encode

COMMAND_LIMIT: Final = 15
ARGUMENT_LIMIT: Final = 63
VALUE_LIMIT: Final = 255
"""Bytes, quotes included; a longer one is `bad arguments`."""

MESSAGE_LIMIT: Final = 1023
"""Characters of an error message that quotes a query."""

_BLANK: Final = rb"[ \t\n\r]"
_WORD: Final = rb'("(?:[^"]|"")*+"|[0-9a-z_]+)'
_STRING: Final = rb"('(?:[^']|'')*+')"
_END: Final = rb"%b*(?:;%b*)?" % (_BLANK, _BLANK)
_SET: Final = rb"%b*set%b+%b%b*(?:=|to)%b*" % (_BLANK, _BLANK, _WORD, _BLANK, _BLANK)

_COMMAND: Final = re.compile(rb"%b*%b(?:%b+%b)?%b" % (_BLANK, _WORD, _BLANK, _WORD, _END), re.IGNORECASE)
_SET_STRING: Final = re.compile(_SET + _STRING + _END, re.IGNORECASE)
_SET_WORD: Final = re.compile(_SET + _WORD + _END, re.IGNORECASE)

DRY_RUN: Final = "dry run"
TIMEOUT: Final = "timeout"
_DRY_RUN: Final = re.compile(rb"%b*reload%b+dry%b+run%b" % (_BLANK, _BLANK, _BLANK, _END), re.IGNORECASE)
_PAUSE_TIMEOUT: Final = re.compile(
    rb"%b*pause(?:%b+%b)?%b+timeout%b+([0-9]{1,9}(?:\.[0-9]{1,6})?)%b"
    % (_BLANK, _BLANK, _WORD, _BLANK, _BLANK, _END),
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A command as it was written: `verb` in lower case, `argument` empty if there is none.

    `value` is only there for `SET argument = value`; `text` is the whole query, for messages that quote it.
    `option` are the words that make it a command of ours, in lower case, and `seconds` those of TIMEOUT.
    """

    verb: str
    argument: str
    value: str | None
    text: str
    option: str = ""
    seconds: float | None = None


def parse(text: str) -> Statement:
    """Reads one query. Raises AdminSyntaxError, which knows nothing yet of which commands exist."""
    raw = encode(text)
    if match := _COMMAND.fullmatch(raw):
        verb = _unquoted(match[1], COMMAND_LIMIT)
        argument = _unquoted(match[2] or b"", ARGUMENT_LIMIT)
        return Statement(fold(verb), argument, None, text)
    if match := _SET_STRING.fullmatch(raw) or _SET_WORD.fullmatch(raw):
        key = _unquoted(match[1], ARGUMENT_LIMIT)
        value = _unquoted(match[2], VALUE_LIMIT)
        if not key:
            raise AdminSyntaxError("bad arguments")
        return Statement("set", key, value, text)
    if _DRY_RUN.fullmatch(raw):
        return Statement("reload", "", None, text, DRY_RUN)
    if match := _PAUSE_TIMEOUT.fullmatch(raw):
        database = _unquoted(match[1] or b"", ARGUMENT_LIMIT)
        return Statement("pause", database, None, text, TIMEOUT, float(match[2]))
    raise invalid_command(text)


def invalid_command(text: str) -> AdminSyntaxError:
    """The error for a query that is no command at all, or not in this form."""
    return AdminSyntaxError(f"invalid command '{text}', use SHOW HELP;"[:MESSAGE_LIMIT])


def fold(word: str) -> str:
    """A word in lower case, as far as it is ASCII: no other letter may become one of a command."""
    return decode(encode(word).lower())


def _unquoted(raw: bytes, limit: int) -> str:
    if len(raw) > limit:
        raise AdminSyntaxError("bad arguments")
    quote = raw[:1]
    if quote == b'"' or quote == b"'":
        raw = raw[1:-1].replace(quote + quote, quote)
    return decode(raw)
