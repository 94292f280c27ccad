"""A file as a text: what is not edited keeps its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tui.files.document import MAX_BYTES, DocumentProblem, document_of, read_document

LINE = st.binary(max_size=12).map(lambda data: data.replace(b"\0", b"").replace(b"\n", b""))
END = st.sampled_from([b"\n", b"\r\n"])
FILE = st.builds(
    lambda lines, last: b"".join(line + end for line, end in lines) + last,
    st.lists(st.tuples(LINE, END), max_size=8),
    LINE,
)


@given(FILE)
@example(b"")
@example(b"\r\n\n\r\r\n\r")
@example(b"\xef\xbb\xbf[pgbouncer]\n")
@example("␛\x1b\ue000\x85\u2028".encode())
@example(b"\x1b\xff\x85\xad")
def test_every_byte_comes_back(data: bytes) -> None:
    document = document_of("a.ini", data)
    assert document.encode(document.text) == data


@given(FILE)
@example(b"a\x0bb\x0cc\x1cd\x85e\r\n")
def test_nothing_in_the_text_steers_a_terminal_or_ends_a_line_but_line_feeds(data: bytes) -> None:
    text = document_of("a.ini", data).text
    assert text.count("\n") == data.count(b"\n")
    assert len(text.splitlines()) in (text.count("\n"), text.count("\n") + 1)
    assert all(c in "\t\n" or c.isprintable() or "\ue000" <= c <= "\uf8ff" for c in text)


@given(st.lists(st.tuples(LINE, END), min_size=1, max_size=8), LINE, st.data())
def test_the_lines_around_a_changed_one_keep_their_bytes(
    lines: list[tuple[bytes, bytes]], last: bytes, data: st.DataObject
) -> None:
    before = [line + end for line, end in lines] + [last]
    document = document_of("a.ini", b"".join(before))
    place = data.draw(st.integers(0, len(before) - 1))
    changed = document.text.split("\n")
    changed[place] += "=xyz"
    after = document.encode("\n".join(changed)).split(b"\n")
    whole = b"".join(before).split(b"\n")
    assert after[:place] == whole[:place]
    assert after[place + 1 :] == whole[place + 1 :]
    assert after[place].replace(b"=xyz", b"", 1).rstrip(b"\r") == whole[place].rstrip(b"\r")


def test_a_new_line_ends_as_the_others_do() -> None:
    document = document_of("a.ini", b"[pgbouncer]\r\npkt_buf=1\r\n")
    assert document.text == "[pgbouncer]\npkt_buf=1\n"
    assert document.encode("[pgbouncer]\nverbose=1\npkt_buf=1\n") == (
        b"[pgbouncer]\r\nverbose=1\r\npkt_buf=1\r\n"
    )


def test_among_mixed_line_ends_only_new_lines_get_the_usual_one() -> None:
    document = document_of("a.ini", b"a\r\nb\nc\r\nd")
    assert document.encode("a\nx\nb\nc\nd") == b"a\r\nx\r\nb\nc\r\nd"
    assert document.encode("a\nB\nc\nd") == b"a\r\nB\nc\r\nd"


def test_a_missing_last_line_end_stays_missing_until_it_is_typed() -> None:
    document = document_of("a.ini", b"a\nb")
    assert document.encode("a\nc") == b"a\nc"
    assert document.encode("a\nb\n") == b"a\nb\n"


def test_a_file_that_is_not_utf_8_keeps_its_bytes_and_takes_only_what_it_can_hold() -> None:
    document = document_of("a.ini", b"; gr\xfc\xdfe\nx=1\n")
    assert document.encoding == "latin-1"
    assert document.encode(document.text.replace("x=1", "x=ä")) == b"; gr\xfc\xdfe\nx=\xe4\n"
    with pytest.raises(DocumentProblem, match=r"a\.ini:2: the file is not UTF-8, and has no '€'"):
        document.encode(document.text.replace("x=1", "x=€"))


def test_what_was_saved_is_the_new_beginning_in_the_same_encoding() -> None:
    document = document_of("a.ini", b"\xfc\r\n\xc3\xa4\n")
    saved = document.saved("x\n\xc3\xa4\nnew")
    assert saved.data == b"x\r\n\xc3\xa4\nnew"
    assert saved.encoding == "latin-1"
    assert saved.encode(saved.text) == saved.data


def test_a_stand_in_is_never_a_character_that_the_file_has() -> None:
    document = document_of("a.ini", "\x1b is not ␛".encode())
    assert document.stand_ins == {"\x1b": "\ue000"}
    assert document.text == "\ue000 is not ␛"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\0b", "is not a text, there are zero bytes in it"),
        (b"a" * (MAX_BYTES + 1), "bytes, which is too much"),
    ],
)
def test_what_is_no_configuration_is_not_opened(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.ini"
    path.write_bytes(content)
    with pytest.raises(DocumentProblem, match=said):
        read_document(str(path))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DocumentProblem, match=r"a\.ini: No such file or directory"):
        read_document(str(tmp_path / "a.ini"))
    with pytest.raises(DocumentProblem, match=": not a regular file"):
        read_document(str(tmp_path))
    with pytest.raises(DocumentProblem, match="not a file name"):
        read_document("a\0b")


def test_a_file_that_may_not_be_read_says_so() -> None:
    def read(path: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(DocumentProblem, match=r"^x\.ini: Permission denied"):
        read_document("x.ini", read)
