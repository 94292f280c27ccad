"""The configuration as it would be with an edited text."""

from __future__ import annotations

import os
import stat
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.config.atomic import EditRefused
from tui.files.configuration import Configuration, Rules, effects, write
from tui.files.difference import NO_NEWLINE, DiffLine, unified_diff

NOW = datetime(2026, 11, 21, 19, 30)

MAIN = b"[databases]\nshop = host=10.0.0.1 password=old\n[pgbouncer]\n%include limits.ini\npkt_buf = 4096\n"


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A configuration of two files, in a directory that is not the one that the test runs in."""
    (tmp_path / "limits.ini").write_bytes(b"; limits\nmax_client_conn = 10\n")
    main = tmp_path / "pgbouncer.ini"
    main.write_bytes(MAIN)
    main.chmod(0o640)
    return main


def said(configuration: Configuration, edited: dict[str, bytes]) -> list[str]:
    return [str(error) for error in configuration.check(edited).errors]


def test_a_good_file_is_read_with_its_includes(main: Path) -> None:
    checked = Configuration(str(main)).check()
    assert checked.errors == ()
    assert checked.snapshot is not None
    assert list(checked.snapshot.databases) == ["shop"]
    assert checked.includes == ("limits.ini",)


def test_mistakes_of_a_text_that_is_not_written_yet_have_their_lines(main: Path) -> None:
    configuration = Configuration(str(main))
    text = MAIN.replace(b"pkt_buf = 4096", b"pkt_buff = 4096\nverbose = many\nnonsense")
    assert said(configuration, {str(main): text}) == [
        f"{main}:5: unknown parameter: pgbouncer/pkt_buff",
        f'{main}:6: invalid value "many" for parameter verbose: '
        "expected an integer from -2147483648 to 2147483647",
        f"{main}:7: syntax error: expected [section], key = value or %include FILE",
    ]
    assert main.read_bytes() == MAIN


def test_an_included_file_can_be_the_one_that_is_edited(main: Path) -> None:
    configuration = Configuration(str(main))
    limits = os.path.realpath(main.parent / "limits.ini")
    assert said(configuration, {limits: b"[pgbouncer]\nmax_client_conn = x\n"}) == [
        'limits.ini:2: invalid value "x" for parameter max_client_conn: '
        "expected an integer from -2147483648 to 2147483647",
    ]
    assert configuration.place("limits.ini") == str(main.parent / "limits.ini")


def test_an_include_that_is_not_there_is_a_mistake_of_the_line_that_names_it(main: Path) -> None:
    configuration = Configuration(str(main))
    assert said(configuration, {str(main): MAIN.replace(b"limits", b"gone")}) == [
        f'{main}:4: could not load file "gone.ini": No such file or directory'
    ]


def test_what_this_release_cannot_do_is_a_mistake_for_our_pooler_alone(main: Path) -> None:
    text = {str(main): MAIN + b"resolv_conf = /etc/other\n"}
    assert said(Configuration(str(main)), text) == [
        f"{main}:6: setting resolv_conf is not available in this release: the operating system looks up names"
    ]
    assert said(Configuration(str(main), Rules(own=False)), text) == []


def test_a_setting_that_the_running_pooler_does_not_have_is_a_mistake(main: Path) -> None:
    rules = Rules(own=False, known=frozenset({"pkt_buf"}))
    assert said(Configuration(str(main), rules), {}) == [
        "limits.ini:2: this pooler has no setting max_client_conn"
    ]


def test_effects_of_an_edit_say_what_takes_a_restart_and_hide_passwords(main: Path) -> None:
    configuration = Configuration(str(main))
    text = MAIN.replace(b"4096", b"8192\nauth_type = trust\nlog_stats = 0").replace(b"=old", b"=new")
    found = effects(configuration.check(), configuration.check({str(main): text}))
    assert [tuple(change) for change in found] == [
        ("pgbouncer", "auth_type", "changed", "md5", "trust", "reconnect"),
        ("pgbouncer", "log_stats", "changed", "1", "0", "now"),
        ("pgbouncer", "pkt_buf", "changed", "4096", "8192", "restart"),
        ("databases", "shop.password", "changed", "***", "***", "reconnect"),
    ]


def test_nothing_is_said_of_the_effects_on_a_file_that_cannot_be_read(main: Path) -> None:
    configuration = Configuration(str(main))
    bad = configuration.check({str(main): b"nonsense"})
    assert effects(bad, configuration.check()) == effects(configuration.check(), bad) == ()


def test_it_is_written_whole_and_the_old_content_stays_beside_it(main: Path) -> None:
    written = write(str(main), MAIN, b"new", NOW)
    assert written.path == str(main)
    assert written.backup == f"{main}.20261121T193000.bak"
    assert main.read_bytes() == b"new"
    assert Path(written.backup).read_bytes() == MAIN
    assert stat.S_IMODE(main.stat().st_mode) == stat.S_IMODE(os.stat(written.backup).st_mode) == 0o640
    assert write(str(main), b"new", b"newer", NOW).backup == f"{main}.20261121T193000.2.bak"


def test_a_symbolic_link_stays_one(main: Path) -> None:
    link = main.parent / "link.ini"
    link.symlink_to(main)
    written = write(str(link), MAIN, b"new", NOW)
    assert link.is_symlink()
    assert main.read_bytes() == b"new"
    assert written.backup == f"{main}.20261121T193000.bak"


def test_a_file_that_changed_since_it_was_opened_is_left_alone(main: Path) -> None:
    times = main.stat()
    main.write_bytes(MAIN.replace(b"4096", b"8192"))
    os.utime(main, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(EditRefused, match="somebody else has changed it since it was opened"):
        write(str(main), MAIN, b"new", NOW)
    assert main.read_bytes() == MAIN.replace(b"4096", b"8192")
    assert sorted(os.listdir(main.parent)) == ["limits.ini", "pgbouncer.ini"]


def test_a_file_that_is_gone_is_not_made_again(main: Path) -> None:
    main.unlink()
    with pytest.raises(EditRefused, match=r"pgbouncer\.ini: No such file or directory"):
        write(str(main), MAIN, b"new", NOW)
    assert os.listdir(main.parent) == ["limits.ini"]


def test_what_cannot_be_written_says_why(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(EditRefused, match=r"pgbouncer\.ini: Read-only file system"):
        write(str(main), MAIN, b"new", NOW)
    assert main.read_bytes() == MAIN


def test_a_diff_has_numbers_and_a_few_lines_around_each_change() -> None:
    old = "".join(f"{number}\n" for number in range(1, 21))
    new = old.replace("\n10\n", "\nten\nmore\n")
    assert unified_diff(old, new) == [
        DiffLine("@", "@ -7,7 +7,8 @@"),
        DiffLine(" ", "7", 7, 7),
        DiffLine(" ", "8", 8, 8),
        DiffLine(" ", "9", 9, 9),
        DiffLine("-", "10", 10, None),
        DiffLine("+", "ten", None, 10),
        DiffLine("+", "more", None, 11),
        DiffLine(" ", "11", 11, 12),
        DiffLine(" ", "12", 12, 13),
        DiffLine(" ", "13", 13, 14),
    ]
    assert unified_diff(old, old) == []


def test_a_diff_says_where_the_last_line_has_no_end() -> None:
    assert [str(line) for line in unified_diff("a", "a\n")] == [
        "@@ -1,1 +1,1 @@",
        "-a",
        f"@{NO_NEWLINE}",
        "+a",
    ]


@given(st.text("ab\n", max_size=20), st.text("ab\n", max_size=20))
def test_a_diff_of_anything_leads_from_one_to_the_other(old: str, new: str) -> None:
    lines = unified_diff(old, new)
    assert bool(lines) == (old != new)
    before, after = old.split("\n"), new.split("\n")
    assert all(before[line.old - 1] == line.text for line in lines if line.old is not None)
    assert all(after[line.new - 1] == line.text for line in lines if line.new is not None)
    shown = {line.new for line in lines if line.new is not None}
    removed = sum(line.sign == "-" for line in lines)
    added = sum(line.sign == "+" for line in lines)
    assert len(old.splitlines()) - removed + added == len(new.splitlines())
    assert shown <= set(range(1, len(after) + 1))
