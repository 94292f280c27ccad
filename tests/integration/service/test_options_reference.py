"""The command line against a real PgBouncer's, word for word."""

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pooler.service.options import Stop, parse
from tests.support.bouncer import find_pgbouncer
from tests.support.require import missing

FRAGMENTS = "- -- -q -v -d -R -u --user --user=x --us --ver --q=1 --reboot /nonexistent/a /nonexistent/b"

WORDS = st.lists(
    st.one_of(
        st.sampled_from(FRAGMENTS.split(" ")),
        st.text("qvdRux", max_size=4).map("-{}".format),
        st.text("userqitvbo=", max_size=5).map("--{}".format),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def reference() -> str:
    return find_pgbouncer() or missing("pgbouncer")


@settings(max_examples=150, deadline=None)
@given(words=WORDS)
@example(words=[])
@example(words=["-x"])
@example(words=["--ver"])
@example(words=["--user"])
@example(words=["-qu"])
@example(words=["--quiet=x"])
def test_usage_errors_are_those_of_the_reference(reference: str, words: list[str]) -> None:
    theirs = subprocess.run([reference, *words], capture_output=True, text=True, check=False)
    ours = _usage_error([reference, *words])
    if ours or "Try " in theirs.stderr:
        assert (1, ours) == (theirs.returncode, theirs.stderr)


def test_help_shows_the_options_of_the_reference(reference: str) -> None:
    theirs = subprocess.run([reference, "--help"], capture_output=True, text=True, check=True).stdout
    with pytest.raises(Stop) as raised:
        parse([reference, "--help"])
    ours = raised.value.text
    assert _option_column(ours) == _option_column(theirs)
    assert ours.splitlines()[:5] == theirs.splitlines()[:5]


def _usage_error(argv: list[str]) -> str:
    try:
        parse(argv)
    except Stop as stop:
        return "" if "later release" in stop.text else stop.text
    return ""


def _option_column(text: str) -> list[str]:
    return [line[:23] for line in text.splitlines() if line.startswith("  -")]
