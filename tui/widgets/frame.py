"""What is around every screen: where one is, how the pooler is, and what is wrong with the connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual.color import Color
from textual.content import Content
from textual.widgets import Static

from tui.admin.words import duration
from tui.watch.link import Link, State
from tui.watch.moment import Moment
from tui.widgets.cells import safe


@dataclass(frozen=True, slots=True)
class Place:
    """A screen that has a key of its own. `short` is for narrow terminals."""

    name: str
    key: str
    title: str
    short: str


class NavBar(Static):
    """The screens by their keys; a click goes there."""

    DEFAULT_CSS = """
    NavBar {
        height: 1; background: $panel; color: $text-muted; text-wrap: nowrap;
        link-style: none; link-color: $text-muted;
    }
    """

    def __init__(self, places: Sequence[Place], current: str) -> None:
        super().__init__()
        self._places = places
        self._current = current

    def on_resize(self) -> None:
        self.update(self._content(self.size.width))

    def _content(self, width: int) -> Content:
        """Full titles where there is room for all of them; names are our own, so markup is safe."""
        texts = [f" {place.key} {place.title} " for place in self._places]
        if sum(map(len, texts)) > width:
            texts = [f"{place.key} {place.short} " for place in self._places]
        return Content("").join(
            Content.from_markup(f"[{self._style(place)} @click=app.go('{place.name}')]{text}[/]")
            for place, text in zip(self._places, texts, strict=True)
        )

    def _style(self, place: Place) -> str:
        return "bold reverse" if place.name == self._current else "not bold"


_MARKS = {
    State.CONNECTING: ("◌ connecting", "$text-muted"),
    State.LIVE: ("● live", "$text-success"),
    State.LOST: ("▲ lost", "$text-warning bold"),
    State.REFUSED: ("✖ refused", "$text-error bold"),
}

SILENT_SECONDS: Final = 3.0
"""After which what is shown is not called live any more; the connection is given up later."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What the title says."""

    title: str
    read_only: bool
    frozen: bool
    link: Link
    moment: Moment | None
    state: str = ""
    """Of the pooler: active, paused, suspended."""
    silence: float = 0.0
    """Seconds for which the pooler has owed an answer."""

    @property
    def mark(self) -> tuple[str, str]:
        """How the connection is, and the style for it."""
        if self.frozen:
            return "❄ frozen", "$text-accent bold"
        if self.link.state is State.LIVE and self.silence >= SILENT_SECONDS:
            return f"▲ no answer for {duration(self.silence)}", "$text-warning bold"
        return _MARKS[self.link.state]


class TitleBar(Static):
    """One line: whose console this is, and of when."""

    DEFAULT_CSS = """
    TitleBar { height: 1; background: $primary-muted; color: $foreground; padding: 0 1; text-wrap: nowrap; }
    """

    def __init__(self, colour: str) -> None:
        """`colour` of the profile, so that production looks like no other; empty for the theme's."""
        super().__init__()
        self._muted = "$text-muted"
        if colour:
            background = Color.parse(colour)
            self.styles.background = background
            self.styles.color = background.get_contrast_text()
            self._muted = ""

    def show(self, heading: Heading) -> None:
        """Repaint for another heading."""
        mark, style = heading.mark
        if not self._muted:
            style = "bold"
        parts: list[tuple[str, str]] = [(mark, style), ("  ", ""), (safe(heading.title), "bold")]
        if heading.read_only:
            parts.append(("  read-only", self._muted and "$text-warning"))
        if heading.state and heading.state != "active":
            parts.append((f"  ▲ {heading.state.upper()}", self._muted and "$text-warning bold"))
        if heading.moment is not None:
            moment = heading.moment
            parts += [
                ("  ", ""),
                (f"{moment.clock:%H:%M:%S}", self._muted),
                (f"  {_pooler(moment)}", self._muted),
                (f"  poll {moment.seconds * 1000:.0f} ms", self._muted),
            ]
        self.update(Content.assemble(*parts))


def _pooler(moment: Moment) -> str:
    """Our own gives PgBouncer's version, for those who compare it."""
    version = safe(moment.version)
    return f"pooldeck as {version}" if moment.capabilities.sql and "pooldeck" not in version else version


class Banner(Static):
    """Tells that the connection is lost or refused, and how old what is shown is; else it is not there."""

    DEFAULT_CSS = """
    Banner { height: auto; padding: 0 1; display: none; background: $warning-muted; color: $text-warning; }
    Banner.-refused { background: $error-muted; color: $text-error; }
    """

    def show(self, link: Link, moment: Moment | None, now: float) -> None:
        """Say how it stands; `now` in seconds of the clock that `link` is of."""
        self.display = link.state in (State.LOST, State.REFUSED)
        if not self.display:
            return
        self.set_class(link.state is State.REFUSED, "-refused")
        age = f" What is shown is {duration(now - moment.at)} old." if moment is not None else ""
        self.update(Content(f"{self._text(link, now)}{age}"))

    @staticmethod
    def _text(link: Link, now: float) -> str:
        reason = safe(link.reason).rstrip(".")
        if link.state is State.REFUSED:
            return f"✖ The pooler refuses this login: {reason}. It is not tried again by itself: F5 does."
        wait = max(0.0, (link.retry_at or now) - now)
        again = f"next try in {duration(wait)}" if wait >= 0.5 else "trying again"
        return f"▲ No connection: {reason}. Tried {link.attempts}×, {again}; F5 tries now."
