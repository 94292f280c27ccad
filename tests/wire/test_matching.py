"""What counts as the message that a script expects, and how transcripts put what came."""

from __future__ import annotations

import pytest

from tests.support.rawclient import message
from tests.wire.matching import Known, matches, transcribed
from tests.wire.script import Message, Token
from tests.wire.tokens import tokenize
from tests.wire.vocabulary import SERVER_MESSAGES, Reply, read_reply


def pattern(text: str) -> Message:
    word, *arguments = tokenize(text)
    return Message(word.text, tuple(arguments))


def received(word: str, *values: str | None) -> Reply:
    """What a client gets when a server sends this."""
    data = SERVER_MESSAGES[word].make(*values)
    return read_reply(chr(data[0]), data[5:])


ROW = received("DataRow", "1", None, "three")
ERROR = received("ErrorResponse", "ERROR", "42P05", 'prepared statement "s" already exists')
FATAL = received("ErrorResponse", "FATAL", "57P01", "terminating connection")


@pytest.mark.parametrize(
    ("expected", "reply"),
    [
        ("DataRow", ROW),
        ('DataRow "1" NULL "three"', ROW),
        ('DataRow "$one" NULL $three', ROW),
        ("DataRow $one NULL !$one", ROW),
        ("ParseComplete", received("ParseComplete")),
        ("ReadyForQuery I", received("ReadyForQuery", "I")),
        ("ErrorResponse", ERROR),
        ('ErrorResponse ERROR 42P05 "already exists" "prepared"', ERROR),
        ("ErrorResponse FATAL", FATAL),
        ('NoticeResponse "hello"', received("NoticeResponse", "WARNING", "01000", "hello")),
    ],
)
def test_reply_that_is_expected(expected: str, reply: Reply) -> None:
    assert matches(pattern(expected), reply, Known(one="1"))


@pytest.mark.parametrize(
    ("expected", "reply"),
    [
        ("ParseComplete", ROW),
        ('DataRow "1" NULL', ROW),
        ('DataRow "1" "" "three"', ROW),
        ('DataRow "1" "NULL" "three"', ROW),
        ('DataRow "1" $null "three"', ROW),
        ('DataRow !$one NULL "three"', ROW),
        ("DataRow $one NULL $one", ROW),
        ("ReadyForQuery I", received("ReadyForQuery", "T")),
        ("ErrorResponse 42P05", received("ErrorResponse", "FATAL", "42P05", "no")),
        ("ErrorResponse FATAL", ERROR),
        ("ErrorResponse 42P04", ERROR),
        ('ErrorResponse 42P05 "does not exist"', ERROR),
        ("NoticeResponse NOTICE", received("NoticeResponse", "WARNING", "01000", "hello")),
    ],
)
def test_reply_that_is_not_expected(expected: str, reply: Reply) -> None:
    known = Known(one="1")
    assert not matches(pattern(expected), reply, known)
    assert known == {"one": "1"}


def test_name_has_its_first_value_from_then_on() -> None:
    known = Known()
    assert matches(pattern("DataRow $pid"), received("DataRow", "17"), known)
    assert known.fill("pid = $pid, '$1'") == "pid = 17, '$1'"
    assert not matches(pattern("DataRow $pid"), received("DataRow", "18"), known)
    assert matches(pattern("DataRow !$pid"), received("DataRow", "18"), known)


def test_name_without_a_value_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"\$pid has no value"):
        Known().fill("$pid")
    assert Known().value(Token("NULL", False)) is None
    assert Known().value(Token("NULL", True)) == "NULL"


def test_transcript_has_what_must_be_the_same_everywhere() -> None:
    assert transcribed(ROW) == 'DataRow "1" NULL "three"'
    assert transcribed(ROW, pattern('DataRow $pid NULL "three"')) == 'DataRow $pid NULL "three"'
    assert transcribed(ERROR) == 'ErrorResponse "ERROR" "42P05" "prepared statement "..." already exists"'
    assert transcribed(received("RowDescription", "a")) == 'RowDescription "a" [25/0]'
    assert transcribed(read_reply("E", b"SERROR\0CXXXXX\0Mno\0Dwhy\0Fa.c\0L1\0\0")).endswith("[{'D': 'why'}]")


def test_transcript_of_long_values_tells_them_apart() -> None:
    one, other = (transcribed(received("DataRow", "x" * 200 + end)) for end in ("a", "b"))
    assert len(one) < 100
    assert one != other


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (message("v", b"\0\3\0\0\0\0\0\1_pq_.x\0"), Reply("NegotiateProtocolVersion", ["3.0", "_pq_.x"])),
        (message("v", bytes(8)), Reply("NegotiateProtocolVersion", ["0.0"])),
        (message("t", b"\0\2\0\0\0\x19\0\0\0\x17"), Reply("ParameterDescription", ["25", "23"])),
        (message("V", b"\0\0\0\x015"), Reply("FunctionCallResponse", ["5"])),
        (message("V", b"\xff\xff\xff\xff"), Reply("FunctionCallResponse", [None])),
        (message("R", b"\0\0\0\5salt"), Reply("AuthenticationMD5Password")),
        (message("S", b"name\0value\0"), Reply("ParameterStatus", ["name", "value"])),
        (message("!", b"?"), Reply("message '!'", [], "3f")),
    ],
)
def test_what_messages_say(data: bytes, reply: Reply) -> None:
    assert read_reply(chr(data[0]), data[5:]) == reply
