"""What somebody has paused, suspended or disabled, and has perhaps forgotten."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.sqltext import unquoted
from tui.operate.actions import BY_VERB, Action
from tui.operate.situation import Row, age_text, held
from tui.operate.subject import Subject

_COMMAND: Final = re.compile(r'(\w+)(?:\s+("(?:[^"]|"")*"|\w+))?(?:\s+timeout\s+[\d.]+)?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that is not as it usually is, and the action that makes it so again."""

    state: str
    """`paused`, `suspended` or `disabled`."""
    subject: Subject
    action: Action
    since: str
    """When and by whom, as far as the pooler knows."""

    def __str__(self) -> str:
        return f"{self.subject} is {self.state}, {self.since}"


async def find_leftovers(connection: AdminConnection, *, probe: bool = True) -> tuple[Leftover, ...]:
    """Ask for them, that of the whole pooler first; `probe` as for `held`. Raises AdminError."""
    found = await held(connection, probe=probe)
    if found.state == "active" and not found.paused and not found.disabled:
        return ()
    audit = await _audit(connection)
    resume, enable = BY_VERB["RESUME"], BY_VERB["ENABLE"]
    leftovers: list[Leftover] = []
    if found.state != "active":
        since = _since(audit, ("PAUSE", "SUSPEND"), "")
        leftovers.append(Leftover(found.state, Subject.pooler(), resume, since))
    for name in found.paused:
        since = _since(audit, ("PAUSE", "KILL"), name)
        leftovers.append(Leftover("paused", Subject.databases(name), resume, since))
    for name in found.disabled:
        since = _since(audit, ("DISABLE",), name)
        leftovers.append(Leftover("disabled", Subject.databases(name), enable, since))
    return tuple(leftovers)


async def _audit(connection: AdminConnection) -> Sequence[Row]:
    """The newest first; none where the pooler does not remember."""
    if not connection.capabilities.has_table("AUDIT"):
        return ()
    try:
        return list((await connection.rows("SHOW AUDIT")).dicts())[::-1]
    except AdminError as error:
        if error.lost:
            raise
        return ()


def _since(audit: Sequence[Row], verbs: tuple[str, ...], name: str) -> str:
    """Of the last command that can have brought this about."""
    for row in audit:
        match = _COMMAND.fullmatch(str(row["command"]).strip())
        if match is None or match[1].upper() not in verbs:
            continue
        target = unquoted(match[2] or "")
        # KILL of everything pauses each database for itself.
        if target != name and not (match[1].upper() == "KILL" and not target):
            continue
        if row["result"] not in ("ok", "waiting"):
            continue
        waiting = ", and is not complete yet" if row["result"] == "waiting" else ""
        return f"{_ago(str(row['time']))} by {row['user']} from {row['addr']}{waiting}"
    return "since when is not known"


def _ago(time: str) -> str:
    """`14 min ago` if the pooler's clock can be read here; else the time as it stands there."""
    try:
        moment = datetime.strptime(time[:19], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return f"at {time}"
    zone = time[20:]
    if zone in ("UTC", "GMT"):
        now = datetime.now(UTC).replace(tzinfo=None)
    elif zone == datetime.now().astimezone().tzname():
        now = datetime.now()
    else:
        return f"at {time}"
    return f"{age_text((now - moment).total_seconds())} ago"
