"""Edits of a userlist.txt: what was not meant stays as it was, byte for byte."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pooler.config.userlist import BrokenUserlist, parse_userlist, userlist_line, with_user, without_user

FILE = (
    "; the applications\n"
    '"app" "1"   ; since March\r\n'
    '\n\t"we""ird" "two ""2""" rest\n'
    '; "old" "x"\n'
    '"batch"\n  "3"\n'
)

texts = st.text('ab" ;\r\n\ufeffü', max_size=40)
names = st.text('ab"é\n\udcff', min_size=1, max_size=4)
secrets = st.text('xy"\n ', max_size=6)


@pytest.mark.parametrize(
    ("user", "secret", "edited"),
    [
        ("app", "new", FILE.replace('"1"', '"new"')),
        ("app", "", FILE.replace('"1"', '""')),
        ("app", r"\1 \g<0>", FILE.replace('"1"', r'"\1 \g<0>"')),
        ('we"ird', 'a"b', FILE.replace('"two ""2"""', '"a""b"')),
        ("batch", "new", FILE.replace('"3"', '"new"')),
        ("old", "new", FILE + '"old" "new"\n'),
        ("App", "new", FILE + '"App" "new"\n'),
    ],
)
def test_the_secret_of_a_user_is_changed_where_it_stands(user: str, secret: str, edited: str) -> None:
    assert with_user(FILE, user, secret) == edited


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("", '"u" "s"\n'),
        ('"a" "b"', '"a" "b"\n"u" "s"\n'),
        ('"a" "b"\n', '"a" "b"\n"u" "s"\n'),
        ('"a" "b"\n\n', '"a" "b"\n\n"u" "s"\n'),
        ("; comment", '; comment\n"u" "s"\n'),
        ('"a" "b"\r\n', '"a" "b"\r\n"u" "s"\r\n'),
        ('"a" "b"\r\n"c" "d"', '"a" "b"\r\n"c" "d"\r\n"u" "s"\r\n'),
        ('"a" "b"\n"c" "d"\r\n', '"a" "b"\n"c" "d"\r\n"u" "s"\n'),
        ('"a" "b"\r', '"a" "b"\r\n"u" "s"\n'),
    ],
)
def test_a_new_user_comes_last_on_a_line_that_ends_as_the_first_does(text: str, edited: str) -> None:
    assert with_user(text, "u", "s") == edited


@pytest.mark.parametrize(
    ("user", "edited"),
    [
        ("app", FILE.replace('"app" "1"   ; since March\r\n', "")),
        ('we"ird', FILE.replace('\t"we""ird" "two ""2""" rest\n', "")),
        ("batch", FILE.replace('"batch"\n  "3"\n', "")),
        ("old", FILE),
    ],
)
def test_a_user_is_removed_with_the_whole_line(user: str, edited: str) -> None:
    assert without_user(FILE, user) == edited


def test_a_user_is_removed_from_a_last_line_without_an_end() -> None:
    assert without_user('"a" "1"\n"b" "2"', "b") == '"a" "1"\n'
    assert without_user('"b" "2"', "b") == ""


def test_no_entry_of_a_user_is_forgotten() -> None:
    """Removing the last one would bring an old password back to life."""
    text = '"u" "1"\n"a" "2"\n"u" "3"\n'
    assert with_user(text, "u", "new") == '"u" "new"\n"a" "2"\n"u" "new"\n'
    assert without_user(text, "u") == '"a" "2"\n'


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ('"a" "1"\n# no comment\n', "broken auth file", 2),
        ('"a" "1"\n"u" "2\n', "broken auth file", 2),
        ('"a" "1"\n\n"' + "n" * 128 + '" "2"\n', "username too long in auth file", 3),
        ('"u" "1"\n\0"a" "2"\n', "nothing behind a zero byte is read", 2),
    ],
)
def test_a_broken_file_is_not_edited(text: str, reason: str, line: int) -> None:
    with pytest.raises(BrokenUserlist, match=reason) as caught:
        with_user(text, "u", "s")
    assert caught.value.line == line
    with pytest.raises(BrokenUserlist, match=reason):
        without_user(text, "u")


@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ("", "s"),
        ("u\0", "s"),
        ("u", "\0"),
        ("u" * 128, "s"),
        ("é" * 64, "s"),
        ('"' * 64, "s"),
        ("u", "s" * 65531),
    ],
)
def test_what_no_reader_takes_makes_no_line(user: str, secret: str) -> None:
    with pytest.raises(ValueError, match=r"empty|zero byte|too long"):
        userlist_line(user, secret)
    with pytest.raises(ValueError, match=r"empty|zero byte|too long"):
        with_user(FILE, user, secret)


@given(names, secrets)
def test_a_line_is_read_as_what_it_was_made_of(user: str, secret: str) -> None:
    assert parse_userlist(userlist_line(user, secret)).users == {user: secret}


@given(texts, names, secrets)
@example('"a" "b"\r', "u", "s")
def test_one_user_changes_and_nothing_else(text: str, user: str, secret: str) -> None:
    before = parse_userlist(text)
    if before.error is not None:
        with pytest.raises(BrokenUserlist):
            with_user(text, user, secret)
        return
    after = with_user(text, user, secret)
    assert parse_userlist(after).users == {**before.users, user: secret}
    if user not in before.users:
        assert after.startswith(text)
    assert with_user(with_user(text, user, "other"), user, secret) == after


@given(st.lists(st.tuples(names, secrets), max_size=4), st.sampled_from(["\n", "\r\n"]), names, secrets)
def test_taking_a_new_user_away_gives_the_old_file_back(
    entries: list[tuple[str, str]], line_end: str, user: str, secret: str
) -> None:
    text = "".join(f"{userlist_line(*entry)}{line_end}" for entry in entries)
    without = without_user(text, user)
    assert without_user(with_user(without, user, secret), user) == without
    assert user not in parse_userlist(without).users


@given(st.binary(max_size=30), secrets)
def test_a_comment_keeps_its_bytes(comment: bytes, secret: str) -> None:
    line = b"; " + comment.replace(b"\n", b"").replace(b"\0", b"") + b'\n"u" "'
    text = (line + b'1"').decode("utf-8", "surrogateescape")
    edited = with_user(text, "u", secret).encode("utf-8", "surrogateescape")
    assert edited == line + secret.replace('"', '""').encode() + b'"'
