"""What the command line, a profile, the environment and the ini make of the console's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.console import ConsoleOptions, chosen_profile, open_console, session_command, settings_of, state_dir
from tui.profiles import Profile, ServerLogin
from tui.settings import ConsoleSettings

SHOP = Profile(
    name="shop",
    target="host=shop user=ops",
    colour="red",
    read_only=True,
    interval=2.0,
    theme="nord",
    log="/var/log/shop.log",
    ini="/etc/shop.ini",
    alerts={"waiting_warning": 5},
    server=ServerLogin(user="monitor"),
)
ELSEWHERE = "host=elsewhere user=ops"


def settings(
    options: ConsoleOptions | None = None,
    profile: Profile | None = None,
    environ: Mapping[str, str] | None = None,
) -> ConsoleSettings:
    return settings_of(options or ConsoleOptions(), profile or Profile(), environ or {})


def test_a_profile_fills_it_in() -> None:
    found = settings(profile=SHOP)
    assert (found.target.host, found.name, found.colour, found.read_only) == ("shop", "shop", "red", True)
    assert (found.interval, found.theme, found.thresholds) == (2.0, "nord", {"waiting_warning": 5})
    assert (found.ini, found.log) == (Path("/etc/shop.ini"), Path("/var/log/shop.log"))
    assert found.server.user == "monitor"


def test_the_command_line_goes_before_the_profile() -> None:
    options = ConsoleOptions(ELSEWHERE, read_only=False, interval=5.0, theme="dracula", log="/tmp/l")
    found = settings(options, SHOP)
    assert (found.target.host, found.read_only, found.interval, found.theme, found.log) == (
        "elsewhere",
        False,
        5.0,
        "dracula",
        Path("/tmp/l"),
    )


def test_without_anything_it_looks_each_second_and_may_act() -> None:
    found = settings(environ={"PGHOST": "db"})
    assert (found.target.host, found.interval, found.read_only, found.ini, found.log) == (
        "db",
        1.0,
        False,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("options", "profile", "environ", "host"),
    [
        (ConsoleOptions(ELSEWHERE), SHOP, {"POOLDECK_TARGET": "host=v"}, "elsewhere"),
        (ConsoleOptions(), SHOP, {"POOLDECK_TARGET": "host=v"}, "shop"),
        (ConsoleOptions(), Profile(), {"POOLDECK_TARGET": "host=v"}, "v"),
        (ConsoleOptions(), SHOP, {"POOLDECK_SESSION_TARGET": "host=s", "POOLDECK_TARGET": "host=v"}, "s"),
    ],
)
def test_who_says_where(
    options: ConsoleOptions, profile: Profile, environ: Mapping[str, str], host: str
) -> None:
    assert settings(options, profile, environ).target.host == host


def test_the_default_profile_is_for_those_who_name_nothing(tmp_path: Path) -> None:
    file = tmp_path / "console.toml"
    file.write_text('default = "shop"\n[profiles.shop]\ntarget = "host=shop"\n')
    environ = {"POOLDECK_CONSOLE_CONFIG": str(file)}

    def chosen(options: ConsoleOptions, **more: str) -> str:
        return chosen_profile(options, {**environ, **more}).name

    assert chosen(ConsoleOptions()) == "shop"
    assert chosen(ConsoleOptions(ELSEWHERE)) == ""
    assert chosen(ConsoleOptions(serve="p.ini")) == ""
    assert chosen(ConsoleOptions(), POOLDECK_TARGET=ELSEWHERE) == ""
    assert chosen(ConsoleOptions(), POOLDECK_SESSION_TARGET=ELSEWHERE) == ""
    assert chosen(ConsoleOptions(ELSEWHERE, profile="shop")) == "shop"


@pytest.mark.parametrize(
    ("logfile", "log"), [("/var/log/p.log", Path("/var/log/p.log")), ("p.log", None), ("", None)]
)
def test_an_ini_says_where_its_log_is(tmp_path: Path, logfile: str, log: Path | None) -> None:
    ini = tmp_path / "p.ini"
    ini.write_text(f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlogfile = {logfile}\n")
    found = settings(ConsoleOptions(str(ini)))
    assert (found.ini, found.log) == (ini, log)


def test_a_theme_that_there_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.console.on_terminal", lambda environ: True)
    assert open_console(settings(ConsoleOptions(ELSEWHERE, theme="drak"))) == 2
    assert "there is no theme drak; there are pooldeck-dark, " in capsys.readouterr().err


def test_where_it_remembers() -> None:
    assert state_dir({"XDG_STATE_HOME": "/s"}) == Path("/s/pooldeck")
    assert state_dir({}) == Path.home() / ".local/state/pooldeck"


def test_a_session_in_the_browser_is_read_only_unless_told() -> None:
    assert session_command(ConsoleOptions(), Profile())[4:] == ["console", "--read-only"]
    options = ConsoleOptions(ELSEWHERE, "shop", "f.toml", False, 2.0, "nord", "/l", web=True, port=1)
    assert session_command(options, SHOP)[4:] == [
        *("console", "--read-write", "--profile", "shop", "--profiles", "f.toml", "--theme", "nord"),
        *("--log", "/l", "--interval", "2.0"),
    ]


def test_no_secret_is_on_the_command_line_of_a_session() -> None:
    options = ConsoleOptions("postgresql://ops:secret@db", web=True)
    assert "secret" not in " ".join(session_command(options, Profile(target="host=db password=secret")))
