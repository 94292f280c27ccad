"""SASLprep as PostgreSQL does it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth.saslprep import saslprep


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        pytest.param("I\u00adX", b"IX", id="soft-hyphen-vanishes"),
        pytest.param("USER", b"USER", id="case-is-kept"),
        pytest.param("\u00aa", b"a", id="compatibility-character"),
        pytest.param("\u2168", b"IX", id="roman-numeral"),
        pytest.param("a\u00a0b", b"a b", id="no-break-space"),
        pytest.param("a\u200bb", b"a b", id="zero-width-space-is-a-space-first"),
        pytest.param("e\u0301", "\u00e9".encode(), id="composed"),
        pytest.param("\u0627\u0628", "\u0627\u0628".encode(), id="right-to-left"),
    ],
)
def test_text_is_mapped_and_normalized(password: str, prepared: bytes) -> None:
    assert saslprep(password) == prepared


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("\u00e9\u0007", id="control-character"),
        pytest.param("\u00e9\u0221", id="unassigned-in-unicode-3.2"),
        pytest.param("\u2168\ue000", id="private-use"),
        pytest.param("\u0340\u00aa", id="prohibited-before-normalization"),
        pytest.param("\u00b2\u0627", id="right-to-left-must-begin-so"),
        pytest.param("\u0627\u00b2", id="right-to-left-must-end-so"),
        pytest.param("\u0627\u2168x\u0627", id="directions-mixed"),
        pytest.param("\u00ad", id="nothing-left"),
        pytest.param("\u2168\udcff", id="not-utf-8"),
    ],
)
def test_what_fails_a_check_is_used_raw(password: str) -> None:
    assert saslprep(password) == password.encode("utf-8", "surrogateescape")


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_taken_as_it_is_even_with_control_characters(password: str) -> None:
    assert saslprep(password) == password.encode("ascii")


@given(st.binary())
def test_any_bytes_can_be_a_password(raw: bytes) -> None:
    prepared = saslprep(raw.decode("utf-8", "surrogateescape"))
    assert bool(prepared) == bool(raw)
