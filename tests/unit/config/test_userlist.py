"""userlist.txt, with the quirks of PgBouncer's reader."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.config.userlist import Userlist, UserlistFile, load_userlist, parse_userlist


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("", {}),
        (" \n\t\r\n", {}),
        ('"a" "b"', {"a": "b"}),
        ('"a" "b"\n"c" "d"\n', {"a": "b", "c": "d"}),
        ('"a" "b"\r\n"c" "d"\r\n', {"a": "b", "c": "d"}),
        ('  "a"\t"b" "rest" is ignored\n"c" "d"', {"a": "b", "c": "d"}),
        ('; "x" "y"\n  ; "x" "y"\n"a" "b"', {"a": "b"}),
        ('"a" "b" ; no comment', {"a": "b"}),
        ('"a" "x"\n"a" "y"', {"a": "y"}),
        ('"a" ""', {"a": ""}),
        ('"" "x"', {"": "x"}),
        ('"a""b" "c""d"', {'a"b': 'c"d'}),
        ('"a" """"', {"a": '"'}),
        ('"a" "b""\n"c" "d"', {"a": 'b"\n'}),
        ('"a""b"\n"c" "d"', {'a"b': "c"}),
        ('"a"\n"b"\n"c" "d"', {"a": "b", "c": "d"}),
        ('"a" junk "b"\n"c" "d"', {"a": "b", "c": "d"}),
        ('"a" "b\nc"', {"a": "b\nc"}),
        ('"a" "b"\n\0"c" "d"', {"a": "b"}),
        ('"u" "SCRAM-SHA-256$4096:c2FsdA==$a2V5:c2Vy"', {"u": "SCRAM-SHA-256$4096:c2FsdA==$a2V5:c2Vy"}),
    ],
)
def test_users(text: str, users: dict[str, str]) -> None:
    assert parse_userlist(text) == Userlist(users)


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("# no comment", "broken auth file", 2),
        ("\n\nbad", "broken auth file", 4),
        ('"x', "broken auth file", 2),
        ('"x"', "broken auth file", 2),
        ('"x" y', "broken auth file", 2),
        ('"x" "y', "broken auth file", 2),
        ('"x" "y""', "broken auth file", 2),
        ("\ufeff", "broken auth file", 2),
        ('"' + "u" * 128 + '" "x"', "username too long in auth file", 2),
        ('"' + "é" * 64 + '" "x"', "username too long in auth file", 2),
        ('"' + '""' * 64 + '" "x"', "username too long in auth file", 2),
        ('"x" "' + "p" * 65531 + '"', "password too long in auth file", 2),
    ],
)
def test_an_error_keeps_the_users_above_it(text: str, error: str, line: int) -> None:
    assert parse_userlist('"first" "1"\n' + text) == Userlist({"first": "1"}, error, line)


def test_an_error_drops_the_users_below_it() -> None:
    userlist = parse_userlist('"a" "1"\n# not a comment\n"b" "2"\n')
    assert userlist == Userlist({"a": "1"}, "broken auth file", 2)


def test_the_longest_names_and_secrets() -> None:
    name = "u" * 127
    secret = "p" * 65530
    assert parse_userlist(f'"{name}" "{secret}"') == Userlist({name: secret})


def test_the_repr_has_no_secrets() -> None:
    assert "hunter2" not in repr(parse_userlist('"a" "hunter2"'))


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=15), st.text("a\"; 'ü\n")
    )
)
def test_what_is_quoted_comes_back(users: dict[str, str]) -> None:
    lines = ['"{}" "{}"'.format(user.replace('"', '""'), users[user].replace('"', '""')) for user in users]
    assert parse_userlist("\n".join(lines)) == Userlist(users)


@given(st.text('ab" ;#\n\0'))
def test_any_text_is_users_or_an_error_with_its_line(text: str) -> None:
    userlist = parse_userlist(text)
    assert (userlist.error is None) == (userlist.error_line is None)
    assert userlist.error in {None, "broken auth file"}


def test_bytes_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "userlist.txt"
    path.write_bytes(b'"m\xfcller" "\xff"\n')
    assert load_userlist(str(path)).users == {"m\udcfcller": "\udcff"}


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_userlist(str(tmp_path / "none"))


class TestUserlistFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "userlist.txt"
        path.write_text('"a" "1"\n')
        os.utime(path, ns=(0, 0))
        return path

    def test_it_is_read_once(self, path: Path) -> None:
        file = UserlistFile(str(path))
        assert file.load_if_changed() == Userlist({"a": "1"})
        assert file.load_if_changed() is None

    def test_a_change_of_the_same_size_is_seen_by_its_time(self, path: Path) -> None:
        file = UserlistFile(str(path))
        file.load_if_changed()
        path.write_text('"a" "2"\n')
        os.utime(path, ns=(0, 1))
        assert file.load_if_changed() == Userlist({"a": "2"})

    def test_a_change_of_size_is_seen_at_the_same_time(self, path: Path) -> None:
        file = UserlistFile(str(path))
        file.load_if_changed()
        path.write_text('"a" "22"\n')
        os.utime(path, ns=(0, 0))
        assert file.load_if_changed() == Userlist({"a": "22"})

    def test_a_replaced_file_is_seen(self, path: Path, tmp_path: Path) -> None:
        file = UserlistFile(str(path))
        file.load_if_changed()
        other = tmp_path / "other"
        other.write_text('"b" "1"\n')
        os.utime(other, ns=(0, 0))
        other.rename(path)
        assert file.load_if_changed() == Userlist({"b": "1"})

    def test_a_missing_file_is_reported_each_time_and_read_when_it_is_back(self, path: Path) -> None:
        file = UserlistFile(str(path))
        file.load_if_changed()
        hidden = path.rename(path.with_suffix(".away"))
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                file.load_if_changed()
        hidden.rename(path)
        assert file.load_if_changed() == Userlist({"a": "1"})
