"""Lines of a log: taken apart, kept, filtered, asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.files.logbook import KEPT, LogBook, LogFilter, pattern_of
from tui.files.logline import Connection, LogLine, line_of_row, parse_line, parse_lines
from tui.files.printable import printable
from tui.files.showlog import ShowLog

HEAD = "2026-11-20 18:11:07.160 UTC [22234] "


@pytest.mark.parametrize(
    ("prefix", "connection"),
    [
        ("C-0x17: shop/web@10.0.0.7:5432 ", Connection("client", "0x17", "shop", "web", "10.0.0.7:5432")),
        (
            "S-0x55d3c0ffee00: shop/web@[2001:db8::7]:5432 ",
            Connection("server", "0x55d3c0ffee00", "shop", "web", "[2001:db8::7]:5432"),
        ),
        ("C-0x1: (nodb)/(nouser)@unix:6432 ", Connection("client", "0x1", "", "", "unix:6432")),
        ("C-0x2: p/a b@c@unix(77):6432 ", Connection("client", "0x2", "p", "a b@c", "unix(77):6432")),
        ("C-0x2: p/a/b@h:1 ", Connection("client", "0x2", "p", "a/b", "h:1")),
        ("S-0x3: peer-4@10.0.0.9:6432 ", Connection("server", "0x3", "peer-4", "", "10.0.0.9:6432")),
    ],
)
def test_a_line_about_a_connection(prefix: str, connection: Connection) -> None:
    line = parse_line(f"{HEAD}LOG {prefix}closing because: x/y@z:1 (age=1s)".encode(), 4)
    assert line.connection == connection
    assert line.message == "closing because: x/y@z:1 (age=1s)"
    assert (line.number, line.time, line.pid, line.level) == (4, "2026-11-20 18:11:07.160 UTC", 22234, "LOG")


def test_a_line_about_no_connection() -> None:
    line = parse_line(f"{HEAD}WARNING stats: 0 xacts/s".encode(), 0)
    assert (line.level, line.connection, line.message) == ("WARNING", None, "stats: 0 xacts/s")


def test_a_line_of_an_old_release() -> None:
    line = parse_line(b"2017-03-01 10:00:00.123 4711 ERROR S-0x1a: a/b@1.2.3.4:5 no", 0)
    assert (line.time, line.pid, line.level) == ("2017-03-01 10:00:00.123", 4711, "ERROR")
    assert line.connection == Connection("server", "0x1a", "a", "b", "1.2.3.4:5")


@pytest.mark.parametrize(
    "text", ["", "Traceback (most recent call last):", f"{HEAD}OTHER x", "C-0x1: a/b@c:1 x"]
)
def test_a_line_of_another_form_is_all_message_and_has_the_level_of_the_one_before(text: str) -> None:
    line = parse_line(text.encode(), 7, "ERROR")
    assert line == LogLine(7, text, "", None, "ERROR", 0, None)


def test_bytes_that_are_no_text_and_control_characters_are_shown_harmlessly() -> None:
    line = parse_line(f"{HEAD}LOG \x1b[2J\tu\u202ev\x7f".encode() + b"\xff", 0)
    assert line.message == "␛[2J u\N{REPLACEMENT CHARACTER}v␡\\xff"


@given(st.text())
def test_whatever_is_printable_is_printed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert len(shown) <= max(1, len(text))


@given(st.binary(max_size=60), st.sampled_from([b"", HEAD.encode() + b"LOG C-0x1: "]))
def test_any_bytes_make_a_line(data: bytes, head: bytes) -> None:
    line = parse_line(head + data, 0)
    assert line.text.isprintable()
    assert line.text.endswith(line.message)


def test_a_row_of_show_log() -> None:
    line = line_of_row("2026-11-20 18:11:07.160 UTC", "ERROR", "C-0x17: shop/web@h:1 no\x1b", 3)
    assert line.text == "2026-11-20 18:11:07.160 UTC ERROR C-0x17: shop/web@h:1 no␛"
    assert line.message == "no␛"
    assert line.connection == Connection("client", "0x17", "shop", "web", "h:1")


def fill(book: LogBook, *texts: str) -> tuple[int, int]:
    return book.add(parse_lines([text.encode() for text in texts], book.next_number, book.last_level))


def texts(book: LogBook) -> list[str]:
    return [book[position].text for position in range(len(book))]


def test_a_level_hides_what_is_less_bad() -> None:
    book = LogBook()
    lines = [f"{HEAD}{level} x" for level in ("NOISE", "DEBUG", "LOG", "WARNING", "ERROR", "FATAL")]
    fill(book, "not ours", *lines, "more of it")
    book.set_filter(LogFilter("WARNING"))
    assert texts(book) == ["not ours", *lines[3:], "more of it"]
    book.set_filter(LogFilter())
    assert len(book) == book.total == 8


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", ["Login web", "login [app]", "/tmp/x"]),
        ("LOGIN", ["Login web", "login [app]"]),
        ("[app]", ["login [app]"]),
        ("/^login .a/", ["login [app]"]),
        ("/web|x$/", ["Login web", "/tmp/x"]),
        ("/tmp", ["/tmp/x"]),
        ("nothing", []),
    ],
)
def test_a_text_is_looked_for_as_it_is_and_between_slashes_as_a_regular_expression(
    typed: str, found: list[str]
) -> None:
    book = LogBook()
    fill(book, "Login web", "login [app]", "/tmp/x")
    book.set_filter(LogFilter(pattern=pattern_of(typed)))
    assert texts(book) == found


def test_what_is_no_regular_expression_says_so_in_words() -> None:
    assert pattern_of("/(a/").problem.startswith("no regular expression: missing ), unterminated subpattern")
    assert pattern_of("/a{99999999999999999999}/").problem.startswith("no regular expression: ")
    assert pattern_of("/a").problem == ""


def test_where_it_is_found_is_told() -> None:
    assert list(pattern_of("an").spans("Banane")) == [(1, 3), (3, 5)]
    assert list(pattern_of("/x*/").spans("axxb")) == [(1, 3)]
    assert list(pattern_of("").spans("a")) == []


@given(st.lists(st.lists(st.sampled_from(["a", "b"]), max_size=9), max_size=9), st.integers(1, 7))
def test_the_last_lines_are_kept_and_those_that_pass_are_counted(rounds: list[list[str]], kept: int) -> None:
    book, others = LogBook(kept), LogBook(kept)
    book.set_filter(LogFilter(pattern=pattern_of("a")))
    everything: list[str] = []
    for lines in rounds:
        before = texts(book)
        came, left = fill(book, *lines)
        fill(others, *lines)
        everything += lines
        assert texts(book) == [text for text in everything[-kept:] if text == "a"]
        assert len(before) + came - left == len(book)
    others.set_filter(book.filter)
    assert texts(others) == texts(book)
    assert book.total == min(kept, len(everything))


def test_a_line_is_found_by_its_number_or_the_next_one_that_passes_is() -> None:
    book = LogBook(4)
    fill(book, "a0", "b1", "a2", "b3", "a4", "b5")
    book.set_filter(LogFilter(pattern=pattern_of("a")))
    assert [book.position_of(number) for number in (0, 2, 3, 4, 5)] == [0, 0, 1, 1, 2]
    book.clear()
    assert (len(book), book.total, book.next_number) == (0, 0, 6)


def test_as_many_lines_are_kept_as_the_pooler_keeps() -> None:
    book = LogBook()
    fill(book, *["x"] * (KEPT + 5))
    assert (book.total, book[0].number) == (10_000, 5)


def row(line: int, message: str = "x") -> tuple[int, str, str, str]:
    return (line, f"12:00:0{line}", "LOG", message)


def test_show_log_is_asked_for_what_is_new() -> None:
    log = ShowLog()
    assert log.query == "SHOW LOG"
    assert log.take([row(1), row(2)]) == [row(1), row(2)]
    assert log.query == "SHOW LOG WHERE line >= 2"
    assert log.take([row(2)]) == []
    assert log.take([row(2), row(3)]) == [row(3)]
    assert log.query == "SHOW LOG WHERE line >= 3"


def test_lines_that_the_pooler_has_forgotten_meanwhile_are_not_waited_for() -> None:
    log = ShowLog()
    log.take([row(1)])
    assert log.take([row(7), row(8)]) == [row(7), row(8)]


@pytest.mark.parametrize("answer", [[], [row(3, "another")], [(3, "13:00", "LOG", "x"), row(4)]])
def test_a_pooler_that_was_started_anew_is_asked_from_its_first_line_on(
    answer: list[tuple[int, str, str, str]],
) -> None:
    log = ShowLog()
    log.take([row(2), row(3)])
    assert log.take(answer) is None
    assert log.query == "SHOW LOG"
    assert log.take([row(1, "new")]) == [row(1, "new")]


def test_a_pooler_without_a_line_has_none() -> None:
    log = ShowLog()
    assert log.take([]) == []
    assert log.query == "SHOW LOG"
