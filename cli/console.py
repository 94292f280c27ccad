"""`pooldeck console`: what the command line, a profile and the ini make of the console's settings."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from cli.scripts.session import DONE, REFUSED, USAGE, failed
from cli.terminal import on_terminal
from tui.admin.errors import TargetError
from tui.admin.ini_target import log_file
from tui.admin.target import parse_target
from tui.profiles import Profile, ProfileError, load_profiles
from tui.settings import ConsoleSettings

if TYPE_CHECKING:
    from cli.hosting import HostedPooler
    from tui.terminal import TerminalWatch

TARGET_VARIABLE: Final = "POOLDECK_TARGET"

SESSION_VARIABLE: Final = "POOLDECK_SESSION_TARGET"
"""Tells a session in the browser its target: everybody on the machine can read a command line."""

NO_TERMINAL: Final = (
    "the console needs a terminal on standard input, output and error;"
    " for scripts there are show, exec, check-health and top --once"
)


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """The command line; what is None was not said."""

    target: str | None = None
    profile: str | None = None
    profiles: str | None = None
    read_only: bool | None = None
    interval: float | None = None
    theme: str | None = None
    log: str | None = None
    serve: str | None = None
    web: bool = False
    port: int = 8000


def run_console(options: ConsoleOptions, environ: Mapping[str, str] = os.environ) -> int:
    """Open the console; the exit code."""
    if options.serve and (options.web or options.target):
        return failed("--serve goes neither with --web nor with a target: its pooler is the target", USAGE)
    try:
        profile = chosen_profile(options, environ)
        if options.serve:
            return _serve(options, profile, environ)
        settings = settings_of(options, profile, environ)
    except (TargetError, ProfileError) as error:
        return failed(str(error), USAGE)
    if options.web:
        return _web(options, profile, settings, environ)
    return open_console(settings, environ)


# Settings --------------------------------------------------------------------------------------------------


def chosen_profile(options: ConsoleOptions, environ: Mapping[str, str]) -> Profile:
    """The one that is named; the default one only where nobody says what to look at. Raises ProfileError."""
    profiles = load_profiles(options.profiles, environ)
    said = options.target or options.serve or environ.get(SESSION_VARIABLE) or environ.get(TARGET_VARIABLE)
    if options.profile is None and said:
        return Profile()
    return profiles.choose(options.profile)


def target_text(options: ConsoleOptions, profile: Profile, environ: Mapping[str, str]) -> str | None:
    """Where to connect to, in the words that were given; None leaves it to the variables of libpq."""
    first = options.target or environ.get(SESSION_VARIABLE)
    return first or profile.target or environ.get(TARGET_VARIABLE) or None


def settings_of(options: ConsoleOptions, profile: Profile, environ: Mapping[str, str]) -> ConsoleSettings:
    """Raises TargetError."""
    text = options.serve or target_text(options, profile, environ)
    ini = profile.ini or (text if text and os.path.isfile(text) else None)
    read_only = profile.read_only if options.read_only is None else options.read_only
    return ConsoleSettings(
        parse_target(text, environ),
        name=profile.name,
        read_only=read_only,
        colour=profile.colour or "",
        interval=options.interval or profile.interval or 1.0,
        theme=options.theme or profile.theme or "",
        thresholds=profile.alerts,
        state_dir=state_dir(environ),
        ini=Path(ini) if ini else None,
        log=_log_path(options.log or profile.log, ini),
        server=profile.server,
    )


def _log_path(named: str | None, ini: str | None) -> Path | None:
    path = named or (log_file(ini) if ini else None)
    return Path(path) if path else None


def state_dir(environ: Mapping[str, str]) -> Path:
    """Where the console remembers choices and keeps its audit."""
    base = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "pooldeck"


# Ways to run -----------------------------------------------------------------------------------------------


def open_console(
    settings: ConsoleSettings, environ: Mapping[str, str] = os.environ, hosted: HostedPooler | None = None
) -> int:
    """Run the console until it is left, its terminal is gone, or a signal ends it."""
    from tui.app import Console
    from tui.terminal import TerminalWatch
    from tui.themes import THEME_NAMES
    from tui.tuning import spare_garbage_collection

    if not on_terminal(environ):
        return failed(NO_TERMINAL, USAGE)
    if settings.theme and settings.theme not in THEME_NAMES:
        return failed(f"there is no theme {settings.theme}; there are {', '.join(THEME_NAMES)}", USAGE)
    console = Console(settings)
    watch = TerminalWatch(console.exit if hosted is None else partial(_abandon, console.exit, hosted))
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, watch.on_signal)
    if hosted is not None:
        _connect_signals(hosted, watch)
        hosted.when_over(console.exit)
    watch.start()
    spare_garbage_collection()
    console.run()
    watch.stop()
    return watch.exit_code or console.return_code or DONE


def _abandon(leave: Callable[[], None], hosted: HostedPooler) -> None:
    hosted.stop(at_once=True)
    leave()


def _connect_signals(hosted: HostedPooler, watch: TerminalWatch) -> None:
    """Those of a pooler. SIGHUP is RELOAD, unless it means that nobody is at the terminal any more."""
    hosted.handle_signals()

    def on_hangup(number: int, frame: FrameType | None) -> None:
        if os.isatty(0):
            hosted.take(signal.SIGHUP)
        else:
            watch.on_signal(number)

    signal.signal(signal.SIGHUP, on_hangup)


def _serve(options: ConsoleOptions, profile: Profile, environ: Mapping[str, str]) -> int:
    """The console, and the pooler that it looks at."""
    from cli.hosting import HostedPooler, HostingError

    if not on_terminal(environ):
        return failed(NO_TERMINAL, USAGE)
    hosted = HostedPooler(str(options.serve))
    try:
        hosted.start()
    except HostingError as error:
        return failed(str(error), REFUSED)
    settings = replace(settings_of(options, profile, environ), target=hosted.target(environ), hosted=hosted)
    status = open_console(settings, environ, hosted)
    hosted.stop(at_once=True)
    hosted.wait()
    return status


def _web(
    options: ConsoleOptions, profile: Profile, settings: ConsoleSettings, environ: Mapping[str, str]
) -> int:
    """The console in a browser."""
    try:
        from cli.web import run_web
    except ImportError as error:
        return failed(f"for --web, install pooldeck[web] ({error})", REFUSED)
    if text := target_text(options, profile, environ):
        os.environ[SESSION_VARIABLE] = text
    try:
        return run_web(shlex.join(session_command(options, profile)), options.port, settings.title)
    except OSError as error:
        return failed(f"cannot listen on port {options.port}: {error.strerror or error}", REFUSED)


def session_command(options: ConsoleOptions, profile: Profile) -> list[str]:
    """The command line of a session in the browser: read-only unless the operator has said otherwise."""
    command = [sys.executable, "-P", "-m", "cli.main", "console"]
    command += ["--read-write" if options.read_only is False else "--read-only"]
    named = {
        "--profile": profile.name,
        "--profiles": options.profiles,
        "--theme": options.theme,
        "--log": options.log,
        "--interval": options.interval,
    }
    for option, value in named.items():
        command += [option, str(value)] if value else []
    return command
