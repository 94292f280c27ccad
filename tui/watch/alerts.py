"""What is wrong with a pooler: alerts that are raised, get worse or better, and are cleared."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tui.watch.moment import Moment
from tui.watch.rules import RULES, AlertKey, Condition, Memory, Reading, Severity
from tui.watch.thresholds import AlertThresholds

EVENTS: Final = 1000
"""Edges that are remembered."""

_ORDER: Final = tuple(RULES)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong now."""

    key: AlertKey
    severity: Severity
    text: str
    """How it is at this moment; without the subject, which is in the key."""
    since: datetime
    since_at: float
    """The same on the clock of moments."""
    acknowledged: bool = False
    muted: bool = False

    @property
    def hushed(self) -> bool:
        """Whether nobody wants to be told of it again."""
        return self.acknowledged or self.muted


@dataclass(frozen=True, slots=True)
class Edge:
    """An alert is there, or is worse or better than before, or is over (`after` is None)."""

    clock: datetime
    alert: Alert
    before: Severity | None
    after: Severity | None

    @property
    def is_worse(self) -> bool:
        return (self.after or 0) > (self.before or 0)

    @property
    def text(self) -> str:
        """What happened, in a line."""
        change = "over: " if self.after is None else ""
        return f"{self.alert.key.subject}: {change}{self.alert.text}"


@dataclass(slots=True)
class _Switch:
    """One condition: it has to hold for some moments to go on, and to fail for some to go off."""

    on: bool = False
    streak: int = 0

    def feed(self, condition: Condition, limits: AlertThresholds) -> None:
        bound = condition.bound * (limits.clear_percent / 100 if self.on else 1)
        holds = bound > 0 and condition.value >= bound
        self.streak = self.streak + 1 if holds != self.on else 0
        needed = condition.ticks
        if self.on:
            needed = 1 if condition.clears_at_once else limits.clear_ticks
        if self.streak >= needed:
            self.on, self.streak = holds, 0


class _Track:
    """What is known of one key; `alert` while there is one."""

    __slots__ = ("_severities", "_switches", "acknowledged", "alert")

    def __init__(self) -> None:
        self._switches: list[_Switch] = []
        self._severities: list[Severity] = []
        self.alert: Alert | None = None
        self.acknowledged = False

    def feed(self, reading: Reading | None, limits: AlertThresholds) -> None:
        conditions = reading.conditions if reading else [Condition(each, 0, 1) for each in self._severities]
        for place, condition in enumerate(conditions):
            if place == len(self._switches):
                self._switches.append(_Switch())
                self._severities.append(condition.severity)
            self._switches[place].feed(condition, limits)

    @property
    def severity(self) -> Severity | None:
        on = [
            severity for severity, switch in zip(self._severities, self._switches, strict=True) if switch.on
        ]
        return max(on, default=None)

    @property
    def is_idle(self) -> bool:
        return not any(switch.on or switch.streak for switch in self._switches)


class Alarms:
    """The alerts of one pooler: `update` with each moment. `clock` (seconds) is for mutes alone."""

    def __init__(
        self, thresholds: AlertThresholds | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.thresholds = thresholds or AlertThresholds()
        self._clock = clock
        self._memory = Memory()
        self._tracks: dict[AlertKey, _Track] = {}
        self._muted: dict[AlertKey | None, float] = {}
        self._events: deque[Edge] = deque(maxlen=EVENTS)

    @property
    def active(self) -> tuple[Alert, ...]:
        """The worst on top."""
        alerts = [self._marked(track, track.alert) for track in self._tracks.values() if track.alert]
        alerts.sort(key=lambda alert: (-alert.severity, _ORDER.index(alert.key.kind), alert.key))
        return tuple(alerts)

    @property
    def events(self) -> tuple[Edge, ...]:
        """What happened, the newest on top."""
        return tuple(reversed(self._events))

    def update(self, moment: Moment) -> tuple[Edge, ...]:
        """Look at a moment; an edge for each alert that was raised, changed its severity or is over."""
        edges: list[Edge] = []
        for kind, rule in RULES.items():
            readings = rule(moment, self.thresholds, self._memory)
            if readings is None:
                continue  # nothing could be read, so nothing is over
            for key, reading in readings.items():
                if key in self._tracks or any(map(_holds, reading.conditions)):
                    edges += self._feed(moment, key, reading)
            for key in [key for key in self._tracks if key.kind == kind and key not in readings]:
                edges += self._feed(moment, key, None)
        self._events.extend(edges)
        return tuple(edges)

    def _feed(self, moment: Moment, key: AlertKey, reading: Reading | None) -> list[Edge]:
        """Bring one key up to date; without a reading what it was about is not there any more."""
        track = self._tracks.setdefault(key, _Track())
        track.feed(reading, self.thresholds)
        before, severity = track.alert, track.severity
        if severity is None:
            if track.is_idle:
                del self._tracks[key]
            track.alert = None
        else:
            text = reading.text if reading else before.text if before else ""
            since = (before.since, before.since_at) if before else (moment.clock, moment.at)
            track.alert = Alert(key, severity, text, *since)
            if before and severity > before.severity:
                track.acknowledged = False
        if severity == (before.severity if before else None):
            return []
        shown = track.alert or before
        assert shown is not None
        if track.alert is None and reading:
            shown = replace(shown, text=reading.text)
        edge = Edge(moment.clock, self._marked(track, shown), before.severity if before else None, severity)
        if track.alert is None:
            track.acknowledged = False
        return [edge]

    def _marked(self, track: _Track, alert: Alert) -> Alert:
        return replace(alert, acknowledged=track.acknowledged, muted=self.muted_for(alert.key) > 0)

    def acknowledge(self, key: AlertKey) -> None:
        """Somebody looks after it: nothing more is told of it until it gets worse, or comes back."""
        track = self._tracks.get(key)
        if track is not None and track.alert is not None:
            track.acknowledged = True

    def mute(self, key: AlertKey | None, seconds: float) -> None:
        """Tell nothing of an alert, or with None of any, for so long; with 0 tell it again."""
        self._muted[key] = self._clock() + seconds

    def muted_for(self, key: AlertKey | None = None) -> float:
        """For how many seconds nothing will be told of an alert, or with None of any."""
        until = max(self._muted.get(key, 0.0), self._muted.get(None, 0.0))
        return max(0.0, until - self._clock())


def _holds(condition: Condition) -> bool:
    return condition.bound > 0 and condition.value >= condition.bound
