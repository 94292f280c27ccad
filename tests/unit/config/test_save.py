"""SAVE CONFIG: what is written where, and that nothing else changes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pooler.config.atomic import EditRefused
from pooler.config.save import Saved, carry_out, plan_save
from pooler.config.settings import SETTINGS
from pooler.config.snapshot import ConfigErrors, Origin, Snapshot, load


def save(text: str, **values: str) -> str:
    """The file after it was loaded and saved; it is a.ini of the directory."""
    Path("a.ini").write_bytes(text.encode("latin-1"))
    carry_out(plan_save(load("a.ini"), values))
    return Path("a.ini").read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[pgbouncer]\nverbose = 0\n", "[pgbouncer]\nverbose = 3\n"),
        ("[pgbouncer]\r\nverbose=0\r\n", "[pgbouncer]\r\nverbose=3\r\n"),
        ("[pgbouncer]\n\t verbose \t=  0 \t\n", "[pgbouncer]\n\t verbose \t=  3 \t\n"),
        ("[pgbouncer]\nverbose =\n", None),  # an empty text is no number
        ("[pgbouncer]\n'verbose'=0", "[pgbouncer]\n'verbose'=3"),
        ("[pgbouncer] verbose=0\n", "[pgbouncer] verbose=3\n"),
        (
            "[pgbouncer]\nverbose=1\nverbose=2\n;verbose=9\n",
            "[pgbouncer]\nverbose=1\nverbose=3\n;verbose=9\n",
        ),
        (
            "; c\n[pgbouncer]\n# d\n;verbose=0\nlogfile=\xfc\n\n; e\n[databases]\nx=\n",
            "; c\n[pgbouncer]\n# d\n;verbose=0\nlogfile=\xfc\nverbose = 3\n\n; e\n[databases]\nx=\n",
        ),
        ("[pgbouncer]", "[pgbouncer]\nverbose = 3"),
        ("[pgbouncer]\r\n[users]\r\n", "[pgbouncer]\r\nverbose = 3\r\n[users]\r\n"),
        ("[pgbouncer][users]\n\n", "[pgbouncer][users]\n\n[pgbouncer]\nverbose = 3\n"),
        ("[pgbouncer][users]", "[pgbouncer][users]\n[pgbouncer]\nverbose = 3"),
        (
            "[pgbouncer]\npkt_buf=1\n[users]\n[pgbouncer]\n",
            "[pgbouncer]\npkt_buf=1\n[users]\n[pgbouncer]\nverbose = 3\n",
        ),
        ("[pgbouncer]\0\nverbose=0\n", "[pgbouncer]\nverbose = 3\0\nverbose=0\n"),
    ],
)
def test_where_a_setting_is_written(directory: Path, before: str, after: str | None) -> None:
    if after is None:
        with pytest.raises(ConfigErrors):
            save(before, verbose="3")
    else:
        assert save(before, verbose="3") == after


def test_an_earlier_section_that_a_later_one_takes_back_is_not_it(directory: Path) -> None:
    before = "[pgbouncer]\npkt_buf=1\n[users]\n[pgbouncer]\nlogfile=x\n"
    assert save(before, pkt_buf="2") == before + "pkt_buf = 2\n"


def test_several_at_once(directory: Path) -> None:
    before = "[pgbouncer]\npkt_buf=1\n[users]\n"
    after = "[pgbouncer]\npkt_buf=2\nstats_period = 7\nlogfile =\n[users]\n"
    assert save(before, stats_period="7", pkt_buf="2", logfile="") == after


def test_it_says_what_stands_where(directory: Path) -> None:
    Path("a.ini").write_text("[pgbouncer]\npkt_buf=1\n%include b.ini\n[users]\n")
    Path("b.ini").write_text("verbose = 0\n")
    plan = plan_save(load("a.ini"), {"stats_period": "7", "verbose": "2"})
    assert plan.saved == (
        Saved("stats_period", None, "7", Origin("a.ini", 3)),
        Saved("verbose", "0", "2", Origin("b.ini", 1)),
    )
    backups = carry_out(plan)
    assert backups == [os.path.realpath("a.ini.bak"), os.path.realpath("b.ini.bak")]
    assert Path("a.ini").read_text() == "[pgbouncer]\npkt_buf=1\nstats_period = 7\n%include b.ini\n[users]\n"
    assert Path("b.ini").read_text() == "verbose = 2\n"
    assert Path("b.ini.bak").read_text() == "verbose = 0\n"
    assert replace(load("a.ini"), explicit={}) == replace(plan.result, explicit={})


@pytest.mark.parametrize("value", [" 1", "1\n", "a\nb", "a\0b", "\t"])
def test_values_that_no_file_can_hold(directory: Path, value: str) -> None:
    with pytest.raises(EditRefused, match="no file can hold"):
        save("[pgbouncer]\n", logfile=value)


@pytest.mark.parametrize("name", ["a.ini", "b.ini"])
def test_a_file_that_has_changed_since_it_was_loaded_is_refused(directory: Path, name: str) -> None:
    Path("a.ini").write_text("[pgbouncer]\n%include b.ini\n")
    Path("b.ini").write_text("verbose=1\n")
    loaded = load("a.ini")
    with Path(name).open("a") as file:
        file.write("; new\n")
    with pytest.raises(EditRefused, match=f"{name}: has changed since it was loaded"):
        plan_save(loaded, {"verbose": "3"})


def test_a_file_that_changes_between_plan_and_writing_is_left_alone(directory: Path) -> None:
    Path("a.ini").write_text("[pgbouncer]\n")
    plan = plan_save(load("a.ini"), {"verbose": "3"})
    Path("a.ini").write_text("[pgbouncer]\nverbose=1\n")
    with pytest.raises(EditRefused, match="somebody else"):
        carry_out(plan)
    assert Path("a.ini").read_text() == "[pgbouncer]\nverbose=1\n"


def test_if_one_file_cannot_be_written_the_others_are_as_before(directory: Path) -> None:
    Path("a.ini").write_text("[pgbouncer]\n%include b.ini\n")
    Path("b.ini").write_text("verbose=1\n")
    plan = plan_save(load("a.ini"), {"verbose": "3", "pkt_buf": "9"})
    Path("b.ini").write_text("verbose=2\n")
    with pytest.raises(EditRefused):
        carry_out(plan)
    assert Path("a.ini").read_text() == "[pgbouncer]\n%include b.ini\n"


def test_a_line_that_counts_twice_is_refused(directory: Path) -> None:
    """One line of an included file would be two settings of two meanings only if a section began in it."""
    Path("a.ini").write_text("[pgbouncer]\n%include b.ini\n%include b.ini\n")
    Path("b.ini").write_text("verbose=1\n")
    plan = plan_save(load("a.ini"), {"verbose": "3"})
    assert plan.result.settings.verbose == 3


LINES = st.sampled_from(
    [
        *("[pgbouncer]", "[databases]", "[users]", " [pgbouncer] [users]", "[users][pgbouncer] verbose = 1"),
        *("; comment", "#", "", " \t", "\v", "x = host=h port=5433", "bob = pool_size=3", "\xfc = user=\xfc"),
        *("verbose = 1", "verbose=2 \t", " stats_period=5", "logfile = a b ; c", "logfile=", "'logfile' = '"),
        *(
            "%include b.ini",
            "auth_user = x",
            "stats_users = a, b",
            "%include\tb.ini ",
            "[pgbouncer]verbose=0",
        ),
        *("pool_mode = Statement", "junk", "\0", "server_lifetime = 1e1"),
    ]
)
ANY = st.text(st.characters(codec="latin-1", exclude_characters="\n"), max_size=9)
ANY_LINES = st.builds("{}{}".format, st.sampled_from([";", " # ", "logfile=", "auth_user = ", "'x y'="]), ANY)
ENDS = st.sampled_from(["\n", "\r\n", " \n"])
TEXTS = st.lists(st.tuples(LINES | ANY_LINES, ENDS), max_size=12).map(
    lambda lines: "".join(a + b for a, b in lines)
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "verbose": st.sampled_from(["0", "3", "0x2"]),
        "logfile": st.text(st.characters(codec="utf-8", exclude_characters="\n\0")).map(
            lambda t: t.strip(" \t\n\v\f\r")
        ),
        "pool_mode": st.sampled_from(["session", "TRANSACTION"]),
        "auth_user": st.just("y"),
        "stats_users": st.sampled_from(["", "c", "[users]", "; no comment", "%include b.ini"]),
        "server_lifetime": st.just("7.5"),
    },
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much], deadline=None
)
@given(st.booleans(), TEXTS, TEXTS, CHANGES)
@example(True, "[users]\n", "verbose=1", {"verbose": "3"})
@example(True, "logfile=\0\n", "", {"verbose": "0"})
@example(False, " [pgbouncer] [users]\r\n", "", {"verbose": "0"})
def test_what_is_saved_is_the_same_and_the_change(
    directory: Path, sane: bool, main: str, included: str, values: dict[str, str]
) -> None:
    files = {
        "a.ini": (f"[pgbouncer]\n{main}" if sane else main).encode("latin-1"),
        "b.ini": included.encode("latin-1"),
    }
    contents = {os.path.realpath(name): data for name, data in files.items()}

    def read(path: str) -> bytes:
        return contents[os.path.realpath(path)]

    try:
        loaded = load("a.ini", read)
    except ConfigErrors:
        assume(False)
        raise
    try:
        plan = plan_save(loaded, values, read)
    except EditRefused:
        # Only where the same line counts more than once can there be no way.
        assert main.count("b.ini") > 1
        return
    contents.update(plan.after)
    again = load("a.ini", read)
    expected = {name: SETTINGS[name].parse(text) for name, text in values.items()}
    assert _said(again) == _said(replace(loaded, settings=replace(loaded.settings, **expected)))
    for path, old in plan.before.items():
        _assert_only_these_lines_differ(old, contents[path], values)


def _said(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, explicit={})


def _assert_only_these_lines_differ(old: bytes, new: bytes, values: dict[str, str]) -> None:
    """Without the lines of the saved settings, and a new section head, old and new are the same bytes.

    What stands behind a NUL is not read, so that a new line may have to end where it stands.
    """
    (read_old, *unread_old), (read_new, *unread_new) = (data.split(b"\0", 1) for data in (old, new))
    assert unread_new == unread_old
    kept_old, kept_new = (
        [line for line in data.split(b"\n") if not any(name.encode() in line for name in values)]
        for data in (read_old, read_new)
    )
    heads = (b"[pgbouncer]", b"[pgbouncer]\r")  # a file of CRLF lines gets its new head with one too
    added = next((head for head in heads if kept_new.count(head) > kept_old.count(head)), None)
    if added is not None:
        kept_new.reverse()
        kept_new.remove(added)
        kept_new.reverse()
    assert kept_new == kept_old
