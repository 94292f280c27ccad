"""SASLprep (RFC 4013), the form of a password that SCRAM derives its keys from."""

import stringprep
import unicodedata
from typing import Final

from pooler.wire.messages import encode

_PROHIBITED_TABLES: Final = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(password: str) -> bytes:
    """The prepared bytes of `password`, in which surrogate escapes stand for bytes that are not UTF-8.

    RFC 4013 with PostgreSQL's exceptions, which both ends must share for a password to work: pure ASCII is
    taken as it is, the checks look at the text before normalization, and a password that is not UTF-8 or
    fails a check is used as its raw bytes.
    """
    raw = encode(password)
    if raw.isascii():
        return raw
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
    mapped = "".join(map(_mapped, text))
    if not mapped or _is_prohibited(mapped):
        return raw
    return unicodedata.normalize("NFKC", mapped).encode("utf-8")


def _mapped(char: str) -> str:
    # U+200B is in both tables; PostgreSQL looks at the spaces first.
    if stringprep.in_table_c12(char):
        return " "
    if stringprep.in_table_b1(char):
        return ""
    return char


def _is_prohibited(text: str) -> bool:
    if any(in_table(char) for char in text for in_table in _PROHIBITED_TABLES):
        return True
    if not any(map(stringprep.in_table_d1, text)):
        return False
    # RFC 3454 section 6: a right-to-left text starts and ends right-to-left and has no left-to-right letter.
    if any(map(stringprep.in_table_d2, text)):
        return True
    return not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1]))
