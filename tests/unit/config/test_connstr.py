"""Connect strings, with the quirks of PgBouncer's reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.config.connstr import parse_connstr


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("   ", []),
        ("host=a", [("host", "a")]),
        ("host=a port=5", [("host", "a"), ("port", "5")]),
        ("  host = a   port =  5  ", [("host", "a"), ("port", "5")]),
        ("host='a b' port=5", [("host", "a b"), ("port", "5")]),
        ("connect_query='select ''x'''", [("connect_query", "select 'x'")]),
        ("password=''''", [("password", "'")]),
        ("password=a'b", [("password", "a'b")]),
        ("password=a=b", [("password", "a=b")]),
        (r"password=a\ b=c", [("password", "a\\"), ("b", "c")]),
        ("password='a\nb'", [("password", "a\nb")]),
        ("host=a\tport=5", [("host", "a\tport=5")]),  # only the space separates
        ("host= port=5", [("host", "port=5")]),  # blanks before a value are skipped
        ("host=a host=b", [("host", "a"), ("host", "b")]),
    ],
)
def test_pairs(text: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_connstr(text) == tuple(pairs)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("host", "expected key=value at character 1"),
        ("a=1 host", "expected key=value at character 5"),
        ("=x", "expected key=value at character 1"),
        ("a b=1", "expected key=value at character 1"),
        ("host=", "value of host is empty or badly quoted"),
        ("host=  ", "value of host is empty or badly quoted"),
        ("host=''", "value of host is empty or badly quoted"),
        ("host='' port=1", "value of host is empty or badly quoted"),
        ("host='a", "value of host is empty or badly quoted"),
        ("host='", "value of host is empty or badly quoted"),
        ("host='a''", "value of host is empty or badly quoted"),
        ("host='a'port=1", "value of host is empty or badly quoted"),
    ],
)
def test_syntax_errors(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^syntax error in connection string: {complaint}$"):
        parse_connstr(text)


@pytest.mark.parametrize("text", ["password=hunter2 x", "password='hunter2", "password='hunter2'x"])
def test_an_error_does_not_tell_a_value(text: str) -> None:
    with pytest.raises(ValueError, match="syntax error") as raised:
        parse_connstr(text)
    assert "hunter" not in str(raised.value)


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


KEYS = st.from_regex(r"[a-z_]+", fullmatch=True)


@given(st.lists(st.tuples(KEYS, st.text(min_size=1))))
def test_quoted_values_come_back(pairs: list[tuple[str, str]]) -> None:
    text = " ".join(f"{key}={quoted(value)}" for key, value in pairs)
    assert parse_connstr(text) == tuple(pairs)


@given(st.lists(st.tuples(KEYS, st.from_regex(r"[^ '\n][^ \n]*", fullmatch=True))))
def test_bare_values_come_back(pairs: list[tuple[str, str]]) -> None:
    text = "  ".join(f"{key} = {value}" for key, value in pairs)
    assert parse_connstr(text) == tuple(pairs)


@given(st.text("ab=' \t\n"))
def test_any_text_is_pairs_or_a_value_error(text: str) -> None:
    try:
        pairs = parse_connstr(text)
    except ValueError:
        return
    assert all(key and value for key, value in pairs)
