"""Conversations of clients that log in, made out of bytes: random ones, or those that a fuzzer has found to
lead somewhere new.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

from tests.fuzz.driver import (
    ENCRYPTION_REQUESTS,
    Again,
    Answer,
    Changed,
    Op,
    Raw,
    Together,
    parameters,
    startup_packet,
)
from tests.fuzz.pooler import CONSOLE, DATABASE, PASSWORDS
from tests.support.rawclient import PROTOCOL_3, message

T = TypeVar("T")

LENGTHS = [0, 3, 4, 5, 8, 69_999, 70_000, 70_001, 2**31 - 1, 2**31, 2**32 - 1]
LONG = ["x" * length for length in (64, 127, 128, 9000)]
USERS = [*PASSWORDS, *PASSWORDS, *PASSWORDS, "empty", "nobody", CONSOLE, "", 'a"b', "é", *LONG]
DATABASES = [DATABASE] * 12 + [CONSOLE, CONSOLE, "nowhere", "nowhere", "", *LONG]
VERSIONS = [PROTOCOL_3] * 5 + [PROTOCOL_3 + 2, PROTOCOL_3 + 9999, 2 << 16, 4 << 16, 0]
PARAMETERS = {
    "options": ["-c =", "-c TimeZone=UTC", "--DateStyle=ISO", "-c a=b", "-c", "\\", "-c a\\"],
    "application_name": ["psql", "\0", "é"],
    "client_encoding": ["UTF8", ""],
    "replication": ["true", "database", "off", "nonsense"],
    "_pq_.something": ["on"],
    "search_path": ["public"],
    "user": USERS,
}
SCRAM_PARTS = [
    *[
        b"n",
        b"y",
        b"",
        b"n=",
        b"r=abcdefghij",
        b"c=biws",
        b"p=" + b"A" * 43 + b"=",
        b"p=tls-server-end-point",
    ],
    *[b"n=plain", b"r=", b"a=plain", b"m=x", b"c=eSws", b"c=", b"p=", b"=", b"\0", b"\xff", b"x" * 1100],
]
MECHANISMS = [b"SCRAM-SHA-256", b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-1", b""]


class Choices:
    """Choices made by bytes; when there are no more, the first of whatever there is to choose."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(1), "big") % below

    def one_of(self, things: Sequence[T]) -> T:
        return things[self.number(len(things))]


def script_of(choices: Choices) -> tuple[list[Op], tuple[int, ...]]:
    """What a driver sends, but for a few parts, and the sizes of the pieces that it comes in."""
    user = choices.one_of(USERS)
    script: list[Op] = [startup_of(user, choices.one_of(DATABASES)), *[answer_of(user)] * 3]
    for _ in range(choices.number(5)):
        edit = choices.one_of((_insert, _replace, _change, _move, _join))
        edit(choices, script, choices.number(len(script)))
    return script, tuple(1 + choices.number(80) for _ in range(choices.number(4)))


def _insert(choices: Choices, script: list[Op], place: int) -> None:
    script.insert(place, any_op(choices))


def _replace(choices: Choices, script: list[Op], place: int) -> None:
    script[place] = any_op(choices)


def _change(choices: Choices, script: list[Op], place: int) -> None:
    position, cut = choices.number(256), choices.number(3)
    xor, inserted = choices.take(choices.number(3)), choices.take(choices.number(4))
    script[place] = Changed(script[place], position, xor, cut, inserted)


def _move(choices: Choices, script: list[Op], place: int) -> None:
    script.insert(choices.number(len(script)), script.pop(place))


def _join(choices: Choices, script: list[Op], place: int) -> None:
    if place + 1 < len(script):
        script[place : place + 2] = [Together(script[place], script[place + 1])]


def startup_of(user: str, database: str = DATABASE) -> Op:
    """As it should be."""
    return Raw(startup_packet(parameters(user, database)))


def answer_of(user: str) -> Op:
    """The right one, if there is one."""
    return Answer(user, PASSWORDS.get(user))


def any_op(choices: Choices) -> Op:
    """Whatever a client could send."""
    make = choices.one_of(
        (_odd_startup, _any_answer, _again, _encryption, _odd_answer, _message, _length, _bytes)
    )
    return make(choices)


def _odd_startup(choices: Choices) -> Op:
    version = choices.one_of(VERSIONS)
    if choices.number(4) == 3:
        return Raw(startup_packet(choices.take(choices.number(60)), version))
    name = choices.one_of(list(PARAMETERS))
    more = {name: choices.one_of(PARAMETERS[name])} if choices.number(2) else {}
    body = parameters(choices.one_of(USERS), choices.one_of(DATABASES), **more)
    return Raw(startup_packet(body, version))


def _any_answer(choices: Choices) -> Op:
    return Answer(choices.one_of(USERS), choices.one_of([*PASSWORDS.values(), None]))


def _again(choices: Choices) -> Op:
    return Again(choices.number(4))


def _encryption(choices: Choices) -> Op:
    return Raw(choices.one_of(ENCRYPTION_REQUESTS))


def _odd_answer(choices: Choices) -> Op:
    text = b",".join(choices.one_of(SCRAM_PARTS) for _ in range(choices.number(7)))
    if choices.number(2):
        return Raw(message("p", text))
    length = choices.one_of([len(text)] * 10 + LENGTHS)
    return Raw(message("p", choices.one_of(MECHANISMS) + b"\0" + struct.pack("!I", length) + text))


def _message(choices: Choices) -> Op:
    return Raw(message(choices.one_of("pQXSdfBEHPR"), choices.take(choices.number(20))))


def _length(choices: Choices) -> Op:
    kind = choices.one_of([b"p", b"", b"Q", b"X", b"S", b"d", b"\0", b"R"])
    return Raw(kind + struct.pack("!I", choices.one_of(LENGTHS)) + choices.take(choices.number(9)))


def _bytes(choices: Choices) -> Op:
    if choices.number(4) == 3:
        return Raw(struct.pack("!II", 16, 80877102) + choices.take(8).ljust(8, b"\0"))
    return Raw(choices.take(choices.number(40)))
