"""The language of pgbouncer.ini, item by item."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.config.errors import ConfigError, ConfigErrors, Origin
from pooler.config.ini import MAX_INCLUDE_DEPTH, Item, KeyValue, SectionStart, parse_ini

SYNTAX = "syntax error: expected [section], key = value or %include FILE"


def items(directory: Path, text: str) -> list[Item]:
    (directory / "a.ini").write_bytes(text.encode("latin-1"))
    return parse_ini("a.ini")


def short(item: Item) -> str:
    """An item as one line, so that a table of expectations can be read."""
    match item:
        case SectionStart(name, origin):
            return f"{origin.line}[{name}]"
        case KeyValue(key, value, origin):
            return f"{origin.line} {key}={value}"
        case ConfigError(_, line, message):
            return f"{line}! {message}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \t\n", []),
        ("[s]\nk = v\n", ["1[s]", "2 k=v"]),
        ("[s]\nk = v", ["1[s]", "2 k=v"]),
        ("[s]\r\nk = v\r\n", ["1[s]", "2 k=v"]),
        (" \v\f[s]\n \t k\t=\t v \t\n", ["1[s]", "2 k=v"]),  # an indented line is a line
        ("k=v w ; x # y\n", ["1 k=v w ; x # y"]),
        (";c\n#c\n  ; c\n \t# c\nk=v", ["5 k=v"]),
        ("k='v'\nl=\"v\"", ["1 k='v'", '2 l="v"']),
        ("k=\n", ["1 k="]),
        ("k==v\n", ["1 k==v"]),
        ("k=a=b\n", ["1 k=a=b"]),
        ("a.b-c*d_9=v\n*=w", ["1 a.b-c*d_9=v", "2 *=w"]),
        ("'a b\"[;#='= v", ['1 a b"[;#==v']),
        ("[a] k=v\n[b][c] [d] # x", ["1[a]", "1 k=v", "2[b]", "2[c]", "2[d]"]),
        ("[ a ]\n[]", ["1[ a ]", "2[]"]),
        ("[a;b]\n", ["1[a;b]"]),
        ("k=v\0\n[never]", ["1 k=v"]),
        ("k=\xfc\n", ["1 k=\udcfc"]),
        ("k=\xc3\xbc\n", ["1 k=ü"]),
    ],
)
def test_items(directory: Path, text: str, expected: list[str]) -> None:
    assert [short(item) for item in items(directory, text)] == expected


@pytest.mark.parametrize(
    "line",
    [
        "k",
        "k v",
        "k\r",
        "=v",
        '"k"=v',
        "'k=v",
        "''=v",
        "'k' x=v",
        "\xa0k=v",
        "\xef\xbb\xbfk=v",
        "k\xfc=v",
        "]",
        "%include",
        "%include  ",
        "%includex",
        "%INCLUDE x",
    ],
)
def test_a_line_that_is_nothing_is_an_error_and_reading_goes_on(directory: Path, line: str) -> None:
    assert [short(item) for item in items(directory, f"a=1\n{line}\nb=2")] == [
        "1 a=1",
        f"2! {SYNTAX}",
        "3 b=2",
    ]


def test_a_key_and_its_equals_sign_stand_on_one_line(directory: Path) -> None:
    assert [short(item) for item in items(directory, "k\n=v")] == [f"1! {SYNTAX}", f"2! {SYNTAX}"]
    assert [short(item) for item in items(directory, "'k\nl'=v")] == [f"1! {SYNTAX}", f"2! {SYNTAX}"]


def test_a_section_without_its_bracket_is_an_error_and_still_starts(directory: Path) -> None:
    assert [short(item) for item in items(directory, "[s\nk=v")] == [
        "1! syntax error: the name of a section ends with ]",
        "1[s]",
        "2 k=v",
    ]


def test_an_included_file_stands_in_the_place_of_its_line(directory: Path) -> None:
    (directory / "b file.ini").write_text("x=1\n[t]\n")
    assert items(directory, "[s]\n[u] %include \t b file.ini \r\ny=2") == [
        SectionStart("s", Origin("a.ini", 1)),
        SectionStart("u", Origin("a.ini", 2)),
        KeyValue("x", "1", Origin("b file.ini", 1)),
        SectionStart("t", Origin("b file.ini", 2)),
        KeyValue("y", "2", Origin("a.ini", 3)),
    ]


def test_a_file_may_be_included_twice(directory: Path) -> None:
    (directory / "b.ini").write_text("x=1\n")
    assert [short(item) for item in items(directory, "%include b.ini\n%include b.ini")] == ["1 x=1", "1 x=1"]


def test_included_names_are_relative_to_the_working_directory(directory: Path) -> None:
    (directory / "conf").mkdir()
    (directory / "conf/b.ini").write_text("%include c.ini\n")
    (directory / "conf/c.ini").write_text("wrong=1\n")
    (directory / "c.ini").write_text("right=1\n")
    assert [short(item) for item in items(directory, "%include conf/b.ini")] == ["1 right=1"]


@pytest.mark.parametrize("depth", [MAX_INCLUDE_DEPTH, MAX_INCLUDE_DEPTH + 1])
def test_includes_go_ten_files_deep(directory: Path, depth: int) -> None:
    for level in range(1, depth):
        (directory / f"{level}.ini").write_text(f"%include {level + 1}.ini\n")
    (directory / f"{depth}.ini").write_text("deep=1\n")
    read = items(directory, "%include 1.ini")
    if depth == MAX_INCLUDE_DEPTH:
        assert read == [KeyValue("deep", "1", Origin("10.ini", 1))]
    else:
        assert read == [ConfigError("10.ini", 1, "include nesting level too deep")]


@pytest.mark.parametrize("name", ["a.ini", "./a.ini", "link.ini"])
def test_a_file_that_includes_itself_is_an_error(directory: Path, name: str) -> None:
    (directory / "link.ini").symlink_to("a.ini")
    assert [short(item) for item in items(directory, f"k=v\n%include {name}\nl=w")] == [
        "1 k=v",
        f'2! file "{name}" includes itself',
        "3 l=w",
    ]


def test_a_longer_cycle_is_an_error_where_it_closes(directory: Path) -> None:
    (directory / "b.ini").write_text("\n%include a.ini\n")
    assert items(directory, "%include b.ini") == [ConfigError("b.ini", 2, 'file "a.ini" includes itself')]


@pytest.mark.parametrize(
    ("name", "reason"), [("none.ini", "No such file or directory"), ("conf", "Is a directory")]
)
def test_an_unreadable_include_is_an_error_at_its_line(directory: Path, name: str, reason: str) -> None:
    (directory / "conf").mkdir()
    assert items(directory, f"\n%include {name}") == [
        ConfigError("a.ini", 2, f'could not load file "{name}": {reason}')
    ]


def test_an_unreadable_file_raises(directory: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        parse_ini("none.ini")
    assert str(raised.value) == 'none.ini: could not load file "none.ini": No such file or directory'


def test_the_repr_of_a_pair_has_no_value() -> None:
    assert "hunter2" not in repr(KeyValue("db", "password=hunter2", Origin("a.ini", 1)))


def test_an_error_can_always_be_printed() -> None:
    assert str(ConfigError("\udcff.ini", 3, "bad \udcfe")).encode() == rb"\udcff.ini:3: bad \udcfe"


@given(st.binary())
def test_any_file_gives_items_with_lines_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.ini"
    path.write_bytes(data)
    lines = data.count(b"\n") + 1
    for item in parse_ini(str(path)):
        line = item.line if isinstance(item, ConfigError) else item.origin.line
        assert line is not None
        assert 1 <= line <= lines
