"""The language of the console. Expected results are what PgBouncer does with the same bytes."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pooler.admin.errors import AdminSyntaxError
from pooler.admin.parser import Statement, fold, parse

WORDS = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=15)
BLANKS = st.text(" \t\n\r", min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("text", "verb", "argument"),
    [
        ("show pools", "show", "pools"),
        ("  SHOW\tPOOLS\r\n;\n", "show", "POOLS"),
        ("reload", "reload", ""),
        ("reload;", "reload", ""),
        ('PAUSE "a b;"', "pause", "a b;"),
        ('pause "say ""hi"""', "pause", 'say "hi"'),
        ('"SHOW" "pools"', "show", "pools"),
        ('pause ""', "pause", ""),
        ('""', "", ""),
        ("set x", "set", "x"),
        ("set xtoy", "set", "xtoy"),
        ("kill_client 12", "kill_client", "12"),
        ('pause "größe"', "pause", "größe"),
        ("pause " + "a" * 63, "pause", "a" * 63),
        ("a" * 15, "a" * 15, ""),
    ],
)
def test_command(text: str, verb: str, argument: str) -> None:
    assert parse(text) == Statement(verb, argument, None, text)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("set x=1", "x", "1"),
        ("SET x TO y;", "x", "y"),
        ("set x to'it''s; a = b'", "x", "it's; a = b"),
        ('set "x" = "a ""b"""', "x", 'a "b"'),
        ("set xto'y'", "x", "y"),
        ("set x=''", "x", ""),
        ('set x=""', "x", ""),
        ("set X=Y", "X", "Y"),
        ("set x='" + "v" * 253 + "'", "x", "v" * 253),
    ],
)
def test_assignment(text: str, key: str, value: str) -> None:
    assert parse(text) == Statement("set", key, value, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reload dry run", ("reload", "", "dry run", None)),
        ("\nRELOAD\tDry  RUN ; ", ("reload", "", "dry run", None)),
        ("pause timeout 30", ("pause", "", "timeout", 30.0)),
        ('PAUSE "a b" TIMEOUT 0.25;', ("pause", "a b", "timeout", 0.25)),
        ("pause timeout timeout 1", ("pause", "timeout", "timeout", 1.0)),
    ],
)
def test_forms_that_pgbouncer_has_not(text: str, expected: tuple[str, str, str, float | None]) -> None:
    statement = parse(text)
    assert (statement.verb, statement.argument, statement.option, statement.seconds) == expected
    assert (statement.value, statement.text) == (None, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "reload dry run now",
        'reload "dry" run',
        '"reload dry run"x',
        "pause timeout 1 2",
        "pause a timeout 1e3",
        "pause a timeout .5",
        "pause a timeout 1234567890",
        "show pools; show pools",
        "show pools extra",
        "show pools --",
        "show pools;;",
        "select 1+1",
        "pause größe",
        'show "pools',
        'pause "a"""b',
        "pause 'p0'",
        "set x y",
        "set x = 1 2",
        "set x='it's'",
        "show\vpools",
        "show\fpools",
    ],
)
def test_what_is_no_command_is_quoted_in_the_error(text: str) -> None:
    with pytest.raises(AdminSyntaxError) as caught:
        parse(text)
    assert caught.value.message == f"invalid command '{text}', use SHOW HELP;"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 16,
        "pause " + "a" * 64,
        'pause "' + "a" * 62 + '"',
        'pause "' + "ä" * 31 + '"',
        "set " + "a" * 64 + "=1",
        "set x=" + "v" * 256,
        "set x='" + "v" * 254 + "'",
        'set ""=1',
    ],
)
def test_too_long_words_are_bad_arguments(text: str) -> None:
    with pytest.raises(AdminSyntaxError) as caught:
        parse(text)
    assert caught.value.message == "bad arguments"


def test_the_error_for_a_long_query_quotes_the_start_of_it() -> None:
    with pytest.raises(AdminSyntaxError) as caught:
        parse("x " * 5000)
    assert len(caught.value.message) == 1023
    assert caught.value.message.startswith("invalid command 'x x x ")


@given(st.text() | st.text("setohwTO \t=;'\"_ax0"))
@example("set a" + "to" * 100)
@example('"' * 999)
@example("ＳＨＯＷ pools")
def test_any_text_is_a_statement_or_a_syntax_error(text: str) -> None:
    try:
        statement = parse(text)
    except AdminSyntaxError:
        return
    assert statement.text == text
    assert len(statement.verb.encode()) <= 15
    assert len(statement.argument.encode()) <= 63
    assert statement.value is None or statement.verb == "set"


@given(WORDS, BLANKS, WORDS)
def test_words_come_through_whatever_stands_between_them(verb: str, blank: str, argument: str) -> None:
    statement = parse(f"{blank}{verb}{blank}{argument}{blank};{blank}")
    assert (statement.verb, statement.argument) == (verb.lower(), argument)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15))
def test_any_name_can_be_quoted(name: str) -> None:
    quoted = name.replace('"', '""')
    if len(quoted.encode()) <= 61:
        assert parse(f'pause "{quoted}"').argument == name


def test_only_ascii_letters_have_a_case() -> None:
    kelvin = "\N{KELVIN SIGN}"
    assert kelvin.lower() == "k"
    assert fold(f"{kelvin}ILL") == f"{kelvin}ill"
    assert parse(f'"{kelvin}ILL"').verb == f"{kelvin}ill"
