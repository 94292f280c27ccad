"""Whether what came is what a script expects, and how a transcript puts it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from tests.wire.script import Message, Token
from tests.wire.vocabulary import ERROR_RESPONSE, NOTICE_RESPONSE, Reply, Values

_NAME = re.compile(r"\$([a-z_]+)")
_CAPTURE = re.compile(r"(!?)\$([a-z_]+)")
_SEVERITIES = ("ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "INFO", "LOG")
_DEFAULT_SEVERITY = {ERROR_RESPONSE: "ERROR"}
_STATEMENT_NAME = re.compile(r'(prepared statement )"[^"]*"')
_LONGEST = 100


class Known(dict[str, str]):
    """Values by name: what `$name` in a script stands for."""

    def fill(self, text: str) -> str:
        """The text with its names replaced. Raises ValueError for one that has no value yet."""
        return _NAME.sub(self._value, text)

    def value(self, token: Token) -> str | None:
        """What to send for a token: a bare NULL is one."""
        if token == Token("NULL", False):
            return None
        return self.fill(token.text)

    def _value(self, found: re.Match[str]) -> str:
        if found[1] not in self:
            raise ValueError(f"${found[1]} has no value")
        return self[found[1]]


def matches(pattern: Message, reply: Reply, known: Known) -> bool:
    """Whether the reply is what is expected; if so, `known` has what `$name` stood for.

    Of a message whose values are not given only the kind is looked at; of errors and notices the severity,
    the SQLSTATE, and parts of the text.
    """
    if pattern.word != reply.word:
        return False
    if pattern.word in (ERROR_RESPONSE, NOTICE_RESPONSE):
        return _report_matches(pattern, reply.values, known)
    if not pattern.arguments:
        return True
    if len(pattern.arguments) != len(reply.values):
        return False
    captured = Known(known)
    for token, value in zip(pattern.arguments, reply.values, strict=True):
        if not _value_matches(token, value, captured):
            return False
    known.update(captured)
    return True


def _value_matches(token: Token, value: str | None, known: Known) -> bool:
    capture = None if token.quoted else _CAPTURE.fullmatch(token.text)
    if capture is None:
        return value == known.value(token)
    if value is None:
        return False
    if capture[1]:
        return value != known.fill("$" + capture[2])
    return known.setdefault(capture[2], value) == value


def _report_matches(pattern: Message, values: Values, known: Known) -> bool:
    severity, sqlstate, text = (value or "" for value in values)
    wanted = _DEFAULT_SEVERITY.get(pattern.word, severity)
    for token in pattern.arguments:
        if token.quoted:
            if known.fill(token.text) not in text:
                return False
        elif token.text in _SEVERITIES:
            wanted = token.text
        elif token.text != sqlstate:
            return False
    return severity == wanted


def transcribed(reply: Reply, pattern: Message | None = None) -> str:
    """A reply as a line of a transcript, the same wherever it means the same.

    Values that a script has only given a name to are not told, nor are the names that poolers give to
    statements.
    """
    arguments: Sequence[Token] = pattern.arguments if pattern is not None else ()
    named = len(arguments) == len(reply.values) and reply.word not in (ERROR_RESPONSE, NOTICE_RESPONSE)
    words = [reply.word]
    for place, value in enumerate(reply.values):
        if named and not arguments[place].quoted and _CAPTURE.fullmatch(arguments[place].text):
            words.append(arguments[place].text)
        else:
            words.append("NULL" if value is None else _abridged(_STATEMENT_NAME.sub(r'\1"..."', value)))
    if reply.detail:
        words.append(f"[{reply.detail}]")
    return " ".join(words)


def spelled(message: Message) -> str:
    """A message as a script has it."""
    words = [_abridged(token.text) if token.quoted else token.text for token in message.arguments]
    return " ".join([message.word + ("..." if message.any_number else ""), *words])


def _abridged(value: str) -> str:
    if len(value) <= _LONGEST:
        return f'"{value}"'
    digest = hashlib.sha1(value.encode()).hexdigest()[:8]
    return f'"{value[:40]}..." ({len(value)} characters, {digest})'
