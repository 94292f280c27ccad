"""Profiles of the console: what the file may say, and what is said of a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tui.profiles import Profile, ProfileError, ServerLogin, default_path, load_profiles

WHOLE = """\
default = "shop"

[profiles.shop]
target = "postgresql://ops@10.0.0.7:6432"
colour = "#aa5500"
read_only = true
interval = 2
theme = "nord"
log = "~/pooler.log"
ini = "/etc/pgbouncer/pgbouncer.ini"

[profiles.shop.alerts]
waiting_warning = 5

[profiles.shop.server]
user = "monitor"
sslmode = "require"

[profiles.production]
target = "host=db user=ops"
"""


def written(directory: Path, text: str, mode: int = 0o644) -> str:
    path = directory / "console.toml"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def refused(directory: Path, text: str) -> str:
    """What is said of the file, without its name."""
    path = written(directory, text)
    with pytest.raises(ProfileError) as caught:
        load_profiles(path)
    return str(caught.value).removeprefix(path)


def test_everything_that_a_profile_may_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ops")
    assert load_profiles(written(tmp_path, WHOLE)).choose("shop") == Profile(
        name="shop",
        target="postgresql://ops@10.0.0.7:6432",
        colour="#aa5500",
        read_only=True,
        interval=2.0,
        theme="nord",
        log="/home/ops/pooler.log",
        ini="/etc/pgbouncer/pgbouncer.ini",
        alerts={"waiting_warning": 5},
        server=ServerLogin(user="monitor", sslmode="require"),
    )


def test_the_default_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    profiles = load_profiles(written(tmp_path, WHOLE))
    assert profiles.choose(None).name == "shop"
    assert profiles.choose("production").target == "host=db user=ops"
    with pytest.raises(ProfileError, match=r"no profile prod in .*console.toml, which has: shop, production"):
        profiles.choose("prod")


def test_without_a_default_nothing_is_said(tmp_path: Path) -> None:
    assert load_profiles(written(tmp_path, "[profiles.shop]\n")).choose(None) == Profile()


@pytest.mark.parametrize(
    ("text", "careful"),
    [
        ("[profiles.it]", False),
        ("[profiles.it]\nproduction = true", True),
        ("[profiles.production]", True),
        ("[profiles.Prod]", True),
        ("[profiles.prod]\nproduction = false", False),
    ],
)
def test_production_is_red_and_read_only(tmp_path: Path, text: str, careful: bool) -> None:
    (profile,) = load_profiles(written(tmp_path, text)).profiles.values()
    assert (profile.production, profile.read_only, profile.colour) == (
        careful,
        careful,
        "red" if careful else None,
    )


def test_production_may_be_told_otherwise(tmp_path: Path) -> None:
    text = '[profiles.prod]\nread_only = false\ncolour = "green"'
    profile = load_profiles(written(tmp_path, text)).choose("prod")
    assert (profile.production, profile.read_only, profile.colour) == (True, False, "green")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = 1", ":1: a: unknown key, known are: default, profiles"),
        ("\ndefault = 1", ":2: default: a text is expected"),
        ('default = "shop"', ":1: default: there is no profile shop"),
        ("profiles = 1", ":1: profiles: a table is expected"),
        ("[profiles]\nshop = 1", ":2: profiles.shop: a table is expected"),
        (
            '[profiles.shop]\ntarget = ""',
            ":2: profiles.shop.target: a text is expected",
        ),
        ('[profiles.shop]\nread_only = "yes"', ":2: profiles.shop.read_only: true or false is expected"),
        (
            "[profiles.a]\ninterval = 1\n[profiles.b]\ninterval = 0",
            ":4: profiles.b.interval: a number of seconds from 0.1 to 3600 is expected",
        ),
        (
            "[profiles.a]\ninterval = true",
            ":2: profiles.a.interval: a number of seconds from 0.1 to 3600 is expected",
        ),
        (
            '[profiles.a]\ncolour = "reddish"',
            ":2: profiles.a.colour: #rrggbb or one of red, orange, yellow, green, cyan, blue, magenta, grey"
            " is expected",
        ),
        ("[profiles.a]\nalerts = 5", ":2: profiles.a.alerts: a table is expected"),
        (
            "[profiles.a.alerts]\nmaxwait_warning = 1\nmaxwait_critical = -1",
            ":3: profiles.a.alerts.maxwait_critical: -1 is out of range",
        ),
        (
            "[profiles.a]\nalerts.clear_ticks = 0.5",
            ":2: profiles.a.alerts.clear_ticks: 0.5 is not a whole number",
        ),
        ("profiles.a.alerts = 5", ":1: profiles.a.alerts: a table is expected"),
        (
            '[profiles."a b".server] # here\npass = "x"',
            ":2: profiles.a b.server.pass: unknown key, known are: user, password, sslmode, sslrootcert",
        ),
        ("[profiles.a]\nserver = 5", ":2: profiles.a.server: a table is expected"),
        ("profiles = {a = {theme = 5}}", ": profiles.a.theme: a text is expected"),
        ("[profiles.a", ": Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, reason: str) -> None:
    assert refused(tmp_path, text) == reason


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[profiles.a]\ntarget = "postgresql://ops:secret@db"', 2),
        ('[profiles.a]\ntarget = "postgresql://ops@db?password=secret"', 2),
        ('[profiles.a]\ntarget = "host=db password=secret"', 2),
        ('[profiles.a.server]\nuser = "u"\npassword = "secret"', 3),
    ],
)
def test_a_password_has_to_be_kept_from_others(tmp_path: Path, text: str, line: int) -> None:
    reason = refused(tmp_path, text)
    assert reason.startswith(f":{line}: profiles.a.")
    assert "chmod 600" in reason
    assert "secret" not in reason
    assert load_profiles(written(tmp_path, text, 0o600)).choose("a").name == "a"


def test_a_password_does_not_show(tmp_path: Path) -> None:
    text = '[profiles.a]\ntarget = "host=db password=secret"\nserver = {password = "secret"}'
    assert "secret" not in repr(load_profiles(written(tmp_path, text, 0o600)))


def test_a_target_that_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    reason = refused(tmp_path, '[profiles.a]\ntarget = "host=\'secret"')
    assert reason == ":2: profiles.a.target: not a connection string, from character 1 on"


def test_where_the_file_is() -> None:
    assert default_path({"POOLDECK_CONSOLE_CONFIG": "/a.toml", "XDG_CONFIG_HOME": "/x"}) == "/a.toml"
    assert default_path({"XDG_CONFIG_HOME": "/x"}) == "/x/pooldeck/console.toml"
    assert default_path({}).endswith("/.config/pooldeck/console.toml")


def test_a_file_that_nobody_named_need_not_exist(tmp_path: Path) -> None:
    assert load_profiles(environ={"XDG_CONFIG_HOME": str(tmp_path)}).profiles == {}
    missing = str(tmp_path / "nothing")
    with pytest.raises(ProfileError, match="there is no such file"):
        load_profiles(missing, {})
    with pytest.raises(ProfileError, match="there is no such file"):
        load_profiles(environ={"POOLDECK_CONSOLE_CONFIG": missing})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="Is a directory"):
        load_profiles(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b"default = '\xe4'")
    with pytest.raises(ProfileError, match="not UTF-8"):
        load_profiles(str(tmp_path / "latin.toml"))


def test_it_loads_without_textual() -> None:
    program = "import sys, tui.profiles; print({'textual', 'rich', 'asyncpg'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_example_of_the_manual(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "console.md").read_text()
    example = manual.partition("```toml\n")[2].partition("```")[0]
    profiles = load_profiles(written(tmp_path, example))
    assert profiles.choose(None).name == "shop"
    assert profiles.choose("production").read_only
